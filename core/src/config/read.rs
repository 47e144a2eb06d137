//! Reads the plugin's JSON into a checked configuration, every problem named by its path.

use std::time::Duration;

use serde_json::Value;

use super::{
    Affinity, Backend, Config, FailureRule, HeaderNames, MAX_ROLLOUTS, Override, Rollout,
    RuntimeSource, Signal, Token,
    signal::{MAX_SIGNALS, header_name, path_prefix},
};
use crate::{
    document::{Node, Object, Problem, Problems},
    duration,
    matching::{self, Authority, Match},
    names, stat_name,
    weight::Weight,
};

/// At most so many affinity sources in a rollout.
const MAX_AFFINITY: usize = 8;
/// How long a client keeps a cohort cookie where the configuration does not say.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// The longest text of a salt, cluster name or token, in bytes.
const LONGEST_TEXT: usize = 256;

/// Reads a whole configuration.
pub(super) fn config(value: &Value) -> Result<Config, Vec<Problem>> {
    let mut problems = Problems::default();
    let config = read(&Node::root(value), &mut problems);
    problems.finish(config)
}

fn read(root: &Node<'_>, problems: &mut Problems) -> Option<Config> {
    let object = root.object(&["rollouts", "headers", "runtime"], problems)?;
    let rollouts =
        object.require("rollouts", problems).and_then(|list| read_rollouts(&list, problems));
    let headers = read_headers(&object, problems);
    let runtime = read_runtime(&object, problems);
    Some(Config { rollouts: rollouts?, headers: headers?, runtime: runtime? })
}

fn read_rollouts(list: &Node<'_>, problems: &mut Problems) -> Option<Vec<Rollout>> {
    let mut rollouts: Vec<Rollout> = Vec::new();
    for item in list.list(MAX_ROLLOUTS, problems)? {
        let Some(rollout) = read_rollout(&item, problems) else {
            continue;
        };
        if rollouts.iter().any(|known| known.name == rollout.name) {
            let path = format!("{}.name", item.path());
            problems.add(&path, format!("rollout `{}` stands here twice", rollout.name));
        }
        rollouts.push(rollout);
    }
    Some(rollouts)
}

const ROLLOUT_FIELDS: [&str; 13] = [
    "name",
    "match",
    "stable",
    "canary",
    "weight",
    "salt",
    "affinity",
    "override",
    "failure",
    "guard",
    "signals",
    "inherit",
    "propagate",
];

fn read_rollout(item: &Node<'_>, problems: &mut Problems) -> Option<Rollout> {
    let object = item.object(&ROLLOUT_FIELDS, problems)?;
    let name = object.require("name", problems).and_then(|name| {
        let read = |text: &str| stat_name::is_rollout_name(text).then(|| text.to_owned());
        name.parsed(names::ROLLOUT_EXPECTED, read, problems)
    });
    let stable = object.require("stable", problems).and_then(|node| read_backend(&node, problems));
    let canary = object.require("canary", problems).and_then(|node| read_backend(&node, problems));
    if let (Some(stable), Some(canary)) = (&stable, &canary) {
        check_apart(object.path(), stable, canary, problems);
    }
    let matches = or_default(object.get("match"), |node| read_match(&node, problems));
    let weight = or_default(object.get("weight"), |node| read_weight(&node, problems));
    let salt =
        object.get("salt").map(|node| node.parsed("a text of 1 to 256 bytes", text, problems));
    let affinity = or_default(object.get("affinity"), |node| read_affinity(&node, problems));
    let forced = match object.get("override") {
        None => Some(None),
        Some(node) => read_override(&node, problems).map(Some),
    };
    let failure = or_default(object.get("failure"), |node| FailureRule::read(&node, problems));
    let guard = match object.get("guard") {
        None => Some(true),
        Some(node) => read_guard(&node, problems),
    };
    let signals = or_default(object.get("signals"), |node| read_signals(&node, problems));
    let inherit = or_default(object.get("inherit"), |node| node.flag(problems));
    let propagate = or_default(object.get("propagate"), |node| node.flag(problems));
    let (name, canary) = (name?, canary?);
    let salt = salt.unwrap_or_else(|| Some(format!("{name}/{}", canary.version)));
    Some(Rollout {
        name,
        matches: matches?,
        stable: stable?,
        canary,
        weight: weight?,
        salt: salt?,
        affinity: affinity?,
        forced: forced?,
        failure: failure?,
        guard: guard?,
        signals: signals?,
        inherit: inherit?,
        propagate: propagate?,
    })
}

/// What a field says, or its type's default where it is left out; `None` where it is wrong.
fn or_default<'a, T: Default>(
    field: Option<Node<'a>>,
    read: impl FnOnce(Node<'a>) -> Option<T>,
) -> Option<T> {
    field.map_or_else(|| Some(T::default()), read)
}

fn check_apart(path: &str, stable: &Backend, canary: &Backend, problems: &mut Problems) {
    if stable.version == canary.version {
        let message = "is stable's version, too; answers could not be told apart";
        problems.add(&format!("{path}.canary.version"), message);
    }
    if stable.cluster == canary.cluster {
        let message = "is stable's cluster, too; the canary needs one of its own";
        problems.add(&format!("{path}.canary.cluster"), message);
    }
}

fn read_backend(node: &Node<'_>, problems: &mut Problems) -> Option<Backend> {
    let object = node.object(&["version", "cluster"], problems)?;
    let version = object.require("version", problems).and_then(|version| {
        let read = |text: &str| stat_name::is_version(text).then(|| text.to_owned());
        version.parsed(names::VERSION_EXPECTED, read, problems)
    });
    let cluster = object.require("cluster", problems).and_then(|cluster| {
        cluster.parsed("the name of an Envoy cluster, 1 to 256 bytes", header_text, problems)
    });
    Some(Backend { version: version?, cluster: cluster? })
}

fn read_match(node: &Node<'_>, problems: &mut Problems) -> Option<Match> {
    let object = node.object(&["authorities", "path_prefixes"], problems)?;
    let expected = "a host such as scorer.example.com or *.example.com, without a port";
    let authorities = read_list(&object, "authorities", expected, Authority::parse, problems);
    let expected = "a path that begins with /";
    let path_prefixes = read_list(&object, "path_prefixes", expected, path_prefix, problems);
    Some(Match { authorities: authorities?, path_prefixes: path_prefixes? })
}

/// A list of at least one entry; an empty one if the field is left out.
fn read_list<T>(
    object: &Object<'_>,
    field: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
    problems: &mut Problems,
) -> Option<Vec<T>> {
    let Some(list) = object.get(field) else {
        return Some(Vec::new());
    };
    let items = list.list(matching::MAX_ENTRIES, problems)?;
    if items.is_empty() {
        list.problem(
            problems,
            "an empty list takes no request; leave the field out to take every one",
        );
        return None;
    }
    let count = items.len();
    let parsed: Vec<T> =
        items.iter().filter_map(|item| item.parsed(expected, &parse, problems)).collect();
    (parsed.len() == count).then_some(parsed)
}

fn read_weight(node: &Node<'_>, problems: &mut Problems) -> Option<Weight> {
    let Value::Number(number) = node.value() else {
        node.expected(problems, "a percentage from 0 to 100 with up to four decimals");
        return None;
    };
    match Weight::from_json(number) {
        Ok(weight) => Some(weight),
        Err(error) => {
            node.problem(problems, format!("{error}, found {number}"));
            None
        }
    }
}

fn read_affinity(node: &Node<'_>, problems: &mut Problems) -> Option<Vec<Affinity>> {
    let items = node.list(MAX_AFFINITY, problems)?;
    let count = items.len();
    let sources: Vec<_> =
        items.iter().filter_map(|item| read_affinity_source(item, problems)).collect();
    (sources.len() == count).then_some(sources)
}

fn read_affinity_source(item: &Node<'_>, problems: &mut Problems) -> Option<Affinity> {
    let object = item.object(&["header", "cookie", "max_age"], problems)?;
    match (object.get("header"), object.get("cookie")) {
        (Some(header), None) => {
            if let Some(misplaced) = object.get("max_age") {
                misplaced.problem(problems, "only a cookie has an age");
                return None;
            }
            header.parsed("a header's name", header_name, problems).map(Affinity::Header)
        }
        (None, Some(cookie)) => {
            let name = cookie.parsed("a cookie's name", token, problems);
            let max_age = match object.get("max_age") {
                None => Some(DEFAULT_MAX_AGE),
                Some(age) => age.parsed(duration::EXPECTED, whole_seconds, problems),
            };
            Some(Affinity::Cookie { name: name?, max_age: max_age? })
        }
        _ => {
            item.problem(problems, "exactly one of header and cookie is needed");
            None
        }
    }
}

fn read_override(node: &Node<'_>, problems: &mut Problems) -> Option<Override> {
    let object = node.object(&["header", "cookie", "token"], problems)?;
    let header = match object.get("header") {
        None => None,
        Some(header) => Some(header.parsed("a header's name", header_name, problems)?),
    };
    let cookie = match object.get("cookie") {
        None => None,
        Some(cookie) => Some(cookie.parsed("a cookie's name", token, problems)?),
    };
    let token = match object.get("token") {
        None => None,
        Some(token) => Some(read_token(&token, problems)?),
    };
    if header.is_none() && cookie.is_none() {
        node.problem(problems, "a header, a cookie or both are needed");
        return None;
    }
    Some(Override { header, cookie, token })
}

fn read_token(node: &Node<'_>, problems: &mut Problems) -> Option<Token> {
    let object = node.object(&["header", "value"], problems)?;
    let header = object.require("header", problems);
    let header = header.and_then(|node| node.parsed("a header's name", header_name, problems));
    let value = object.require("value", problems).and_then(|value| {
        value.parsed("a text of 1 to 256 printable ASCII characters", header_text, problems)
    });
    Some(Token { header: header?, value: value? })
}

fn read_guard(node: &Node<'_>, problems: &mut Problems) -> Option<bool> {
    let object = node.object(&["enabled"], problems)?;
    object.get("enabled").map_or(Some(true), |enabled| enabled.flag(problems))
}

fn read_signals(node: &Node<'_>, problems: &mut Problems) -> Option<Vec<Signal>> {
    let mut signals: Vec<Signal> = Vec::new();
    for item in node.list(MAX_SIGNALS, problems)? {
        let signal = Signal::read(&item, problems)?;
        if signals.iter().any(|known| known.name == signal.name) {
            item.problem(problems, format!("signal `{}` stands here twice", signal.name));
            return None;
        }
        signals.push(signal);
    }
    Some(signals)
}

fn read_headers(object: &Object<'_>, problems: &mut Problems) -> Option<HeaderNames> {
    let mut names =
        HeaderNames { route: "x-canary-route".to_owned(), version: "x-canary-version".to_owned() };
    let Some(node) = object.get("headers") else {
        return Some(names);
    };
    let object = node.object(&["route", "version"], problems)?;
    if let Some(route) = object.get("route") {
        names.route = route.parsed("a header's name", header_name, problems)?;
    }
    if let Some(version) = object.get("version") {
        names.version = version.parsed("a header's name", header_name, problems)?;
    }
    if names.route == names.version {
        node.problem(problems, "route and version need different headers");
        return None;
    }
    Some(names)
}

fn read_runtime(object: &Object<'_>, problems: &mut Problems) -> Option<RuntimeSource> {
    let mut runtime =
        RuntimeSource { cluster: "envoy_admin".to_owned(), interval: Duration::from_millis(250) };
    let Some(node) = object.get("runtime") else {
        return Some(runtime);
    };
    let object = node.object(&["cluster", "interval"], problems)?;
    if let Some(cluster) = object.get("cluster") {
        let expected = "the name of an Envoy cluster, 1 to 256 bytes";
        runtime.cluster = cluster.parsed(expected, header_text, problems)?;
    }
    if let Some(interval) = object.get("interval") {
        let expected = "a duration from 10ms to 10m";
        runtime.interval = interval.parsed(expected, poll_interval, problems)?;
    }
    Some(runtime)
}

fn poll_interval(text: &str) -> Option<Duration> {
    let range = Duration::from_millis(10)..=Duration::from_secs(600);
    duration::parse(text).filter(|interval| range.contains(interval))
}

fn whole_seconds(text: &str) -> Option<Duration> {
    duration::parse(text).filter(|age| age.as_secs() > 0 && age.subsec_nanos() == 0)
}

fn token(text: &str) -> Option<String> {
    names::is_token(text).then(|| text.to_owned())
}

fn text(text: &str) -> Option<String> {
    (1..=LONGEST_TEXT).contains(&text.len()).then(|| text.to_owned())
}

/// What can be a header's value as it stands: printable ASCII without a space at either end.
fn header_text(value: &str) -> Option<String> {
    let printable = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    text(value).filter(|_| printable && value.trim_ascii() == value)
}
