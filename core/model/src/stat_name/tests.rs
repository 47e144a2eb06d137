//! Names as the contract writes them, and the law that what is built reads back.

use proptest::prelude::*;

use super::*;
use crate::names::{METRIC_WORDS, is_bin};

fn role_stat<'a>(version: &'a str, metric: Metric<'a>) -> StatName<'a> {
    StatName::Role { rollout: "scorer", role: Role::Canary, version, metric }
}

#[test]
fn names_as_envoy_shows_them() {
    for (name, stat) in [
        ("wasmcustom.canary.scorer.canary.3.2.rq_total", role_stat("3.2", Metric::RqTotal)),
        ("wasmcustom.canary.scorer.canary.v1.rq_time_us", role_stat("v1", Metric::RqTimeUs)),
        (
            "wasmcustom.canary.scorer.canary.3.2.signal.label.cat",
            role_stat("3.2", Metric::Signal { signal: "label", bin: "cat" }),
        ),
        (
            "wasmcustom.canary.scorer.canary.3..2..signal_first.label.b0",
            role_stat("3..2.", Metric::SignalFirst { signal: "label", bin: "b0" }),
        ),
        ("wasmcustom.canary.scorer.canary.3.2.rq_abandoned", role_stat("3.2", Metric::RqAbandoned)),
        (
            "wasmcustom.canary.stable.weight_ppm",
            StatName::Rollout { rollout: "stable", gauge: RolloutGauge::WeightPpm },
        ),
        ("wasmcustom.canary.filter.heartbeat", StatName::Filter(FilterMetric::Heartbeat)),
    ] {
        assert_eq!(StatName::parse(name), Some(stat), "{name}");
        assert_eq!(stat.to_string(), name);
        assert_eq!(format!("wasmcustom.{}", stat.defined()), name);
    }
}

#[test]
fn foreign_names_are_none() {
    for name in [
        "",
        "wasmcustom.canary",
        "wasmcustom.canary.scorer",
        "wasmcustom.canary.scorer.weight",
        "wasmcustom.canary.scorer.canary.rq_total",
        "wasmcustom.canary.scorer.canary..rq_total",
        "wasmcustom.canary.scorer.canary.rq_total.rq_total",
        "wasmcustom.canary.scorer.baseline.3.2.rq_total",
        "wasmcustom.canary.scorer.canary.3.2.rq_9xx",
        "wasmcustom.canary.scorer.canary.3.2.signal.cat",
        "wasmcustom.canary.filter.rq_total",
        "wasmcustom.canary.filter.canary.3.2.rq_total",
        "wasmcustom.canary.Scorer.weight_ppm",
        "canary.scorer.weight_ppm",
        "cluster.scorer.upstream_rq_total",
    ] {
        assert_eq!(StatName::parse(name), None, "{name}");
    }
}

#[test]
fn the_first_metric_word_ends_the_version() {
    let parse =
        |rest: &str| match StatName::parse(&format!("wasmcustom.canary.scorer.canary.{rest}")) {
            Some(StatName::Role { version, metric, .. }) => {
                Some((version.to_owned(), metric.to_string()))
            }
            _ => None,
        };
    let parts = |version: &str, metric: &str| Some((version.to_owned(), metric.to_owned()));
    assert_eq!(parse("1.signal.2.rq_total"), None, "version 1, signal 2: a bin can't be a metric");
    assert_eq!(parse("1.signal.2.cat"), parts("1", "signal.2.cat"));
    assert_eq!(parse("1.signal.signal.cat"), parts("1", "signal.signal.cat"));
    assert_eq!(parse("1.signal.rq_total.cat"), parts("1", "signal.rq_total.cat"));
    assert_eq!(parse("1.0-rq_2.rq_total"), parts("1.0-rq_2", "rq_total"));
    let value = "the value histogram of a signal rq_total";
    assert_eq!(parse("1.value.rq_total"), parts("1", "value.rq_total"), "{value}");
    assert_eq!(parse("1.value_first.tokens"), parts("1", "value_first.tokens"));
    assert_eq!(parse("1.value.tokens.cat"), None, "values have no bins");
    assert_eq!(parse("1.rq_total.rq_total"), None);
    assert_eq!(parse("other.rq_total"), parts("other", "rq_total"));
    assert_eq!(parse("other.1.rq_total"), parts("other.1", "rq_total"));
}

#[test]
fn the_metric_of_a_known_version() {
    let name = "wasmcustom.canary.scorer.canary.3.1.signal.label.cat";
    let metric = |role, rollout, version| Metric::of_version(name, rollout, role, version);
    let label = Some(Metric::Signal { signal: "label", bin: "cat" });
    assert_eq!(metric(Role::Canary, "scorer", "3.1"), label);
    assert_eq!(metric(Role::Canary, "scorer", "3"), None);
    assert_eq!(metric(Role::Stable, "scorer", "3.1"), None);
    assert_eq!(metric(Role::Canary, "score", "3.1"), None);
}

#[test]
fn every_metric_is_reserved() {
    let plain = Metric::PLAIN.iter().map(ToString::to_string);
    let gauges = RolloutGauge::ALL.iter().map(ToString::to_string);
    let filter = FilterMetric::ALL.iter().map(ToString::to_string);
    for word in plain.chain(gauges).chain(filter) {
        assert!(crate::names::is_metric_word(&word), "{word}");
    }
}

/// Versions, among them many whose parts are close to a metric's name.
fn a_version() -> impl Strategy<Value = String> {
    let word = proptest::sample::select(&METRIC_WORDS);
    let near = ("[0-9a-z]{0,2}", word, "[._-]?[0-9a-z]{0,2}");
    let near = near.prop_map(|(before, word, after)| format!("{before}{word}{after}"));
    let part = prop_oneof![3 => "[A-Za-z0-9_-]{0,8}", 1 => near];
    let parts = proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("."));
    prop_oneof![1 => "[A-Za-z0-9][A-Za-z0-9._-]{0,62}", 3 => parts, 1 => Just("other".to_owned())]
}

fn a_metric() -> impl Strategy<Value = (Option<usize>, String, String, bool)> {
    let plain = proptest::option::of(0..Metric::PLAIN.len());
    (plain, "[a-z0-9_]{1,63}", "[A-Za-z0-9_-]{1,63}", any::<bool>())
}

proptest! {
    /// Every legal name reads back as exactly its parts, whatever dots the version has.
    #[test]
    fn built_names_read_back(
        rollout in "[a-z0-9][a-z0-9_-]{0,62}",
        version in a_version(),
        canary in any::<bool>(),
        (plain, signal, bin, first) in a_metric(),
    ) {
        prop_assume!(rollout != "filter" && is_bin(&bin));
        prop_assume!(is_version(&version) || version == OTHER_VERSION);
        let (signal, bin) = (signal.as_str(), bin.as_str());
        let metric = match plain {
            Some(index) => Metric::PLAIN[index],
            None if first => Metric::SignalFirst { signal, bin },
            None => Metric::Signal { signal, bin },
        };
        let role = if canary { Role::Canary } else { Role::Stable };
        let stat = StatName::Role { rollout: &rollout, role, version: &version, metric };
        let name = stat.to_string();
        prop_assert_eq!(StatName::parse(&name), Some(stat));
        prop_assert_eq!(Metric::of_version(&name, &rollout, role, &version), Some(metric));
    }

    /// What is read is what was written: no two names are one statistic.
    #[test]
    fn read_names_write_back(name in "wasmcustom\\.canary\\.[a-z_.]{0,12}(stable|canary)[a-z0-9._]{0,30}(rq_total|signal\\.a\\.b)?") {
        if let Some(stat) = StatName::parse(&name) {
            prop_assert_eq!(stat.to_string(), name);
        }
    }
}
