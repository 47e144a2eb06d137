//! Observations: what both roles did since the line before, summed over the fleet.
//!
//! One JSON object a line, in recordings and in the journal:
//!
//! ```json
//! {"t": 12.0, "weight": 5, "window": 1,
//!  "stable": {"total": 950, "failure": 1, "assigned": 953, "unanswered": 2, "rq_time_us": [[4500, 100, 31]]},
//!  "canary": {"total": 50, "failure": 0, "assigned": 51, "unanswered": 0, "rq_time_us": [[4600, 100, 2]]},
//!  "signals": {"label": {"stable": {"cat": 500, "dog": 450}, "canary": {"cat": 27, "dog": 23}}},
//!  "values": {"tokens": {"stable": [[310, 10, 27]], "canary": [[320, 10, 2]]}}}
//! ```
//!
//! `total` and `failure` count requests at the age `outcome_age`, so both belong to the same requests;
//! `weight` is the one under which those requests were assigned, which is the weight that was in force
//! `outcome_age` ago. `assigned` counts requests (with affinity, clients) the moment they are assigned.
//! Histograms and signals count answers when they end. What isn't counted at that age belongs to the
//! weight that was in force when the line was read; the controller adds it as `assigned_weight` while it
//! differs from `weight`.
//!
//! Only `t` and `weight` must be there. A part that is missing is *not known*, which is another
//! thing than zero; the tests keep the two apart. Fields that this version does not know are passed
//! over, so that an older judge reads a newer journal.

mod read;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use read::{LineError, MAX_CLASSES, MAX_LINE, MAX_SIGNALS, read_lines};

use super::counts::Pair;
use super::timing::Timing;
use canary_model::histogram::Histogram;
use canary_model::weight::Weight;

/// How often each class of a signal's values was seen. For a conversion: `converted`.
pub type ClassCounts = BTreeMap<String, u64>;

/// A signal's counts by role; `None` where a role's are not known.
pub type SignalCounts = Pair<Option<ClassCounts>>;

/// The histograms of a signal's values by role; `None` where a role's are not known.
pub type ValueCounts = Pair<Option<Histogram>>;

/// What happened between the line before and this one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// When the counts were read, in seconds on the recording's own clock.
    pub t: f64,
    /// The weight under which the line's requests were assigned.
    pub weight: Weight,
    /// The weight in force when the line was read, if it isn't `weight`: under it `assigned` was
    /// assigned, and the answers in histograms and signals were.
    pub assigned_weight: Option<Weight>,
    /// The window of the proxy's memory of clients; any change, also coming or going, is a new one.
    pub window: Option<u64>,
    /// Whether the rollout has an affinity source: then clients are judged, not requests.
    pub sticky: bool,
    /// What each role counted since the line before.
    pub roles: Pair<RoleCounts>,
    /// Signals over all requests.
    pub signals: BTreeMap<String, SignalCounts>,
    /// Signals over each client's first request in the window.
    pub signals_first: BTreeMap<String, SignalCounts>,
    /// Histograms of signals with `values`, over all answers.
    pub values: BTreeMap<String, ValueCounts>,
    /// The same over each client's first answer in the window.
    pub values_first: BTreeMap<String, ValueCounts>,
    /// Measurements that external metrics took, by the metric's name. Only in journals.
    pub measurements: BTreeMap<String, Measurement>,
}

/// One role's counts; `None` is "not known".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RoleCounts {
    /// Requests that reached the age `outcome_age` with a known outcome (`judged_total`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// How many of them had failed by then (`judged_failure`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<u64>,
    /// Requests at the moment they were assigned; with affinity, clients at their first request in the
    /// window (`assigned_total`). Without it a line doesn't enter the split check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned: Option<u64>,
    /// Requests that reached that age without an answer or a failure (`judged_unanswered`). No test
    /// reads it; people see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u64>,
    /// Durations of requests, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rq_time_us: Option<Histogram>,
    /// Times to the first byte, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rq_ttfb_us: Option<Histogram>,
    /// Mean times between the chunks or events of an answer, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rq_gap_us: Option<Histogram>,
    /// Counts of clients, in rollouts with affinity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientCounts>,
    /// Durations of each client's first request in the window, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rq_time_first_us: Option<Histogram>,
    /// Times to the first byte of each client's first request in the window, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rq_ttfb_first_us: Option<Histogram>,
    /// Mean times between chunks or events of each client's first answer in the window, in
    /// microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rq_gap_first_us: Option<Histogram>,
}

impl RoleCounts {
    /// The histogram of one timing, in microseconds: over all requests, or over first observations.
    /// `None` where it is not known.
    pub const fn durations(&self, timing: Timing, first: bool) -> Option<&Histogram> {
        let [all, firsts] = match timing {
            Timing::Total => [&self.rq_time_us, &self.rq_time_first_us],
            Timing::Ttfb => [&self.rq_ttfb_us, &self.rq_ttfb_first_us],
            Timing::Gap => [&self.rq_gap_us, &self.rq_gap_first_us],
        };
        if first { firsts.as_ref() } else { all.as_ref() }
    }
}

/// One role's counts of clients in the window; `None` is "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientCounts {
    /// Clients at their first request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Clients at their first failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<u64>,
    /// Clients whose first request failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<u64>,
}

/// What a query answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Measurement {
    /// The values of its series; none at all is "no data".
    Values(Vec<f64>),
    /// It could not be asked; why.
    Outage(String),
}

impl Observation {
    /// Whether it has measurements alone.
    pub fn counts_nothing(&self) -> bool {
        !self.measurements.is_empty()
            && self.roles == Pair::default()
            && self.signals.is_empty()
            && self.signals_first.is_empty()
            && self.values.is_empty()
            && self.values_first.is_empty()
    }

    /// Reads one line.
    ///
    /// # Errors
    /// What is wrong with the line first, by its path; the path is empty for a line that is no JSON.
    pub fn read(line: &str) -> Result<Self, canary_model::document::ConfigError> {
        read::read(line)
    }

    /// The line without its end, as [`Observation::read`] takes it.
    pub fn to_line(&self) -> String {
        // Maps with text keys and finite numbers: writing them cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The weight in force when the line was read.
    pub fn weight_in_force(&self) -> Weight {
        self.assigned_weight.unwrap_or(self.weight)
    }

    /// Requests of each role, as far as they are known. Where `total` is missing the clients first
    /// seen stand in for it, and where that is missing, too, what the histogram holds.
    pub fn requests(&self) -> Pair<u64> {
        let requests = |role: &RoleCounts| {
            let clients = role.clients.and_then(|clients| clients.total);
            let timed = || role.rq_time_us.as_ref().map(Histogram::count);
            role.total.max(clients).or_else(timed).unwrap_or(0)
        };
        Pair { stable: requests(&self.roles.stable), canary: requests(&self.roles.canary) }
    }
}

/// The line's shape for writing; what is not known is left out.
#[derive(Serialize)]
struct ObservationLine<'a> {
    t: f64,
    weight: Weight,
    #[serde(skip_serializing_if = "Option::is_none")]
    assigned_weight: Option<Weight>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<u64>,
    #[serde(rename = "keyed", skip_serializing_if = "std::ops::Not::not")]
    sticky: bool,
    #[serde(skip_serializing_if = "is_unknown")]
    stable: &'a RoleCounts,
    #[serde(skip_serializing_if = "is_unknown")]
    canary: &'a RoleCounts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    signals: BTreeMap<&'a str, KnownRoles<'a, ClassCounts>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    signals_first: BTreeMap<&'a str, KnownRoles<'a, ClassCounts>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<&'a str, KnownRoles<'a, Histogram>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    values_first: BTreeMap<&'a str, KnownRoles<'a, Histogram>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    measurements: &'a BTreeMap<String, Measurement>,
}

impl Serialize for Observation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ObservationLine {
            t: self.t,
            weight: self.weight,
            assigned_weight: self.assigned_weight,
            window: self.window,
            sticky: self.sticky,
            stable: &self.roles.stable,
            canary: &self.roles.canary,
            signals: known_roles(&self.signals),
            signals_first: known_roles(&self.signals_first),
            values: known_roles(&self.values),
            values_first: known_roles(&self.values_first),
            measurements: &self.measurements,
        }
        .serialize(serializer)
    }
}

/// A line inside of another document, as a journal has it.
impl<'de> Deserialize<'de> for Observation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read::deserialize(deserializer)
    }
}

impl<'de> Deserialize<'de> for Measurement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read::measurement(deserializer)
    }
}

fn is_unknown(role: &&RoleCounts) -> bool {
    **role == RoleCounts::default()
}

#[derive(Serialize)]
struct KnownRoles<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    stable: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<&'a T>,
}

impl<'a, T> From<&'a Pair<Option<T>>> for KnownRoles<'a, T> {
    fn from(signal: &'a Pair<Option<T>>) -> Self {
        Self { stable: signal.stable.as_ref(), canary: signal.canary.as_ref() }
    }
}

fn known_roles<T>(
    signals: &BTreeMap<String, Pair<Option<T>>>,
) -> BTreeMap<&str, KnownRoles<'_, T>> {
    signals.iter().map(|(name, signal)| (name.as_str(), signal.into())).collect()
}

/// Values as Prometheus writes them: what JSON has no number for is text.
impl Serialize for Measurement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Values(values) => serializer.collect_seq(values.iter().map(|value| {
                serde_json::Number::from_f64(*value).map_or_else(
                    || serde_json::Value::from(read::special(*value)),
                    serde_json::Value::from,
                )
            })),
            Self::Outage(why) => serializer.collect_map([("error", why)]),
        }
    }
}
