//! What one Envoy has counted of a rollout, and what it counted between two readings. Pure.
//!
//! Counters only grow, until their Envoy restarts. A reading that holds less than the one before of
//! anything says so, and then all of that Envoy is new: what was counted before the restart is not
//! lost, for it went into earlier differences. Counters are not read at one instant: where a
//! difference can't be (more failures than requests), it waits for the next reading, which holds
//! both parts. Nothing is lost by waiting, since readings are absolute.

use std::collections::BTreeMap;

use canary_model::histogram::Histogram;
use canary_model::role::Role;
use canary_model::stat_name::{Metric, StatName};

use crate::envoy::Stats;

/// How long Envoy runs, in seconds, as its own gauge says.
pub const UPTIME: &str = "server.uptime";

/// One thing that is counted of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// Compared requests.
    Total,
    /// Those that failed.
    Failure,
    /// Clients at their first request in the window.
    Clients,
    /// Clients at their first failure in the window.
    ClientFailures,
    /// Clients whose first request failed.
    FirstFailures,
    /// A value of a signal.
    Signal {
        /// Whether of first observations alone.
        first: bool,
        /// The signal.
        signal: String,
        /// The class.
        class: String,
    },
}

/// Counts of both roles, absolute or between two readings. Versions of a role are summed: those of
/// earlier rollouts stand still.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Counters.
    pub counts: BTreeMap<(Role, Count), u64>,
    /// Times in microseconds: of all requests, and of first observations.
    pub times: BTreeMap<(Role, bool), Histogram>,
    /// Seconds since the start of the process, where they were asked for.
    pub uptime: Option<u64>,
}

/// What became of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// What was counted since.
    Of(Counters),
    /// The same, and the Envoy has restarted in between.
    Restarted(Counters),
    /// It can't be: the reading was taken in the middle of an update.
    Inconsistent,
}

impl Counters {
    /// Reads a rollout's counters out of an answer.
    pub fn of(stats: &Stats, rollout: &str) -> Self {
        let names = || stats.numbers.keys().chain(stats.histograms.keys());
        let versions = versions(names().map(String::as_str), rollout);
        let mut counters = Self { uptime: stats.numbers.get(UPTIME).copied(), ..Self::default() };
        for (name, value) in &stats.numbers {
            if let Some((role, metric)) = metric(&versions, name, rollout)
                && let Some(count) = Count::of(metric)
            {
                let held = counters.counts.entry((role, count)).or_default();
                *held = held.saturating_add(*value);
            }
        }
        for (name, histogram) in &stats.histograms {
            let first = match metric(&versions, name, rollout) {
                Some((role, Metric::RqTimeUs)) => (role, false),
                Some((role, Metric::RqTimeFirstUs)) => (role, true),
                _ => continue,
            };
            counters.times.entry(first).or_default().merge(histogram);
        }
        counters
    }

    /// What was counted since an earlier reading of the same Envoy.
    pub fn since(&self, earlier: &Self) -> Difference {
        let restarted = self.is_of_a_later_process_than(earlier);
        let none = Self::default();
        let from = if restarted { &none } else { earlier };
        let before = |key: &(Role, Count)| from.counts.get(key).copied().unwrap_or(0);
        let counts =
            self.counts.iter().map(|(key, now)| (key.clone(), now - before(key).min(*now)));
        let empty = Histogram::new();
        let times = self
            .times
            .iter()
            .map(|(key, now)| (*key, now.since(from.times.get(key).unwrap_or(&empty))));
        let delta = Self { counts: counts.collect(), times: times.collect(), uptime: self.uptime };
        match (delta.can_be(), restarted) {
            (false, _) => Difference::Inconsistent,
            (true, false) => Difference::Of(delta),
            (true, true) => Difference::Restarted(delta),
        }
    }

    /// The same things, none of them counted.
    #[must_use]
    pub fn nothing(&self) -> Self {
        let counts = self.counts.keys().map(|key| (key.clone(), 0));
        let times = self.times.keys().map(|key| (*key, Histogram::new()));
        Self { counts: counts.collect(), times: times.collect(), uptime: None }
    }

    /// Whether anything holds less than it did.
    fn is_of_a_later_process_than(&self, earlier: &Self) -> bool {
        let count = |key| self.counts.get(key).copied().unwrap_or(0);
        let bin = |key, bin| {
            let held = self.times.get(key).and_then(|times| times.bins().find(|(b, _)| *b == bin));
            held.map_or(0, |(_, count)| count)
        };
        self.uptime.zip(earlier.uptime).is_some_and(|(now, before)| now < before)
            || earlier.counts.iter().any(|(key, before)| count(key) < *before)
            || earlier
                .times
                .iter()
                .any(|(key, before)| before.bins().any(|(b, before)| bin(key, b) < before))
    }

    fn can_be(&self) -> bool {
        let count = |role, count| self.counts.get(&(role, count)).copied().unwrap_or(0);
        Role::ALL.into_iter().all(|role| {
            count(role, Count::Failure) <= count(role, Count::Total)
                && count(role, Count::FirstFailures) <= count(role, Count::Clients)
        })
    }

    /// Adds another Envoy's.
    pub fn merge(&mut self, more: &Self) {
        for (key, count) in &more.counts {
            let held = self.counts.entry(key.clone()).or_default();
            *held = held.saturating_add(*count);
        }
        for (key, times) in &more.times {
            self.times.entry(*key).or_default().merge(times);
        }
    }
}

impl Count {
    fn of(metric: Metric<'_>) -> Option<Self> {
        let signal = |first, signal: &str, bin: &str| Self::Signal {
            first,
            signal: signal.to_owned(),
            class: bin.to_owned(),
        };
        Some(match metric {
            Metric::RqTotal => Self::Total,
            Metric::RqFailure => Self::Failure,
            Metric::ClientTotal => Self::Clients,
            Metric::ClientFailure => Self::ClientFailures,
            Metric::ClientFirstFailure => Self::FirstFailures,
            Metric::Signal { signal: name, bin } => signal(false, name, bin),
            Metric::SignalFirst { signal: name, bin } => signal(true, name, bin),
            _ => return None,
        })
    }
}

/// The versions of each role, the shortest first: a signal's bin that is called like a metric reads as
/// a metric of a longer version, and the version that really is comes before it.
fn versions<'n>(names: impl Iterator<Item = &'n str>, rollout: &str) -> Vec<(Role, &'n str)> {
    let parsed = names.filter_map(|name| match StatName::parse(name)? {
        StatName::Role { rollout: of, role, version, .. } if of == rollout => Some((role, version)),
        _ => None,
    });
    let mut versions: Vec<(Role, &str)> = parsed.collect();
    versions.sort_by_key(|(role, version)| (version.len(), *version, *role));
    versions.dedup();
    versions
}

fn metric<'n>(
    versions: &[(Role, &str)],
    name: &'n str,
    rollout: &str,
) -> Option<(Role, Metric<'n>)> {
    versions.iter().find_map(|(role, version)| {
        Metric::of_version(name, rollout, *role, version).map(|metric| (*role, metric))
    })
}

#[cfg(test)]
mod tests;
