//! What one Envoy has counted of a rollout, and what it counted between two readings. Pure.
//!
//! Counters only grow, until their Envoy restarts. If any of them holds less than in the reading before,
//! the Envoy has restarted, and everything in this reading is new; what was counted before the restart
//! went into earlier differences. Counters aren't read at one instant: if a difference is impossible
//! (more failures than requests), it waits for the next reading, which holds both parts. Waiting loses
//! nothing, because readings are absolute.

use std::collections::BTreeMap;

use canary_judge::counts::Pair;
use canary_model::histogram::Histogram;
use canary_model::role::Role;
use canary_model::stat_name::{Metric, StatName};

use crate::envoy::Stats;

/// How long Envoy runs, in seconds, as its own gauge says.
pub const UPTIME: &str = "server.uptime";

/// One thing that is counted of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Compared requests, abandoned ones included, `rq_total`.
    Total,
    /// Compared requests that failed, `rq_failure`.
    Failure,
    /// Of the total: the client left before the response began.
    Abandoned,
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
        /// The signal's name in the filter's configuration.
        signal: String,
        /// The category or bin that was counted.
        class: String,
    },
}

/// Which requests a histogram is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Times {
    /// Of all compared requests.
    All,
    /// Of clients' first observations alone.
    First,
}

/// What one version of a role has counted, absolute or between two readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionCounters {
    /// How often each thing was counted.
    pub counts: BTreeMap<Counter, u64>,
    /// Durations in microseconds, by which requests they are about.
    pub times: BTreeMap<Times, Histogram>,
}

/// What one Envoy, or a fleet, has counted of a rollout, absolute or between two readings. The counters
/// of earlier versions stay until their Envoy restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutCounters {
    /// By role and version.
    pub versions: BTreeMap<(Role, String), VersionCounters>,
    /// Seconds since the start of the process, where they were asked for.
    pub uptime: Option<u64>,
}

/// The result of comparing two readings of one Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// What was counted since.
    Counted(RolloutCounters),
    /// The same, and the Envoy has restarted in between.
    Restarted(RolloutCounters),
    /// It can't be: the reading was taken in the middle of an update.
    Inconsistent,
}

impl VersionCounters {
    /// A counter; 0 if it isn't there.
    pub fn count(&self, count: &Counter) -> u64 {
        self.counts.get(count).copied().unwrap_or(0)
    }

    /// The requests whose outcome is known, which the judge takes: `rq_total` − `rq_abandoned`. A client
    /// that left before the response began says nothing about the version.
    pub fn judged(&self) -> u64 {
        self.count(&Counter::Total).saturating_sub(self.count(&Counter::Abandoned))
    }

    fn since(&self, earlier: Option<&Self>) -> Self {
        let none = Self::default();
        let earlier = earlier.unwrap_or(&none);
        let counts = self
            .counts
            .iter()
            .map(|(count, now)| (count.clone(), now.saturating_sub(earlier.count(count))));
        let empty = Histogram::new();
        let times = self
            .times
            .iter()
            .map(|(kind, now)| (*kind, now.since(earlier.times.get(kind).unwrap_or(&empty))));
        Self { counts: counts.collect(), times: times.collect() }
    }

    /// Whether anything holds less than it did.
    fn is_less_than(&self, earlier: &Self) -> bool {
        let bin = |kind, bin| {
            let held = self.times.get(kind).and_then(|times| times.bins().find(|(b, _)| *b == bin));
            held.map_or(0, |(_, count)| count)
        };
        let mut times = earlier.times.iter();
        earlier.counts.iter().any(|(count, before)| self.count(count) < *before)
            || times.any(|(kind, before)| before.bins().any(|(b, before)| bin(kind, b) < before))
    }

    /// Whether one reading can hold all of this.
    fn is_consistent(&self) -> bool {
        let known = self.count(&Counter::Failure).saturating_add(self.count(&Counter::Abandoned));
        known <= self.count(&Counter::Total)
            && self.count(&Counter::FirstFailures) <= self.count(&Counter::Clients)
    }

    fn merge(&mut self, more: &Self) {
        for (count, value) in &more.counts {
            let held = self.counts.entry(count.clone()).or_default();
            *held = held.saturating_add(*value);
        }
        for (kind, times) in &more.times {
            self.times.entry(*kind).or_default().merge(times);
        }
    }
}

impl RolloutCounters {
    /// Reads a rollout's counters out of an answer.
    pub fn read(stats: &Stats, rollout: &str) -> Self {
        let names = || stats.numbers.keys().chain(stats.histograms.keys());
        let known = versions(names().map(String::as_str), rollout);
        let mut counters = Self { uptime: stats.numbers.get(UPTIME).copied(), ..Self::default() };
        for (name, value) in &stats.numbers {
            if let Some((role, version, metric)) = metric(&known, name, rollout)
                && let Some(count) = Counter::from_metric(metric)
            {
                counters.version_mut(role, version).counts.insert(count, *value);
            }
        }
        for (name, histogram) in &stats.histograms {
            let (role, version, kind) = match metric(&known, name, rollout) {
                Some((role, version, Metric::RqTimeUs)) => (role, version, Times::All),
                Some((role, version, Metric::RqTimeFirstUs)) => (role, version, Times::First),
                _ => continue,
            };
            counters.version_mut(role, version).times.insert(kind, histogram.clone());
        }
        counters
    }

    fn version_mut(&mut self, role: Role, version: &str) -> &mut VersionCounters {
        self.versions.entry((role, version.to_owned())).or_default()
    }

    /// What was counted since an earlier reading of the same Envoy.
    pub fn since(&self, earlier: &Self) -> Difference {
        let restarted = self.is_of_a_later_process_than(earlier);
        let before = |key| earlier.versions.get(key).filter(|_| !restarted);
        let versions = self.versions.iter().map(|(key, now)| (key.clone(), now.since(before(key))));
        let delta = Self { versions: versions.collect(), uptime: self.uptime };
        match (delta.versions.values().all(VersionCounters::is_consistent), restarted) {
            (false, _) => Difference::Inconsistent,
            (true, false) => Difference::Counted(delta),
            (true, true) => Difference::Restarted(delta),
        }
    }

    /// The same things, none of them counted.
    #[must_use]
    pub fn zeroed(&self) -> Self {
        let zero = |version: &VersionCounters| VersionCounters {
            counts: version.counts.keys().map(|count| (count.clone(), 0)).collect(),
            times: version.times.keys().map(|kind| (*kind, Histogram::new())).collect(),
        };
        let versions = self.versions.iter().map(|(key, version)| (key.clone(), zero(version)));
        Self { versions: versions.collect(), uptime: None }
    }

    fn is_of_a_later_process_than(&self, earlier: &Self) -> bool {
        let none = VersionCounters::default();
        let now = |key| self.versions.get(key).unwrap_or(&none);
        self.uptime.zip(earlier.uptime).is_some_and(|(now, before)| now < before)
            || earlier.versions.iter().any(|(key, before)| now(key).is_less_than(before))
    }

    /// Adds another Envoy's counters to these.
    pub fn merge(&mut self, more: &Self) {
        for (key, version) in &more.versions {
            self.versions.entry(key.clone()).or_default().merge(version);
        }
    }

    /// All versions of a role together.
    pub fn role(&self, role: Role) -> VersionCounters {
        let mut sum = VersionCounters::default();
        let versions = self.versions.iter().filter(|((of, _), _)| *of == role);
        versions.for_each(|(_, version)| sum.merge(version));
        sum
    }

    /// The compared requests of both roles, `rq_total`.
    pub fn requests(&self) -> Pair<u64> {
        let total = |role| self.role(role).count(&Counter::Total);
        Pair { stable: total(Role::Stable), canary: total(Role::Canary) }
    }
}

impl Counter {
    fn from_metric(metric: Metric<'_>) -> Option<Self> {
        let signal = |first, signal: &str, bin: &str| Self::Signal {
            first,
            signal: signal.to_owned(),
            class: bin.to_owned(),
        };
        Some(match metric {
            Metric::RqTotal => Self::Total,
            Metric::RqFailure => Self::Failure,
            Metric::RqAbandoned => Self::Abandoned,
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

fn metric<'n, 'v>(
    versions: &[(Role, &'v str)],
    name: &'n str,
    rollout: &str,
) -> Option<(Role, &'v str, Metric<'n>)> {
    versions.iter().find_map(|(role, version)| {
        Metric::of_version(name, rollout, *role, version).map(|metric| (*role, *version, metric))
    })
}

#[cfg(test)]
mod tests;
