//! What one Envoy says about rollouts, read out of its statistics. Pure.

use std::collections::{BTreeMap, BTreeSet};

use canary_model::histogram::Histogram;
use canary_model::role::Role;
use canary_model::runtime::{Reading, RolloutRuntime};
use canary_model::stat_name::{FilterMetric, Metric, RolloutGauge, StatName};
use canary_model::weight::Weight;

use crate::envoy::{ConfiguredRollout, Stats};

/// The state of one rollout in one Envoy's filter; `None` where the filter has not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// The weight in force.
    pub in_force: Option<Weight>,
    /// Whether the guard has tripped in this epoch.
    pub guard_tripped: Option<bool>,
    /// Whether the lease ran out.
    pub lease_expired: Option<bool>,
    /// The guard's epoch.
    pub epoch: Option<u64>,
}

/// What one version did, since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Compared requests.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Request headers to end of response, in microseconds.
    pub time_us: Histogram,
}

impl Counts {
    /// Adds another Envoy's counts.
    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failures = self.failures.saturating_add(other.failures);
        self.time_us.merge(&other.time_us);
    }
}

/// Everything that one Envoy says about one rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Its gauges.
    pub gauges: Gauges,
    /// Its counts by version; those of earlier versions stay until Envoy restarts.
    pub versions: BTreeMap<(Role, String), Counts>,
    /// What the runtime sets.
    pub runtime: RolloutRuntime,
    /// What the filter's configuration says, where it can be seen and is in force.
    pub configured: Option<ConfiguredRollout>,
}

impl Observation {
    /// The versions that this Envoy has counted for a role.
    pub fn counted(&self, role: Role) -> Vec<&str> {
        let of_role = self.versions.keys().filter(|(counted, _)| *counted == role);
        of_role.map(|(_, version)| version.as_str()).collect()
    }

    /// Whether the configuration is needed to tell what the weight or the current versions are.
    pub fn leaves_questions(&self) -> bool {
        let one_version = |role| self.counted(role).len() == 1;
        self.runtime.weight == Reading::Absent || !Role::ALL.into_iter().all(one_version)
    }
}

/// The regular expression for `/stats` that finds the rollouts there are.
pub const ROLLOUTS_FILTER: &str = r"^wasmcustom\.canary\.[a-z0-9_-]+\.weight_ppm$";

/// The regular expression for `/stats` that finds what is needed about one rollout, or about all.
/// Histograms are left out unless `times` asks for them: they are most of the answer.
pub fn stats_filter(rollout: Option<&str>, times: bool) -> String {
    let rollout = rollout.unwrap_or("[a-z0-9_-]+");
    let roles = if times { "rq_total|rq_failure|rq_time_us" } else { "rq_total|rq_failure" };
    // The last part tells whether a configuration that the dump shows was accepted.
    format!(
        r"^wasmcustom\.canary\.({rollout}\.[a-z_]+|{rollout}\.(stable|canary)\..+\.({roles})|filter\.[a-z_]+)$|^extension_config_discovery\.http_filter\..+\.version_text$"
    )
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
    }
}

/// One of the filter's own figures.
pub fn filter_metric(stats: &Stats, metric: FilterMetric) -> Option<u64> {
    stats.numbers.get(&StatName::Filter(metric).to_string()).copied()
}

/// The counts of a rollout by role and version.
pub fn versions(stats: &Stats, rollout: &str) -> BTreeMap<(Role, String), Counts> {
    let mut versions: BTreeMap<(Role, String), Counts> = BTreeMap::new();
    let mut at = |name: &str, put: &dyn Fn(&mut Counts, Metric<'_>)| {
        if let Some(StatName::Role { rollout: of, role, version, metric }) = StatName::parse(name)
            && of == rollout
        {
            put(versions.entry((role, version.to_owned())).or_default(), metric);
        }
    };
    for (name, value) in &stats.numbers {
        at(name, &|counts, metric| match metric {
            Metric::RqTotal => counts.requests = *value,
            Metric::RqFailure => counts.failures = *value,
            _ => {}
        });
    }
    for (name, histogram) in &stats.histograms {
        at(name, &|counts, metric| {
            if metric == Metric::RqTimeUs {
                counts.time_us = histogram.clone();
            }
        });
    }
    versions
}

/// Whether the times of all counted requests are there. Envoy answers with the histograms of its last
/// merge and merges anew because it was asked, so the first answer may lag behind the counters.
pub fn times_are_complete(stats: &Stats) -> bool {
    stats.numbers.iter().all(|(name, total)| {
        let Some(StatName::Role { rollout, role, version, metric: Metric::RqTotal }) =
            StatName::parse(name)
        else {
            return true;
        };
        let times = StatName::Role { rollout, role, version, metric: Metric::RqTimeUs }.to_string();
        stats.histograms.get(&times).map_or(0, Histogram::count) >= *total
    })
}

/// The configuration of a rollout that is in force, of those that the dump shows. A push that ECDS
/// refused is in the dump as well; its version is not the one that Envoy says it runs.
pub fn in_force<'c>(
    configured: &'c [ConfiguredRollout],
    stats: &Stats,
    rollout: &str,
) -> Option<&'c ConfiguredRollout> {
    let accepted = |one: &&ConfiguredRollout| {
        let Some((filter, version)) = &one.push else {
            return true;
        };
        let running = format!("extension_config_discovery.http_filter.{filter}.version_text");
        stats.texts.get(&running).is_none_or(|running| running == version)
    };
    let mut found = configured.iter().filter(|one| one.name == rollout).filter(accepted);
    let first = found.next()?;
    // Two filters that disagree about the versions are no witness for either.
    found
        .all(|other| (&other.stable, &other.canary) == (&first.stable, &first.canary))
        .then_some(first)
}

#[cfg(test)]
mod tests {
    use canary_model::histogram::Bin;

    use super::*;

    fn stats() -> Stats {
        let numbers = [
            ("wasmcustom.canary.scorer.weight_ppm", 50_000),
            ("wasmcustom.canary.scorer.guard_tripped", 1),
            ("wasmcustom.canary.scorer.stable.3.1.rq_total", 95),
            ("wasmcustom.canary.scorer.canary.3.2.rq_total", 5),
            ("wasmcustom.canary.scorer.canary.3.2.rq_failure", 2),
            ("wasmcustom.canary.other.weight_ppm", 9_999_999),
            ("wasmcustom.canary.other.canary.1.rq_total", 7),
            ("wasmcustom.canary.filter.poll_success", 3),
            ("cluster.a.upstream_rq_total", 1),
        ];
        let time = std::iter::once((Bin::new(10.0, 1.0).unwrap(), 5)).collect();
        Stats {
            numbers: numbers.map(|(name, value)| (name.to_owned(), value)).into(),
            texts: BTreeMap::new(),
            histograms: [("wasmcustom.canary.scorer.canary.3.2.rq_time_us".to_owned(), time)]
                .into(),
        }
    }

    #[test]
    fn reads_a_rollout() {
        let stats = stats();
        assert_eq!(rollouts(&stats), ["other", "scorer"].map(str::to_owned).into());
        let gauges = gauges(&stats, "scorer");
        assert_eq!(gauges.in_force.map(Weight::ppm), Some(50_000));
        assert_eq!((gauges.guard_tripped, gauges.lease_expired), (Some(true), None));
        assert_eq!(super::gauges(&stats, "other").in_force, None, "beyond 100 %");
        let versions = versions(&stats, "scorer");
        assert_eq!(versions.len(), 2);
        let canary = &versions[&(Role::Canary, "3.2".to_owned())];
        assert_eq!((canary.requests, canary.failures, canary.time_us.count()), (5, 2, 5));
        assert_eq!(filter_metric(&stats, FilterMetric::PollSuccess), Some(3));
        assert!(!times_are_complete(&stats), "stable was counted, its times are not there");
        let times = stats.histograms.into_iter();
        let complete = Stats { histograms: times.collect(), ..Stats::default() };
        assert!(times_are_complete(&complete));
    }

    fn configured(push: Option<(&str, &str)>, canary: &str) -> ConfiguredRollout {
        ConfiguredRollout {
            push: push.map(|(filter, version)| (filter.to_owned(), version.to_owned())),
            name: "scorer".to_owned(),
            stable: "3.1".to_owned(),
            canary: canary.to_owned(),
            weight: Weight::ZERO,
        }
    }

    #[test]
    fn a_refused_push_is_no_witness() {
        let mut stats = stats();
        let name = "extension_config_discovery.http_filter.canary.version_text";
        stats.texts.insert(name.to_owned(), "1".to_owned());
        let accepted = configured(Some(("canary", "1")), "3.2");
        let refused = configured(Some(("canary", "2")), "3.3");
        let unknown = configured(Some(("elsewhere", "2")), "3.2");
        let find = |list: &[ConfiguredRollout]| in_force(list, &stats, "scorer").cloned();
        assert_eq!(find(std::slice::from_ref(&accepted)), Some(accepted.clone()));
        assert_eq!(find(std::slice::from_ref(&refused)), None);
        assert_eq!(find(&[refused, accepted.clone()]), Some(accepted.clone()));
        assert_eq!(find(&[accepted.clone(), unknown]), Some(accepted.clone()));
        assert_eq!(find(&[accepted, configured(None, "3.3")]), None, "two that disagree");
        assert_eq!(find(&[]), None);
    }
}
