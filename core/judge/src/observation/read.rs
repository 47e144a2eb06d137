//! Reading observation lines, with a fault named by its line and path.

mod parts;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use self::parts::{BinsDocument, ClassesDocument, CountDocument, Limited, Percent, SampleDocument};
use super::{ClientCounts, Measurement, Observation, RoleCounts};
use crate::counts::Pair;
use canary_model::document::ConfigError;
use canary_model::role::Role;

pub(super) use self::parts::special;

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 1 << 20;
/// The most signals, and the most measurements, in a line.
pub const MAX_SIGNALS: usize = 64;
/// The most classes that one role has of one signal.
pub const MAX_CLASSES: usize = 256;

/// What is wrong in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The line, counted from 1.
    pub line: usize,
    /// The first thing that is wrong with it.
    pub problem: ConfigError,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for LineError {}

/// Reads the lines of a recording, as far as the caller asks; blank lines are passed over. Time must
/// not run backwards. After an error there is nothing more.
pub fn read_lines<L: AsRef<str>>(
    lines: impl IntoIterator<Item = L>,
) -> impl Iterator<Item = Result<Observation, LineError>> {
    let mut latest = f64::NEG_INFINITY;
    let mut broken = false;
    let lines = lines.into_iter().enumerate().filter(|(_, line)| !line.as_ref().trim().is_empty());
    lines.map_while(move |(index, line)| {
        if broken {
            return None;
        }
        let seen = read(line.as_ref()).and_then(|observation| in_order(observation, &mut latest));
        broken = seen.is_err();
        Some(seen.map_err(|problem| LineError { line: index + 1, problem }))
    })
}

fn in_order(observation: Observation, latest: &mut f64) -> Result<Observation, ConfigError> {
    if observation.t < *latest {
        let message = format!("{} lies before the {latest} of the line before", observation.t);
        return Err(ConfigError { path: "t".to_owned(), message });
    }
    *latest = observation.t;
    Ok(observation)
}

/// A line inside of another document.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Observation, D::Error> {
    ObservationDocument::deserialize(from).map(Into::into)
}

/// A measurement inside of another document.
pub(super) fn measurement<'de, D: Deserializer<'de>>(from: D) -> Result<Measurement, D::Error> {
    MeasurementDocument::deserialize(from).map(Into::into)
}

pub(super) fn read(line: &str) -> Result<Observation, ConfigError> {
    if line.len() > MAX_LINE {
        let message = format!("{} bytes; at most {MAX_LINE} are read", line.len());
        return Err(ConfigError { path: String::new(), message });
    }
    // Keeping track of the path costs time, and only a fault needs it.
    match serde_json::from_str::<ObservationDocument>(line) {
        Ok(line) => Ok(line.into()),
        Err(error) => Err(locate::<ObservationDocument>(line)
            .unwrap_or_else(|| ConfigError { path: String::new(), message: error.to_string() })),
    }
}

/// Reads the text again for the path of what is wrong with it.
fn locate<T: DeserializeOwned>(text: &str) -> Option<ConfigError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let error = serde_path_to_error::deserialize::<_, T>(&mut reader).err()?;
    let path = error.path().to_string();
    let message = error.inner().to_string();
    let path = if path == "." { String::new() } else { path };
    Some(ConfigError { path, message })
}

#[derive(Deserialize)]
#[serde(expecting = "an object with t, weight, stable and canary")]
struct ObservationDocument {
    t: f64,
    weight: Percent,
    assigned_weight: Option<Percent>,
    window: Option<CountDocument>,
    #[serde(rename = "keyed")]
    sticky: Option<bool>,
    stable: Option<Part>,
    canary: Option<Part>,
    signals: Option<Limited<Roles<ClassesDocument>, MAX_SIGNALS>>,
    signals_first: Option<Limited<Roles<ClassesDocument>, MAX_SIGNALS>>,
    values: Option<Limited<Roles<BinsDocument>, MAX_SIGNALS>>,
    values_first: Option<Limited<Roles<BinsDocument>, MAX_SIGNALS>>,
    measurements: Option<Limited<MeasurementDocument, MAX_SIGNALS>>,
}

/// What a line says of one role.
#[derive(Default, Deserialize)]
#[serde(expecting = "an object with a role's counts")]
struct Part {
    total: Option<CountDocument>,
    failure: Option<CountDocument>,
    assigned: Option<CountDocument>,
    unanswered: Option<CountDocument>,
    rq_time_us: Option<BinsDocument>,
    rq_ttfb_us: Option<BinsDocument>,
    rq_gap_us: Option<BinsDocument>,
    clients: Option<ClientsDocument>,
    rq_time_first_us: Option<BinsDocument>,
    rq_ttfb_first_us: Option<BinsDocument>,
    rq_gap_first_us: Option<BinsDocument>,
    /// A role may also carry its first observations of signals itself.
    signals_first: Option<Limited<ClassesDocument, MAX_SIGNALS>>,
    /// And those of signals with values.
    values_first: Option<Limited<BinsDocument, MAX_SIGNALS>>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with total, failure and first_failure")]
struct ClientsDocument {
    total: Option<CountDocument>,
    failure: Option<CountDocument>,
    first_failure: Option<CountDocument>,
}

/// A signal's classes or bins by role.
#[derive(Deserialize)]
#[serde(expecting = "an object with stable and canary")]
struct Roles<T> {
    stable: Option<T>,
    canary: Option<T>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, a list of numbers, or {\"error\": why}")]
enum MeasurementDocument {
    One(SampleDocument),
    Several(Vec<SampleDocument>),
    Outage { error: String },
}

impl From<ObservationDocument> for Observation {
    fn from(line: ObservationDocument) -> Self {
        let measured = line.measurements.unwrap_or_default().0.into_iter();
        let mut observation = Self {
            t: line.t,
            weight: line.weight.0,
            assigned_weight: line.assigned_weight.map(|weight| weight.0),
            window: line.window.map(|count| count.0),
            sticky: line.sticky.unwrap_or(false),
            roles: Pair::default(),
            signals: by_signal(line.signals, |classes| classes.0),
            signals_first: by_signal(line.signals_first, |classes| classes.0),
            values: by_signal(line.values, |bins| bins.0),
            values_first: by_signal(line.values_first, |bins| bins.0),
            measurements: measured.map(|(name, value)| (name, value.into())).collect(),
        };
        let parts = [(Role::Stable, line.stable), (Role::Canary, line.canary)];
        for (role, part) in parts {
            let Some(mut part) = part else { continue };
            for (name, classes) in part.signals_first.take().unwrap_or_default().0 {
                *observation.signals_first.entry(name).or_default().get_mut(role) = Some(classes.0);
            }
            for (name, bins) in part.values_first.take().unwrap_or_default().0 {
                *observation.values_first.entry(name).or_default().get_mut(role) = Some(bins.0);
            }
            *observation.roles.get_mut(role) = part.into();
        }
        observation
    }
}

/// A table of signals, as a line has it.
fn by_signal<D, T>(
    part: Option<Limited<Roles<D>, MAX_SIGNALS>>,
    content: impl Fn(D) -> T,
) -> BTreeMap<String, Pair<Option<T>>> {
    let known = |(name, roles): (String, Roles<D>)| {
        (name, Pair { stable: roles.stable, canary: roles.canary }.map(|part| part.map(&content)))
    };
    part.unwrap_or_default().0.into_iter().map(known).collect()
}

impl From<Part> for RoleCounts {
    fn from(part: Part) -> Self {
        let count = |part: Option<CountDocument>| part.map(|count| count.0);
        let bins = |part: Option<BinsDocument>| part.map(|bins| bins.0);
        Self {
            total: count(part.total),
            failure: count(part.failure),
            assigned: count(part.assigned),
            unanswered: count(part.unanswered),
            rq_time_us: bins(part.rq_time_us),
            rq_ttfb_us: bins(part.rq_ttfb_us),
            rq_gap_us: bins(part.rq_gap_us),
            clients: part.clients.map(ClientCounts::from),
            rq_time_first_us: bins(part.rq_time_first_us),
            rq_ttfb_first_us: bins(part.rq_ttfb_first_us),
            rq_gap_first_us: bins(part.rq_gap_first_us),
        }
    }
}

impl From<ClientsDocument> for ClientCounts {
    fn from(clients: ClientsDocument) -> Self {
        Self {
            total: clients.total.map(|count| count.0),
            failure: clients.failure.map(|count| count.0),
            first_failure: clients.first_failure.map(|count| count.0),
        }
    }
}

impl From<MeasurementDocument> for Measurement {
    fn from(measured: MeasurementDocument) -> Self {
        match measured {
            MeasurementDocument::One(sample) => Self::Values(vec![sample.0]),
            MeasurementDocument::Several(samples) => {
                Self::Values(samples.into_iter().map(|sample| sample.0).collect())
            }
            MeasurementDocument::Outage { error } => Self::Outage(error),
        }
    }
}
