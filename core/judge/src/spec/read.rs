//! Reading the `analysis:` section, with every fault named by its path.

mod access;
mod prometheus;

use std::collections::BTreeSet;

use super::{
    Analysis, MAX_METRICS, MetricKind, MetricRule, MetricSpec, OnFailure, QUANTILES, SplitMismatch,
    Worse,
};
use crate::timing::Timing;
use canary_model::document::{ConfigErrors, Node, Object};
use canary_model::names::is_signal;

/// The longest name of a metric or signal.
const MAX_NAME: usize = 63;

/// The tolerated probability of a false abort where the file does not say.
pub const FALSE_ABORT: f64 = 0.01;
/// The tolerated probability of a false alarm of the split check where the file does not say.
pub const FALSE_SPLIT: f64 = 0.01;
/// The tolerated probability of a false pause where the file does not say.
pub const FALSE_PAUSE: f64 = 0.05;
const MARGIN: f64 = 0.001;
const TOLERANCE: f64 = 1.1;

impl Analysis {
    /// Reads the section. `None` where something was wrong; what, is among the problems.
    pub fn read(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Self> {
        let known = ["falseAbort", "falsePause", "falseSplit", "splitMismatch", "metrics"];
        let fields = node.object(&known, problems)?;
        let false_abort = budget("falseAbort", FALSE_ABORT, &fields, problems);
        let false_split = budget("falseSplit", FALSE_SPLIT, &fields, problems);
        let false_pause = budget("falsePause", FALSE_PAUSE, &fields, problems);
        let split_mismatch = word("splitMismatch", SplitMismatch::ALL, &fields, problems);
        let nodes = fields.require("metrics", problems)?.list(MAX_METRICS, problems)?;
        let read: Vec<_> = nodes.iter().map(|node| metric(node, problems)).collect();
        let metrics: Vec<MetricSpec> = read.into_iter().collect::<Option<_>>()?;
        unique(&metrics, &nodes, problems)?;
        Some(Self {
            false_abort: false_abort?,
            false_split: false_split?,
            false_pause: false_pause?,
            split_mismatch: split_mismatch?,
            metrics,
        })
    }
}

/// A tolerated probability of an error.
fn budget(
    field: &str,
    default: f64,
    fields: &Object<'_>,
    problems: &mut ConfigErrors,
) -> Option<f64> {
    let Some(node) = fields.get(field) else { return Some(default) };
    let sound = |text| percentage(text).filter(|share| *share > 0.0 && *share <= 0.5);
    node.parsed("a percentage above 0% and at most 50%, such as 1%", sound, problems)
}

fn unique(metrics: &[MetricSpec], nodes: &[Node<'_>], problems: &mut ConfigErrors) -> Option<()> {
    let mut seen = BTreeSet::new();
    let mut sound = Some(());
    for (metric, node) in metrics.iter().zip(nodes) {
        if !seen.insert(&metric.name) {
            let message = format!("{:?} is the name of an earlier metric", metric.name);
            problems.add(&format!("{}.name", node.path()), message);
            sound = None;
        }
    }
    sound
}

fn metric(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<MetricSpec> {
    let kind = kind(node, problems)?;
    let fields = node.object(&metric_fields(kind), problems)?;
    let name = fields.require("name", problems).and_then(|node| {
        node.parsed("a name of letters, digits, '.', '_' and '-', at most 63", name, problems)
    });
    let rule = match kind {
        MetricKind::FailureRate => failure_rate(&fields, problems),
        MetricKind::Latency => latency(&fields, problems),
        MetricKind::Distribution => signal_and_share("tolerance", &fields, problems)
            .map(|(signal, tolerance)| MetricRule::Distribution { signal, tolerance }),
        MetricKind::Values => values(&fields, problems),
        MetricKind::Conversion => signal_and_share("margin", &fields, problems)
            .map(|(signal, margin)| MetricRule::Conversion { signal, margin }),
        MetricKind::Prometheus => prometheus::read(&fields, problems).map(MetricRule::Prometheus),
    };
    let actions = OnFailure::ALL.map(|action| (action.as_str(), action));
    let on_failure = word("onFailure", actions, &fields, problems);
    Some(MetricSpec { name: name?.to_owned(), rule: rule?, on_failure: on_failure? })
}

/// The fields that a metric of this kind may have.
pub fn metric_fields(kind: MetricKind) -> Vec<&'static str> {
    let mut fields = vec!["name", "kind", "onFailure"];
    fields.extend_from_slice(match kind {
        MetricKind::FailureRate => &["ratio", "margin"],
        MetricKind::Latency => &["of", "tolerance", "quantiles"],
        MetricKind::Distribution => &["signal", "tolerance"],
        MetricKind::Values => &["signal", "tolerance", "worse"],
        MetricKind::Conversion => &["signal", "margin"],
        MetricKind::Prometheus => &prometheus::FIELDS,
    });
    if kind == MetricKind::Prometheus {
        fields.extend(access::FIELDS);
    }
    fields
}

/// The kind comes first: it says which fields there are.
fn kind(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<MetricKind> {
    let Some(kind) = node.value().get("kind") else {
        // Not an object, or one without a kind: either way the message names the right path.
        if node.value().is_object() {
            problems.add(&format!("{}.kind", node.path()), format!("required: {}", kinds()));
        } else {
            node.expected(problems, "an object");
        }
        return None;
    };
    let found = MetricKind::ALL.into_iter().find(|known| kind.as_str() == Some(known.as_str()));
    if found.is_none() {
        let message = format!("expected {}, found {kind}", kinds());
        problems.add(&format!("{}.kind", node.path()), message);
    }
    found
}

fn kinds() -> String {
    format!("one of {}", MetricKind::ALL.map(MetricKind::as_str).join(", "))
}

fn name(text: &str) -> Option<&str> {
    let letters = text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c));
    (!text.is_empty() && text.len() <= MAX_NAME && letters).then_some(text)
}

/// Reads `0.1%` as 0.001; from 0% to 100%.
pub fn percentage(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?;
    let plain = number.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let percent = number.parse::<f64>().ok().filter(|_| plain && number.len() <= 20)?;
    (percent <= 100.0).then_some(percent / 100.0)
}

/// A percentage below 100 %, or a bare zero, which leaves nothing to misread.
fn share(
    field: &str,
    default: f64,
    fields: &Object<'_>,
    problems: &mut ConfigErrors,
) -> Option<f64> {
    let Some(node) = fields.get(field) else { return Some(default) };
    if node.value().as_f64() == Some(0.0) {
        return Some(0.0);
    }
    let below_all = |text| percentage(text).filter(|share| *share < 1.0);
    node.parsed("a percentage below 100%, such as 0.1%", below_all, problems)
}

fn factor(node: &Node<'_>, least: f64, problems: &mut ConfigErrors) -> Option<f64> {
    let number = node.number(problems)?;
    if !(least..=100.0).contains(&number) {
        node.expected(problems, &format!("a factor from {least} to 100, such as 1.1"));
        return None;
    }
    Some(number)
}

fn failure_rate(fields: &Object<'_>, problems: &mut ConfigErrors) -> Option<MetricRule> {
    let ratio = match fields.get("ratio") {
        None => Some(1.0),
        Some(node) => factor(&node, 0.01, problems),
    };
    let margin = share("margin", MARGIN, fields, problems);
    Some(MetricRule::FailureRate { ratio: ratio?, margin: margin? })
}

fn signal<'n>(fields: &Object<'n>, problems: &mut ConfigErrors) -> Option<&'n str> {
    let node = fields.require("signal", problems)?;
    let sound = |text| is_signal(text).then_some(text);
    node.parsed("a signal's name: a-z, 0-9 and '_', at most 63", sound, problems)
}

fn signal_and_share(
    field: &str,
    fields: &Object<'_>,
    problems: &mut ConfigErrors,
) -> Option<(String, f64)> {
    let signal = signal(fields, problems);
    let share = share(field, 0.0, fields, problems);
    Some((signal?.to_owned(), share?))
}

/// One of several words, such as a direction; the default where the field is missing.
fn word<T: Copy + Default, const N: usize>(
    field: &str,
    words: [(&str, T); N],
    fields: &Object<'_>,
    problems: &mut ConfigErrors,
) -> Option<T> {
    let Some(node) = fields.get(field) else { return Some(T::default()) };
    let known = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    let expected = format!("one of {}", words.map(|(word, _)| word).join(", "));
    node.parsed(&expected, known, problems)
}

fn tolerance(fields: &Object<'_>, problems: &mut ConfigErrors) -> Option<f64> {
    match fields.get("tolerance") {
        None => Some(TOLERANCE),
        Some(node) => factor(&node, 1.0, problems),
    }
}

fn values(fields: &Object<'_>, problems: &mut ConfigErrors) -> Option<MetricRule> {
    let signal = signal(fields, problems);
    let tolerance = tolerance(fields, problems);
    let worse = word("worse", Worse::ALL.map(|worse| (worse.as_str(), worse)), fields, problems);
    Some(MetricRule::Values { signal: signal?.to_owned(), tolerance: tolerance?, worse: worse? })
}

fn latency(fields: &Object<'_>, problems: &mut ConfigErrors) -> Option<MetricRule> {
    let of = word("of", Timing::ALL.map(|timing| (timing.as_str(), timing)), fields, problems);
    let tolerance = tolerance(fields, problems);
    let Some(node) = fields.get("quantiles") else {
        return Some(MetricRule::Latency { timing: of?, tolerances: [tolerance?; 9] });
    };
    let named = quantiles(&node, problems);
    let tolerances = spread(&named?, tolerance?);
    Some(MetricRule::Latency { timing: of?, tolerances })
}

/// The named quantiles and their factors, ascending.
fn quantiles(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Vec<(f64, f64)>> {
    let Some(map) = node.value().as_object() else {
        node.expected(problems, "an object such as {p50: 1.1, p99: 1.5}");
        return None;
    };
    let names: Vec<&str> = map.keys().map(String::as_str).collect();
    if names.is_empty() || names.len() > QUANTILES.len() {
        node.problem(problems, format!("name 1 to {} quantiles", QUANTILES.len()));
        return None;
    }
    let fields = node.object(&names, problems)?;
    let mut named = Vec::new();
    let mut sound = true;
    for name in names {
        let quantile = quantile(name);
        if quantile.is_none() {
            let message = "no quantile; expected a name such as p50, p95 or p99.5";
            problems.add(&format!("{}.{name}", node.path()), message);
        }
        let factor = fields.require(name, problems).and_then(|node| factor(&node, 1.0, problems));
        sound &= quantile.is_some() && factor.is_some();
        named.extend(quantile.zip(factor));
    }
    named.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    sound.then_some(named)
}

/// Reads `p99.5` as 0.995.
fn quantile(name: &str) -> Option<f64> {
    let share = percentage(&format!("{}%", name.strip_prefix('p')?))?;
    (share > 0.0 && share < 1.0).then_some(share)
}

/// A named quantile's factor holds up to the next named one; those below the first take the first's.
fn spread(named: &[(f64, f64)], default: f64) -> [f64; 9] {
    // 99.5 / 100 need not be the float 0.995.
    const SAME: f64 = 1e-9;
    let first = named.first().map_or(default, |(_, factor)| *factor);
    QUANTILES.map(|(_, at)| {
        let reached = named.iter().rev().find(|(quantile, _)| *quantile <= at + SAME);
        reached.map_or(first, |(_, factor)| *factor)
    })
}
