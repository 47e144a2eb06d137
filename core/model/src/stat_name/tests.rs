//! Names as the contract writes them, and the law that what is built reads back.

use proptest::prelude::*;

use super::*;

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
        (
            "wasmcustom.canary.scorer.canary.rq_total.rq_total",
            role_stat("rq_total", Metric::RqTotal),
        ),
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
fn a_known_version_leaves_no_doubt() {
    let name = "wasmcustom.canary.scorer.canary.3.1.signal.label.rq_total";
    let metric = |version| Metric::of_version(name, "scorer", Role::Canary, version);
    assert_eq!(metric("3.1"), Some(Metric::Signal { signal: "label", bin: "rq_total" }));
    assert_eq!(metric("3.1.signal.label"), Some(Metric::RqTotal));
    assert_eq!(metric("3"), None);
    assert_eq!(Metric::of_version(name, "scorer", Role::Stable, "3.1"), None);
    assert_eq!(Metric::of_version(name, "score", Role::Canary, "3.1"), None);
}

#[test]
fn names_and_versions() {
    for name in ["a", "0", "scorer", "a_b-c", &"a".repeat(63)] {
        assert!(is_rollout_name(name), "{name}");
    }
    for name in ["", "A", "_a", "-a", "a.b", "filter", "é", &"a".repeat(64)] {
        assert!(!is_rollout_name(name), "{name}");
    }
    for label in ["3.1", "A", "v1.2.3-rc_1", "1.", &"a".repeat(63)] {
        assert!(is_version(label), "{label}");
    }
    for label in ["", ".1", "-1", "a b", "a/b", &"a".repeat(64)] {
        assert!(!is_version(label), "{label}");
    }
}

fn a_metric() -> impl Strategy<Value = (Option<usize>, String, String, bool)> {
    let plain = proptest::option::of(0..Metric::PLAIN.len());
    (plain, "[a-z0-9_]{1,63}", "[A-Za-z0-9_-]{1,63}", any::<bool>())
}

proptest! {
    /// Whatever is built reads back, whatever dots the version has.
    #[test]
    fn built_names_read_back(
        rollout in "[a-z0-9][a-z0-9_-]{0,62}",
        version in "[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
        canary in any::<bool>(),
        (plain, signal, bin, first) in a_metric(),
    ) {
        prop_assume!(rollout != "filter");
        prop_assume!(Metric::parse(&bin).is_none());
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
