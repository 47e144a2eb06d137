//! Requests and failures of every version over a fleet, which an Envoy's restart doesn't set back. Pure.

use std::collections::BTreeMap;

use canary_model::names::OTHER_VERSION;
use canary_model::role::Role;

use super::counters::{Counter, RolloutCounters};

/// What operators see of one version's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Compared requests that have ended, `rq_total`.
    pub requests: u64,
    /// Those that failed, `rq_failure`.
    pub failures: u64,
    /// Those without an answer at the age `outcome_age`, `judged_unanswered`; `None` if the filter doesn't
    /// count them.
    pub unanswered: Option<u64>,
}

/// The requests of every version, since the start of the Envoys' processes or, for Envoys that restarted
/// while this process watched, since the start of the first one. An Envoy that leaves the fleet keeps its
/// part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTotals {
    envoys: BTreeMap<String, BTreeMap<(Role, String), VersionTotals>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct VersionTotals {
    earlier_processes: RequestCounts,
    now: RequestCounts,
}

impl RequestTotals {
    /// Takes an Envoy's counters. `restarted` says that they are those of a new process.
    pub fn update(&mut self, url: &str, counters: &RolloutCounters, restarted: bool) {
        let envoy = self.envoys.entry(url.to_owned()).or_default();
        if restarted {
            envoy.values_mut().for_each(|version| {
                version.earlier_processes = version.earlier_processes.plus(version.now);
                version.now = RequestCounts::default();
            });
        }
        for (key, version) in &counters.versions {
            envoy.entry(key.clone()).or_default().now = RequestCounts {
                requests: version.count(&Counter::Total),
                failures: version.count(&Counter::Failure),
                unanswered: version.counts.get(&Counter::Unanswered).copied(),
            };
        }
    }

    /// What the fleet counted of one version of a role, or of all of them; `None` if no Envoy was read yet.
    /// An Envoy counts a version beyond the first 32 of a role together with others.
    pub fn role(&self, role: Role, version: Option<&str>) -> Option<RequestCounts> {
        let mut total = RequestCounts::default();
        for envoy in self.envoys.values() {
            let version = version.map(|version| {
                let known = envoy.contains_key(&(role, version.to_owned()));
                if known { version } else { OTHER_VERSION }
            });
            for ((of, name), counts) in envoy {
                if *of == role && version.is_none_or(|version| version == name) {
                    total = total.plus(counts.earlier_processes).plus(counts.now);
                }
            }
        }
        (!self.envoys.is_empty()).then_some(total)
    }
}

impl RequestCounts {
    fn plus(self, more: Self) -> Self {
        let both = self.unanswered.zip(more.unanswered);
        Self {
            requests: self.requests.saturating_add(more.requests),
            failures: self.failures.saturating_add(more.failures),
            unanswered: both
                .map(|(one, other)| one.saturating_add(other))
                .or(self.unanswered)
                .or(more.unanswered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(version: &str, total: u64, failure: u64) -> RolloutCounters {
        let mut counters = RolloutCounters::default();
        let counts = &mut counters.versions.entry((Role::Canary, version.to_owned())).or_default();
        counts.counts.insert(Counter::Total, total);
        counts.counts.insert(Counter::Failure, failure);
        counts.counts.insert(Counter::Unanswered, failure / 2);
        counters
    }

    #[test]
    fn a_restart_or_a_departure_loses_nothing() {
        let mut totals = RequestTotals::default();
        assert_eq!(totals.role(Role::Canary, Some("2")), None);
        totals.update("a", &counters("2", 40, 4), false);
        totals.update("b", &counters("2", 10, 1), false);
        totals.update("a", &counters("2", 50, 5), false);
        totals.update("a", &counters("2", 7, 0), true);
        totals.update("a", &counters("3", 1, 1), false);
        let of = |totals: &RequestTotals, version| {
            let counts = totals.role(Role::Canary, version)?;
            Some((counts.requests, counts.failures, counts.unanswered))
        };
        assert_eq!(of(&totals, Some("2")), Some((67, 6, Some(2))));
        assert_eq!(of(&totals, Some("3")), Some((1, 1, Some(0))));
        assert_eq!(of(&totals, None), Some((68, 7, Some(2))));
        assert_eq!(totals.role(Role::Stable, None), Some(RequestCounts::default()));
        totals.update("b", &counters(OTHER_VERSION, 5, 0), false);
        assert_eq!(of(&totals, Some("4")), Some((5, 0, Some(0))), "one of more than 32 versions");
    }
}
