//! The statistics that the filter may have, by docs/REFERENCE.md ("Statistics"): its table, the gauges of a
//! rollout, those of the filter, and at most 32 versions of a role, with `other` for all further ones.
//!
//! This is written from the documentation and shares no code with the filter, so that one of both shows it if
//! the other is wrong.

use std::collections::BTreeSet;

use serde_json::Value;

/// Versions of a role with statistics of their own.
const MOST_VERSIONS: usize = 32;
/// What each version of each role has.
const ALWAYS: [&str; 16] = [
    "rq_total",
    "rq_failure",
    "rq_2xx",
    "rq_3xx",
    "rq_4xx",
    "rq_5xx",
    "assigned_total",
    "judged_total",
    "judged_failure",
    "judged_unanswered",
    "rq_broken",
    "rq_overdue",
    "rq_abandoned",
    "rq_rescued",
    "rq_forced",
    "rq_time_us",
];
/// What it has beyond that if the rollout has an affinity.
const STICKY: [&str; 4] =
    ["client_total", "client_failure", "client_first_failure", "rq_time_first_us"];
const ROLLOUT: [&str; 5] =
    ["weight_ppm", "guard_tripped", "lease_expired", "epoch", "outcome_age_seconds"];
const FILTER: [&str; 5] =
    ["poll_success", "poll_failure", "invalid_runtime", "config_rejected", "heartbeat"];

/// The names, without `wasmcustom.canary.`, of all statistics that a filter may have whose only rollout is
/// this one, after it has run these versions in either role.
pub(super) fn documented(rollout: &Value, versions: &[&str]) -> BTreeSet<String> {
    let name = rollout["name"].as_str().expect("a rollout has a name");
    let metrics = of_a_version(rollout);
    let (own, further) = versions.split_at(versions.len().min(MOST_VERSIONS));
    let counted = own.iter().copied().chain((!further.is_empty()).then_some("other"));
    let mut names = BTreeSet::new();
    for version in counted {
        for role in ["stable", "canary"] {
            names.extend(metrics.iter().map(|metric| format!("{name}.{role}.{version}.{metric}")));
        }
    }
    names.extend(ROLLOUT.map(|gauge| format!("{name}.{gauge}")));
    names.extend(FILTER.map(|metric| format!("filter.{metric}")));
    names
}

/// The most statistics that it can ever have, whatever versions it runs.
pub(super) fn most_ever(rollout: &Value) -> usize {
    2 * (MOST_VERSIONS + 1) * of_a_version(rollout).len() + ROLLOUT.len() + FILTER.len()
}

/// What one version of one role has.
pub(super) fn of_a_version(rollout: &Value) -> BTreeSet<String> {
    let sticky = rollout.get("affinity").is_some();
    let mut metrics: BTreeSet<String> = ALWAYS.map(str::to_owned).into();
    if sticky {
        metrics.extend(STICKY.map(str::to_owned));
    }
    for timing in rollout["timings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        metrics.insert(format!("rq_{timing}_us"));
        if sticky {
            metrics.insert(format!("rq_{timing}_first_us"));
        }
    }
    for signal in rollout["signals"].as_array().into_iter().flatten() {
        for first in if sticky { &["", "_first"][..] } else { &[""] } {
            metrics.extend(of_a_signal(signal, first));
        }
    }
    metrics
}

fn of_a_signal(signal: &Value, first: &str) -> Vec<String> {
    let name = signal["name"].as_str().expect("a signal has a name");
    let mut bins: Vec<String> = Vec::new();
    if let Some(categories) = signal["categories"].as_array() {
        let bin = |category: &Value| {
            category["bin"].as_str().or(category.as_str()).expect("a category").to_owned()
        };
        bins.extend(categories.iter().map(bin).chain(["other".to_owned()]));
    }
    if let Some(limits) = signal["bins"].as_array() {
        bins.extend((0..=limits.len()).map(|bin| format!("b{bin}")));
    }
    let rest = if signal["conversion"] == true { "converted" } else { "unreadable" };
    bins.push(rest.to_owned());
    let mut metrics: Vec<String> =
        bins.iter().map(|bin| format!("signal{first}.{name}.{bin}")).collect();
    if signal.get("values").is_some() {
        metrics.push(format!("value{first}.{name}"));
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts;
    use serde_json::json;

    fn plain() -> Value {
        json!({"name": "demo"})
    }

    #[test]
    fn a_plain_rollout_with_two_versions() {
        let names = documented(&plain(), &["1", "2"]);
        assert_eq!(names.len(), 2 * 2 * 16 + 10);
        for name in ["demo.stable.1.rq_total", "demo.canary.2.rq_time_us", "demo.epoch"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(names.contains("filter.heartbeat") && !names.contains("demo.canary.3.rq_total"));
    }

    #[test]
    fn what_affinity_timings_and_signals_add() {
        let rollout = json!({"name": "demo", "affinity": [{"header": "x"}], "timings": ["ttfb"], "signals": [
            {"name": "label", "categories": ["cat", {"value": "a dog", "bin": "dog"}, {"value": "Hund", "bin": "dog"}]},
            {"name": "score", "bins": [0.2, 0.4]},
            {"name": "tokens", "values": {}},
            {"name": "paid", "conversion": true}]});
        let signals = 4 + 4 + 2 + 1;
        assert_eq!(of_a_version(&rollout).len(), 16 + 4 + 2 + 2 * signals);
        let names = documented(&rollout, &["1"]);
        for metric in [
            "rq_ttfb_first_us",
            "signal.label.dog",
            "signal_first.label.other",
            "signal.score.b2",
            "value_first.tokens",
            "signal.tokens.unreadable",
            "signal_first.paid.converted",
        ] {
            assert!(names.contains(&format!("demo.canary.1.{metric}")), "{metric}: {names:?}");
        }
        assert!(!names.contains("demo.canary.1.signal.paid.unreadable"));
    }

    #[test]
    fn the_thirty_third_version_is_the_last_that_adds_any() {
        let versions: Vec<String> = (0..100).map(|n| format!("v{n}")).collect();
        let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
        let of = |count: usize| documented(&plain(), &versions[..count]).len();
        assert_eq!((of(32), of(33)), (2 * 32 * 16 + 10, 2 * 33 * 16 + 10));
        assert_eq!(of(33), of(100));
        assert_eq!(of(100), most_ever(&plain()));
    }

    /// The documentation names what this module does, with the same bound.
    #[test]
    fn the_documentation_says_the_same() {
        let file = artifacts::root().join("docs/REFERENCE.md");
        let text = std::fs::read_to_string(file).unwrap();
        let begin = text.find("## Statistics").unwrap();
        let section = &text[begin..begin + text[begin + 1..].find("\n## ").unwrap()];
        let classes = ["rq_3xx", "rq_4xx"];
        let names = ALWAYS.iter().chain(&STICKY).chain(&ROLLOUT).chain(&FILTER);
        for name in names.filter(|name| !classes.contains(name)) {
            assert!(section.contains(&format!("`{name}`")), "{name}");
        }
        assert!(section.contains(&format!("for the first {MOST_VERSIONS} versions")), "{section}");
    }
}
