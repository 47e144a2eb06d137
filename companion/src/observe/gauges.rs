//! The filter's gauges, and the regular expressions that ask Envoy for its statistics. Pure.

use std::collections::BTreeSet;

use canary_model::stat_name::{FilterMetric, RolloutGauge, StatName};
use canary_model::weight::Weight;

use super::counters::UPTIME;
use crate::envoy::Stats;

/// The state of one rollout in one Envoy's filter; `None` if the filter hasn't reported it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// The weight in force.
    pub in_force: Option<Weight>,
    /// Whether the guard has tripped in this epoch.
    pub guard_tripped: Option<bool>,
    /// Whether the lease ran out.
    pub lease_expired: Option<bool>,
    /// The guard's epoch that the filter knows.
    pub epoch: Option<u64>,
    /// The age at which outcomes are counted for the judge, in seconds.
    pub outcome_age: Option<u64>,
}

/// The regular expression for `/stats` that finds which rollouts there are.
pub const ROLLOUTS_FILTER: &str = r"^wasmcustom\.canary\.[a-z0-9_-]+\.weight_ppm$";

/// The most rollouts that a regular expression names.
const MOST_NAMES: usize = 16;

/// What tells whether a configuration that the dump shows is in force, and when to read it again.
const CONFIGURATION: &str = r"^extension_config_discovery\.http_filter\..+\.(version_text|config_reload|update_(attempt|rejected|success|time))$|^listener_manager\.(lds\.update_(rejected|success)|listener_(added|modified|removed|create_failure))$";

/// The regular expression for `/stats` that finds everything about one rollout, or about all of them.
pub fn stats_filter(rollout: Option<&str>) -> String {
    let rollout = rollout.unwrap_or("[a-z0-9_-]+");
    let uptime = UPTIME.replace('.', r"\.");
    format!(r"^wasmcustom\.canary\.({rollout}|filter)\.|^{uptime}$|{CONFIGURATION}")
}

/// The same for some rollouts; for more than a few, that of all rollouts is cheaper.
pub fn stats_filter_of(rollouts: &BTreeSet<String>) -> String {
    if rollouts.len() > MOST_NAMES {
        return stats_filter(None);
    }
    // Names of rollouts hold nothing that means something in a regular expression.
    let names: Vec<&str> = rollouts.iter().map(String::as_str).collect();
    stats_filter(Some(&names.join("|")))
}

/// The regular expression for `/stats` that finds the gauges of a rollout, or of all, and the
/// filter's own metrics, without counters and histograms, which are most of the answer.
pub fn gauges_filter(rollout: Option<&str>) -> String {
    let rollout = rollout.unwrap_or("[a-z0-9_-]+");
    format!(r"^wasmcustom\.canary\.({rollout}|filter)\.[a-z_]+$")
}

/// The rollouts that a filter runs on this Envoy.
pub fn rollouts(stats: &Stats) -> BTreeSet<String> {
    let names = stats.numbers.keys().filter_map(|name| match StatName::parse(name)? {
        StatName::Rollout { rollout, gauge: RolloutGauge::WeightPpm } => Some(rollout.to_owned()),
        _ => None,
    });
    names.collect()
}

/// The gauges of a rollout.
pub fn gauges(stats: &Stats, rollout: &str) -> Gauges {
    let gauge =
        |gauge| stats.numbers.get(&StatName::Rollout { rollout, gauge }.to_string()).copied();
    let flag = |name| gauge(name).map(|value| value != 0);
    let weight = gauge(RolloutGauge::WeightPpm).and_then(|ppm| u32::try_from(ppm).ok());
    Gauges {
        in_force: weight.and_then(Weight::from_ppm),
        guard_tripped: flag(RolloutGauge::GuardTripped),
        lease_expired: flag(RolloutGauge::LeaseExpired),
        epoch: gauge(RolloutGauge::Epoch),
        outcome_age: gauge(RolloutGauge::OutcomeAgeSeconds),
    }
}

/// One of the filter's own metrics.
pub fn filter_metric(stats: &Stats, metric: FilterMetric) -> Option<u64> {
    stats.numbers.get(&StatName::Filter(metric).to_string()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_rollout() {
        let numbers = [
            ("wasmcustom.canary.scorer.weight_ppm", 50_000),
            ("wasmcustom.canary.scorer.guard_tripped", 1),
            ("wasmcustom.canary.scorer.outcome_age_seconds", 20),
            ("wasmcustom.canary.other.weight_ppm", 9_999_999),
            ("wasmcustom.canary.filter.poll_success", 3),
            ("cluster.a.upstream_rq_total", 1),
        ];
        let numbers = numbers.map(|(name, value)| (name.to_owned(), value)).into();
        let stats = Stats { numbers, ..Stats::default() };
        assert_eq!(rollouts(&stats), ["other", "scorer"].map(str::to_owned).into());
        let gauges = gauges(&stats, "scorer");
        assert_eq!(gauges.in_force.map(Weight::ppm), Some(50_000));
        assert_eq!((gauges.guard_tripped, gauges.lease_expired), (Some(true), None));
        assert_eq!(gauges.outcome_age, Some(20));
        assert_eq!(super::gauges(&stats, "other").in_force, None, "beyond 100 %");
        assert_eq!(filter_metric(&stats, FilterMetric::PollSuccess), Some(3));
    }
}
