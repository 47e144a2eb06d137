//! What one Envoy has counted of a rollout, and what it counted between two readings. Pure.
//!
//! Counters only grow, until their Envoy restarts. If any of them holds less than in the reading before,
//! the Envoy has restarted, and everything in this reading is new; what was counted before the restart
//! went into earlier differences. Counters aren't read at one instant: if a difference is impossible
//! (more failures than requests), it waits for the next reading, which holds both parts. Waiting loses
//! nothing, because readings are absolute.

use std::collections::BTreeMap;

use canary_judge::counts::Pair;
use canary_judge::timing::Timing;
use canary_model::histogram::Histogram;
use canary_model::role::Role;
use canary_model::stat_name::{Metric, StatName};

use crate::envoy::Stats;

/// How long Envoy runs, in seconds, as its own gauge says.
pub const UPTIME: &str = "server.uptime";

/// The class of a signal that counts conversions.
const CONVERTED: &str = "converted";

/// One thing that is counted of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Compared requests, abandoned ones included, `rq_total`.
    Total,
    /// Compared requests that failed, `rq_failure`.
    Failure,
    /// Of the total: the client left before the response began.
    Abandoned,
    /// Of the failures: responses that broke off.
    Broken,
    /// Of the failures: deadlines that passed.
    Overdue,
    /// Compared requests at the age `outcome_age`, `judged_total`.
    Judged,
    /// Those of them that had failed by then, `judged_failure`.
    JudgedFailures,
    /// Compared requests that had no answer at that age, `judged_unanswered`.
    Unanswered,
    /// Compared requests, or clients, at the moment they were assigned, `assigned_total`.
    Assigned,
    /// Clients at their first request in the window that is judged.
    Clients,
    /// Clients at their first failure in the window.
    ClientFailures,
    /// Clients whose first judged request failed.
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

/// What a histogram is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recorded {
    /// Whether of clients' first observations alone, instead of all compared requests.
    pub first: bool,
    /// Which time or value was measured.
    pub what: Quantity,
}

/// A number that is recorded of each request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// A time in microseconds.
    Time(Timing),
    /// The value of a signal, by the signal's name.
    Value(String),
}

/// What one version of a role has counted, absolute or between two readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionCounters {
    /// How often each thing was counted.
    pub counts: BTreeMap<Counter, u64>,
    /// The distributions of times and values.
    pub histograms: BTreeMap<Recorded, Histogram>,
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

    /// A distribution over all compared requests; `None` if it isn't there.
    pub fn all(&self, what: Quantity) -> Option<&Histogram> {
        self.histograms.get(&Recorded { first: false, what })
    }

    /// A distribution over clients' first observations; `None` if it isn't there.
    pub fn first(&self, what: Quantity) -> Option<&Histogram> {
        self.histograms.get(&Recorded { first: true, what })
    }

    fn since(&self, earlier: Option<&Self>) -> Self {
        let none = Self::default();
        let earlier = earlier.unwrap_or(&none);
        let counts = self
            .counts
            .iter()
            .map(|(count, now)| (count.clone(), now.saturating_sub(earlier.count(count))));
        let empty = Histogram::new();
        let before = |kind| earlier.histograms.get(kind).unwrap_or(&empty);
        let histograms =
            self.histograms.iter().map(|(kind, now)| (kind.clone(), now.since(before(kind))));
        Self { counts: counts.collect(), histograms: histograms.collect() }
    }

    /// Whether anything holds less than it did.
    fn is_less_than(&self, earlier: &Self) -> bool {
        let bin = |kind, bin| {
            let held = self.histograms.get(kind)?.bins().find(|(b, _)| *b == bin);
            held.map(|(_, count)| count)
        };
        let bin = |kind, b| bin(kind, b).unwrap_or(0);
        let mut times = earlier.histograms.iter();
        earlier.counts.iter().any(|(count, before)| self.count(count) < *before)
            || times.any(|(kind, before)| before.bins().any(|(b, before)| bin(kind, b) < before))
    }

    /// Whether one reading can hold all of this.
    fn is_consistent(&self) -> bool {
        let sum = |some: &[Counter]| {
            some.iter().fold(0_u64, |sum, one| sum.saturating_add(self.count(one)))
        };
        let bounds: [(&[Counter], Counter); 4] = [
            (&[Counter::Failure, Counter::Abandoned], Counter::Total),
            (&[Counter::Broken, Counter::Overdue], Counter::Failure),
            (&[Counter::JudgedFailures], Counter::Judged),
            (&[Counter::FirstFailures], Counter::Clients),
        ];
        bounds.iter().all(|(parts, whole)| sum(parts) <= self.count(whole))
    }

    fn merge(&mut self, more: &Self) {
        for (count, value) in &more.counts {
            let held = self.counts.entry(count.clone()).or_default();
            *held = held.saturating_add(*value);
        }
        for (kind, histogram) in &more.histograms {
            self.histograms.entry(kind.clone()).or_default().merge(histogram);
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
            if let Some((role, version, metric)) = metric(&known, name, rollout)
                && let Some(kind) = Recorded::from_metric(metric)
            {
                counters.version_mut(role, version).histograms.insert(kind, histogram.clone());
            }
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
            histograms: version
                .histograms
                .keys()
                .map(|kind| (kind.clone(), Histogram::new()))
                .collect(),
        };
        let versions = self.versions.iter().map(|(key, version)| (key.clone(), zero(version)));
        Self { versions: versions.collect(), uptime: None }
    }

    /// The same things; of those that aren't kept, none is counted. `at_age` says whether to keep what is
    /// counted at the age `outcome_age`, `at_once` whether to keep everything else.
    #[must_use]
    pub fn keeping(self, at_age: bool, at_once: bool) -> Self {
        match (at_age, at_once) {
            (true, true) => return self,
            (false, false) => return self.zeroed(),
            _ => {}
        }
        let mut kept = self.zeroed();
        for (key, version) in self.versions {
            let Some(place) = kept.versions.get_mut(&key) else { continue };
            let counts = version.counts.into_iter();
            place.counts.extend(counts.filter(|(count, _)| count.is_at_age() == at_age));
            if at_once {
                place.histograms = version.histograms;
            }
        }
        kept
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
    /// Whether it counts requests at the age `outcome_age`, under whatever weight they were assigned. Clients
    /// are counted at that age, too, but only if they were assigned in the present window.
    fn is_at_age(&self) -> bool {
        match self {
            Self::Judged | Self::JudgedFailures | Self::Unanswered => true,
            Self::Signal { first, class, .. } => !first && class == CONVERTED,
            _ => false,
        }
    }

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
            Metric::RqBroken => Self::Broken,
            Metric::RqOverdue => Self::Overdue,
            Metric::JudgedTotal => Self::Judged,
            Metric::JudgedFailure => Self::JudgedFailures,
            Metric::JudgedUnanswered => Self::Unanswered,
            Metric::AssignedTotal => Self::Assigned,
            Metric::ClientTotal => Self::Clients,
            Metric::ClientFailure => Self::ClientFailures,
            Metric::ClientFirstFailure => Self::FirstFailures,
            Metric::Signal { signal: name, bin } => signal(false, name, bin),
            Metric::SignalFirst { signal: name, bin } => signal(true, name, bin),
            _ => return None,
        })
    }
}

impl Recorded {
    fn from_metric(metric: Metric<'_>) -> Option<Self> {
        let time = |first, timing| Self { first, what: Quantity::Time(timing) };
        let value = |first, name: &str| Self { first, what: Quantity::Value(name.to_owned()) };
        Some(match metric {
            Metric::RqTimeUs => time(false, Timing::Total),
            Metric::RqTimeFirstUs => time(true, Timing::Total),
            Metric::RqTtfbUs => time(false, Timing::Ttfb),
            Metric::RqTtfbFirstUs => time(true, Timing::Ttfb),
            Metric::RqGapUs => time(false, Timing::Gap),
            Metric::RqGapFirstUs => time(true, Timing::Gap),
            Metric::Value(name) => value(false, name),
            Metric::ValueFirst(name) => value(true, name),
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
