//! Observations: what both roles did since the line before, summed over the fleet.
//!
//! One JSON object a line, in recordings and in the journal:
//!
//! ```json
//! {"t": 12.0, "weight": 5, "window": 1,
//!  "stable": {"total": 950, "failure": 1, "rq_time_us": [[4500, 100, 31]]},
//!  "canary": {"total": 50, "failure": 0, "rq_time_us": [[4600, 100, 2]]},
//!  "signals": {"label": {"stable": {"cat": 500, "dog": 450}, "canary": {"cat": 27, "dog": 23}}}}
//! ```
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
use canary_model::histogram::Histogram;
use canary_model::weight::Weight;

/// How often each class of a signal's values was seen. For a conversion: `converted`.
pub type ClassCounts = BTreeMap<String, u64>;

/// A signal's counts by role; `None` where a role's are not known.
pub type SignalCounts = Pair<Option<ClassCounts>>;

/// What happened between the line before and this one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// When the counts were read, in seconds on the recording's own clock.
    pub t: f64,
    /// The weight in force.
    pub weight: Weight,
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
    /// Measurements that external metrics took, by the metric's name. Only in journals.
    pub measurements: BTreeMap<String, Measurement>,
}

/// One role's counts; `None` is "not known".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RoleCounts {
    /// Requests that were judged (without abandoned ones).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// How many of them failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<u64>,
    /// Durations of requests, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rq_time_us: Option<Histogram>,
    /// Counts of clients, in rollouts with affinity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientCounts>,
    /// Durations of each client's first request in the window, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rq_time_first_us: Option<Histogram>,
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
    window: Option<u64>,
    #[serde(rename = "keyed", skip_serializing_if = "std::ops::Not::not")]
    sticky: bool,
    #[serde(skip_serializing_if = "is_unknown")]
    stable: &'a RoleCounts,
    #[serde(skip_serializing_if = "is_unknown")]
    canary: &'a RoleCounts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    signals: BTreeMap<&'a str, KnownRoles<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    signals_first: BTreeMap<&'a str, KnownRoles<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    measurements: &'a BTreeMap<String, Measurement>,
}

impl Serialize for Observation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ObservationLine {
            t: self.t,
            weight: self.weight,
            window: self.window,
            sticky: self.sticky,
            stable: &self.roles.stable,
            canary: &self.roles.canary,
            signals: known_roles(&self.signals),
            signals_first: known_roles(&self.signals_first),
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
struct KnownRoles<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    stable: Option<&'a ClassCounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<&'a ClassCounts>,
}

impl<'a> From<&'a SignalCounts> for KnownRoles<'a> {
    fn from(signal: &'a SignalCounts) -> Self {
        Self { stable: signal.stable.as_ref(), canary: signal.canary.as_ref() }
    }
}

fn known_roles(signals: &BTreeMap<String, SignalCounts>) -> BTreeMap<&str, KnownRoles<'_>> {
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
