//! Requests and failures of every version over a fleet, which an Envoy's restart doesn't set back. Pure.

use std::collections::BTreeMap;

use canary_judge::counts::Trials;
use canary_model::role::Role;

use super::counters::{Counter, RolloutCounters};

/// `rq_total` and `rq_failure` of every version, since the start of the Envoys' processes or, for Envoys
/// that restarted while this process watched, since the start of the first one. An Envoy that leaves the
/// fleet keeps its part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTotals {
    envoys: BTreeMap<String, BTreeMap<(Role, String), VersionTotals>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct VersionTotals {
    earlier_processes: Trials,
    now: Trials,
}

impl RequestTotals {
    /// Takes an Envoy's counters. `restarted` says that they are those of a new process.
    pub fn update(&mut self, url: &str, counters: &RolloutCounters, restarted: bool) {
        let envoy = self.envoys.entry(url.to_owned()).or_default();
        if restarted {
            envoy.values_mut().for_each(|version| {
                version.earlier_processes = sum(version.earlier_processes, version.now);
                version.now = Trials::default();
            });
        }
        for (key, version) in &counters.versions {
            envoy.entry(key.clone()).or_default().now = Trials {
                trials: version.count(&Counter::Total),
                events: version.count(&Counter::Failure),
            };
        }
    }

    /// What the fleet counted of one version of a role, or of all of them; `None` if no Envoy was read yet.
    pub fn role(&self, role: Role, version: Option<&str>) -> Option<Trials> {
        let is_asked_for = |(of, name): &(Role, String)| {
            *of == role && version.is_none_or(|version| version == name)
        };
        let versions = self.envoys.values().flatten().filter(|(key, _)| is_asked_for(key));
        let parts = versions.flat_map(|(_, version)| [version.earlier_processes, version.now]);
        let total = parts.fold(Trials::default(), sum);
        (!self.envoys.is_empty()).then_some(total)
    }
}

fn sum(one: Trials, other: Trials) -> Trials {
    Trials {
        trials: one.trials.saturating_add(other.trials),
        events: one.events.saturating_add(other.events),
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
        let of = |version| {
            totals.role(Role::Canary, version).map(|trials| (trials.trials, trials.events))
        };
        assert_eq!(of(Some("2")), Some((67, 6)));
        assert_eq!(of(Some("3")), Some((1, 1)));
        assert_eq!(of(None), Some((68, 7)));
        assert_eq!(totals.role(Role::Stable, None), Some(Trials::default()));
    }
}
