//! Whether the filter's counters say what the clients saw, by version and for each life of Envoy.
//!
//! A reading of a counter lies between two counts of the clients' log: at least what was over a second
//! before it, at most what had begun by then. After the traffic's end both counts are the same, but for
//! requests whose fate at the age `outcome_age` is a matter of milliseconds.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::clients::{AnswerEnd, ChaosRequest, ChaosRollout};
use super::timeline::Span;
use super::upstreams::UpstreamNote;

/// How late the filter may look at a request, in seconds: a slot and a tick of a quarter of a second each, and
/// as much again for a busy machine.
const LATE: f64 = 1.0;

/// The filter's counters at one moment.
#[derive(Clone, Debug)]
pub(super) struct CounterReading {
    /// From the question to the answer, in seconds since the beginning.
    pub span: Span,
    /// All values by their names without `wasmcustom.canary.`.
    pub values: BTreeMap<String, u64>,
}

impl CounterReading {
    /// A metric of a version, in whatever roles it had.
    fn value(&self, rollout: ChaosRollout, version: &str, metric: &str) -> u64 {
        let of_role =
            |role: &str| self.values.get(&format!("{}.{role}.{version}.{metric}", rollout.name()));
        ["stable", "canary"].into_iter().filter_map(of_role).sum()
    }

    /// The versions that have counters.
    fn versions(&self, rollout: ChaosRollout) -> impl Iterator<Item = String> {
        self.values.keys().filter_map(move |name| {
            let rest = name.strip_prefix(rollout.name())?.strip_prefix('.')?;
            let rest = rest.strip_prefix("stable.").or_else(|| rest.strip_prefix("canary."))?;
            Some(rest.strip_suffix(".rq_total")?.to_owned())
        })
    }
}

/// A counter that isn't what the clients' log allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disagreement(pub String);

/// What was compared with the log, and what disagreed.
#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    /// How many values of counters were held against the log.
    pub compared: u64,
    /// For how many of them the log leaves only one value.
    pub exact: u64,
    /// Those outside of it.
    pub disagreements: Vec<Disagreement>,
}

/// The counters that are compared.
#[derive(Clone, Copy, Debug)]
enum ComparedMetric {
    Total,
    Failure,
    Broken,
    Class(u16),
    /// Judged, or without an answer at that age: all requests, whatever their fate.
    Examined,
    Judged,
    JudgedFailure,
}

impl ComparedMetric {
    const ALL: [Self; 8] = [
        Self::Total,
        Self::Failure,
        Self::Broken,
        Self::Class(2),
        Self::Class(5),
        Self::Examined,
        Self::Judged,
        Self::JudgedFailure,
    ];

    /// The counters whose sum it is.
    fn counters(self) -> &'static [&'static str] {
        match self {
            Self::Total => &["rq_total"],
            Self::Failure => &["rq_failure"],
            Self::Broken => &["rq_broken"],
            Self::Class(2) => &["rq_2xx"],
            Self::Class(_) => &["rq_5xx"],
            Self::Examined => &["judged_total", "judged_unanswered"],
            Self::Judged => &["judged_total"],
            Self::JudgedFailure => &["judged_failure"],
        }
    }

    /// Whether it counts at the age `outcome_age`, not at a request's end.
    fn at_age(self) -> bool {
        matches!(self, Self::Examined | Self::Judged | Self::JudgedFailure)
    }
}

/// The clients' log of one life of Envoy, and what the filter was told to do with it.
pub(super) struct LifeLog<'a> {
    /// Until when the process before it may have answered as well.
    pub shared_until: f64,
    /// The requests that this process may have seen.
    pub requests: Vec<&'a ChaosRequest>,
    /// What the upstreams noted of them.
    pub notes: &'a HashMap<u64, UpstreamNote>,
    /// The age at which outcomes are judged, in seconds.
    pub outcome_age: f64,
}

impl LifeLog<'_> {
    /// Holds a reading against the log. A request that was over `lag` seconds before the reading must be in
    /// it: 0 at rest, infinite where only too much is a mistake.
    #[must_use]
    pub(super) fn check(&self, reading: &CounterReading, lag: f64) -> Reconciliation {
        let mut result = Reconciliation::default();
        for rollout in ChaosRollout::ALL {
            let mut versions: BTreeSet<String> = reading.versions(rollout).collect();
            versions
                .extend(self.requests_of(rollout).filter_map(|request| request.version.clone()));
            for version in versions {
                for metric in ComparedMetric::ALL {
                    let counters = metric.counters();
                    let value = counters
                        .iter()
                        .map(|counter| reading.value(rollout, &version, counter))
                        .sum::<u64>();
                    let (least, most) = self.bounds(reading, lag, rollout, &version, metric);
                    result.compared += 1;
                    result.exact += u64::from(least == most);
                    if !(least..=most).contains(&value) {
                        let name = format!("{}.{version}.{}", rollout.name(), counters.join(" + "));
                        result.disagreements.push(Disagreement(format!(
                            "at {:.1} s {name} is {value}; by the clients' log it is {least} to {most}",
                            reading.span.end
                        )));
                    }
                }
            }
        }
        result
    }

    fn requests_of(&self, rollout: ChaosRollout) -> impl Iterator<Item = &ChaosRequest> {
        self.requests.iter().copied().filter(move |request| request.rollout == rollout)
    }

    /// The fewest and the most requests that a counter may have by now.
    fn bounds(
        &self,
        reading: &CounterReading,
        lag: f64,
        rollout: ChaosRollout,
        version: &str,
        metric: ComparedMetric,
    ) -> (u64, u64) {
        let (mut least, mut most) = (0, 0);
        for request in self.requests_of(rollout) {
            let note = self.notes.get(&request.id);
            if note.is_some_and(|note| note.diverted) {
                continue;
            }
            if request.end == AnswerEnd::Refused {
                continue;
            }
            // Without an answer there is no telling under which version it was counted, if at all.
            let known = match &request.version {
                Some(named) if named != version => continue,
                named => named.is_some(),
            };
            let here = request.begun >= self.shared_until;
            // Where the kill switch may have diverted it, only an upstream can tell.
            let certain = known && here && (rollout == ChaosRollout::Storm || note.is_some());
            let fate = self.fate(request, note, metric);
            let due = request.begun + if metric.at_age() { self.outcome_age } else { 0.0 };
            let over = if metric.at_age() { due } else { request.ended };
            most += u64::from((fate != Fate::Out || !known) && due <= reading.span.end);
            least += u64::from(certain && fate == Fate::In && over + lag <= reading.span.begin);
        }
        (least, most)
    }

    /// Whether a request counts in a metric once it is over and old enough.
    fn fate(
        &self,
        request: &ChaosRequest,
        note: Option<&UpstreamNote>,
        metric: ComparedMetric,
    ) -> Fate {
        let is = |holds: bool| if holds { Fate::In } else { Fate::Out };
        let class = request.status.map_or(0, |status| status / 100);
        // Envoy's own answers have a status and are whole.
        let broken = matches!(request.end, AnswerEnd::BrokenOff(_) | AnswerEnd::NotDone);
        let failed = broken || class == 5;
        let uncertain = matches!(request.end, AnswerEnd::NoHeaders(_) | AnswerEnd::TimedOut);
        if uncertain {
            return Fate::Uncertain;
        }
        // The filter's clock of a request starts between its client's and its upstream's.
        let by_then = |moment: f64| {
            let at_least = note.map_or(0.0, |note| moment - note.arrived);
            if moment - request.begun < self.outcome_age {
                Fate::In
            } else if at_least >= self.outcome_age + LATE {
                Fate::Out
            } else {
                Fate::Uncertain
            }
        };
        match metric {
            ComparedMetric::Total | ComparedMetric::Examined => Fate::In,
            ComparedMetric::Failure => is(failed),
            ComparedMetric::Broken => is(broken),
            ComparedMetric::Class(wanted) => is(class == wanted),
            ComparedMetric::Judged => by_then(request.answered.unwrap_or(request.ended)),
            ComparedMetric::JudgedFailure if failed => by_then(request.ended),
            ComparedMetric::JudgedFailure => Fate::Out,
        }
    }
}

/// Whether a request is in a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    In,
    Out,
    Uncertain,
}

/// Counters of one process that have fallen from one reading to the next.
#[must_use]
pub(super) fn fallen(readings: &[&CounterReading]) -> Reconciliation {
    let mut result = Reconciliation::default();
    for pair in readings.windows(2) {
        let counters = pair[0].values.iter().filter(|(name, _)| is_counter(name));
        for (name, before) in counters {
            let after = pair[1].values.get(name).copied().unwrap_or_default();
            result.compared += 1;
            if after < *before {
                let at = pair[1].span.end;
                let text = format!("at {at:.1} s {name} is {after}; before it was {before}");
                result.disagreements.push(Disagreement(text));
            }
        }
    }
    result
}

/// Whether a statistic of a rollout only grows.
fn is_counter(name: &str) -> bool {
    let metric = name.rsplit('.').next().unwrap_or_default();
    ["rq_", "judged_", "assigned_"].iter().any(|begin| metric.starts_with(begin))
}
