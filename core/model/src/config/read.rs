//! Reads the plugin's JSON into a checked configuration, every problem named by its path.
//!
//! Reading goes on after a problem, with an empty value in place of the wrong one. No caller sees it,
//! because the whole configuration is refused in the end.

use std::time::Duration;

use serde_json::Value;

use super::{
    Backend, Config, FailureRule, MAX_ROLLOUTS, Rollout, RuntimeSource, Signal, Timings, clients,
    default_salt, header_names, requests,
    rules::{CLUSTER, ROLLOUT_NAME, SALT, VERSION, read_duration},
    signal::MAX_SIGNALS,
};
use crate::document::{ConfigError, ConfigErrors, Node, Object};
use crate::weight::Weight;

/// Reads a whole configuration.
pub(super) fn config(value: &Value) -> Result<Config, Vec<ConfigError>> {
    let mut problems = ConfigErrors::default();
    let config = read(&Node::root(value), &mut problems);
    if let Some(config) = config.as_ref().filter(|_| problems.is_empty()) {
        header_names::check_uses(config, &mut problems);
        requests::check_routes(&config.rollouts, &mut problems);
    }
    problems.finish(config)
}

fn read(root: &Node<'_>, problems: &mut ConfigErrors) -> Option<Config> {
    let object = root.object(&["rollouts", "headers", "runtime"], problems)?;
    let rollouts = object.require("rollouts", problems);
    Some(Config {
        rollouts: rollouts.map(|list| read_rollouts(&list, problems)).unwrap_or_default(),
        headers: header_names::read(&object, problems),
        runtime: read_runtime(&object, problems),
    })
}

fn read_rollouts(list: &Node<'_>, problems: &mut ConfigErrors) -> Vec<Rollout> {
    let mut rollouts: Vec<Rollout> = Vec::new();
    for item in list.list(MAX_ROLLOUTS, problems).unwrap_or_default() {
        let Some(rollout) = read_rollout(&item, problems) else {
            continue;
        };
        let name = &rollout.name;
        if !name.is_empty() && rollouts.iter().any(|known| known.name == *name) {
            let path = format!("{}.name", item.path());
            problems.add(&path, format!("duplicate entry: another rollout is named `{name}`"));
        }
        rollouts.push(rollout);
    }
    rollouts
}

const ROLLOUT_FIELDS: [&str; 15] = [
    "name",
    "match",
    "stable",
    "canary",
    "weight",
    "salt",
    "affinity",
    "override",
    "failure",
    "outcome_age",
    "timings",
    "guard",
    "signals",
    "inherit",
    "propagate",
];

fn read_rollout(item: &Node<'_>, problems: &mut ConfigErrors) -> Option<Rollout> {
    let object = item.object(&ROLLOUT_FIELDS, problems)?;
    let name = object.ruled("name", &ROLLOUT_NAME, problems);
    let stable = read_backend(&object, "stable", problems);
    let canary = read_backend(&object, "canary", problems);
    check_apart(object.path(), &stable, &canary, problems);
    let affinity = clients::read_affinity(&object, problems);
    let overriding = clients::read_override(&object, problems);
    clients::check_cookies(object.path(), &affinity, overriding.as_ref(), problems);
    let own_salt = object.get("salt").map(|salt| salt.ruled(&SALT, problems));
    let failure = object.get("failure").map(|node| FailureRule::read(&node, problems));
    let failure = failure.unwrap_or_default();
    let timings = object.get("timings").map(|node| Timings::read(&node, problems));
    Some(Rollout {
        salt_is_default: own_salt.is_none(),
        salt: own_salt.unwrap_or_else(|| default_salt(&name, &canary.version)),
        outcome_age: read_outcome_age(&object, &failure, problems),
        name,
        matches: requests::read_match(&object, problems),
        stable,
        canary,
        weight: read_weight(&object, problems),
        affinity,
        overriding,
        failure,
        timings: timings.unwrap_or_default(),
        guard: read_guard(&object, problems),
        signals: read_signals(&object, problems),
        inherit: read_flag(&object, "inherit", problems),
        propagate: read_flag(&object, "propagate", problems),
    })
}

/// The age at which the judge counts a request. By default, it is five seconds more than the largest
/// of `overdue.answer`, `overdue.first_byte` and Envoy's default route timeout.
fn read_outcome_age(
    rollout: &Object<'_>,
    failure: &FailureRule,
    problems: &mut ConfigErrors,
) -> Duration {
    const MARGIN: Duration = Duration::from_secs(5);
    const ROUTE_TIMEOUT: Duration = Duration::from_secs(15);
    let fits = |age: Duration| (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&age);
    match rollout.get("outcome_age") {
        Some(node) => {
            read_duration(&node, "a duration from 1s to 10m, such as 20s", fits, problems)
        }
        None => {
            let deadlines = [failure.overdue.answer, failure.overdue.first_byte];
            deadlines.into_iter().flatten().fold(ROUTE_TIMEOUT, Duration::max) + MARGIN
        }
    }
}

fn read_flag(object: &Object<'_>, field: &str, problems: &mut ConfigErrors) -> bool {
    object.get(field).and_then(|flag| flag.flag(problems)).unwrap_or_default()
}

/// Refuses equal versions or clusters. An empty text is one that could not be read.
fn check_apart(path: &str, stable: &Backend, canary: &Backend, problems: &mut ConfigErrors) {
    if stable.version == canary.version && !canary.version.is_empty() {
        let message = "must differ from stable's version, or responses cannot be attributed";
        problems.add(&format!("{path}.canary.version"), message);
    }
    if stable.cluster == canary.cluster && !canary.cluster.is_empty() {
        let message = "must differ from stable's cluster: the canary needs a cluster of its own";
        problems.add(&format!("{path}.canary.cluster"), message);
    }
}

fn read_backend(rollout: &Object<'_>, role: &str, problems: &mut ConfigErrors) -> Backend {
    let node = rollout.require(role, problems);
    let Some(object) = node.and_then(|node| node.object(&["version", "cluster"], problems)) else {
        return Backend { version: String::new(), cluster: String::new() };
    };
    Backend {
        version: object.ruled("version", &VERSION, problems),
        cluster: object.ruled("cluster", &CLUSTER, problems),
    }
}

fn read_weight(rollout: &Object<'_>, problems: &mut ConfigErrors) -> Weight {
    let Some(node) = rollout.get("weight") else {
        return Weight::ZERO;
    };
    let Value::Number(number) = node.value() else {
        node.expected(
            problems,
            "a percentage from 0 to 100 with up to four decimals, such as 5 or 0.25",
        );
        return Weight::ZERO;
    };
    Weight::from_json(number).unwrap_or_else(|error| {
        node.problem(problems, format!("{error}, found {number}"));
        Weight::ZERO
    })
}

fn read_guard(rollout: &Object<'_>, problems: &mut ConfigErrors) -> bool {
    let object = rollout.get("guard").and_then(|guard| guard.object(&["enabled"], problems));
    let enabled = object.and_then(|object| object.get("enabled"));
    enabled.and_then(|enabled| enabled.flag(problems)).unwrap_or(true)
}

fn read_signals(rollout: &Object<'_>, problems: &mut ConfigErrors) -> Vec<Signal> {
    let mut signals: Vec<Signal> = Vec::new();
    let list = rollout.get("signals").and_then(|list| list.list(MAX_SIGNALS, problems));
    for item in list.unwrap_or_default() {
        let Some(signal) = Signal::read(&item, problems) else {
            continue;
        };
        let name = &signal.name;
        if !name.is_empty() && signals.iter().any(|known| known.name == *name) {
            item.problem(
                problems,
                format!("duplicate entry: another signal of this rollout is named `{name}`"),
            );
        }
        signals.push(signal);
    }
    signals
}

fn read_runtime(root: &Object<'_>, problems: &mut ConfigErrors) -> RuntimeSource {
    let mut runtime =
        RuntimeSource { cluster: "envoy_admin".to_owned(), interval: Duration::from_millis(250) };
    let fields = ["cluster", "interval"];
    let Some(object) = root.get("runtime").and_then(|node| node.object(&fields, problems)) else {
        return runtime;
    };
    if let Some(cluster) = object.get("cluster") {
        runtime.cluster = cluster.ruled(&CLUSTER, problems);
    }
    if let Some(interval) = object.get("interval") {
        let expected = "a duration from 10ms to 10m, such as 250ms";
        runtime.interval = read_duration(&interval, expected, is_poll_interval, problems);
    }
    runtime
}

fn is_poll_interval(interval: Duration) -> bool {
    (Duration::from_millis(10)..=Duration::from_secs(600)).contains(&interval)
}
