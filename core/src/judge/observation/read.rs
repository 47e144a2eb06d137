//! Reading observation lines, with every fault named by its line and path.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::{ClassCounts, Clients, Measurement, Observation, RoleCounts, Signal};
use crate::document::{Problem, Problems};
use crate::histogram::{Bin, Histogram, MAX_BINS};
use crate::role::Role;
use crate::weight::Weight;

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 1 << 20;
/// The most signals, and the most measurements, in a line.
pub const MAX_SIGNALS: usize = 64;
/// The most classes that one role has of one signal.
pub const MAX_CLASSES: usize = 256;
/// The most bytes of a signal's, a class's or a metric's name.
const MAX_NAME: usize = 128;
/// The largest count: up to here a float holds every integer.
const MAX_COUNT: u64 = 1 << 53;
/// The most values that a measurement has.
const MAX_VALUES: usize = 1_000;

type Object = serde_json::Map<String, Value>;

/// What is wrong in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The line, counted from 1.
    pub line: usize,
    /// Its faults.
    pub problems: Vec<Problem>,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        let shown: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&shown.join("; "))
    }
}

impl std::error::Error for LineError {}

/// Reads a recording line by line, as far as the caller asks; blank lines are passed over. Time must
/// not run backwards. After an error there is nothing more.
pub fn read_lines(text: &str) -> impl Iterator<Item = Result<Observation, LineError>> + '_ {
    let mut latest = f64::NEG_INFINITY;
    let mut broken = false;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map_while(move |(index, line)| {
        if broken {
            return None;
        }
        let seen = read(line).and_then(|observation| in_order(observation, &mut latest));
        broken = seen.is_err();
        Some(seen.map_err(|problems| LineError { line: index + 1, problems }))
    })
}

fn in_order(observation: Observation, latest: &mut f64) -> Result<Observation, Vec<Problem>> {
    if observation.t < *latest {
        let message = format!("{} lies before the {latest} of the line before", observation.t);
        return Err(vec![Problem { path: "t".to_owned(), message }]);
    }
    *latest = observation.t;
    Ok(observation)
}

pub(super) fn read(line: &str) -> Result<Observation, Vec<Problem>> {
    let mut problems = Problems::default();
    let observation = parse(line, &mut problems);
    problems.finish(observation)
}

fn parse(line: &str, problems: &mut Problems) -> Option<Observation> {
    if line.len() > MAX_LINE {
        problems.add("", format!("{} bytes; at most {MAX_LINE} are read", line.len()));
        return None;
    }
    let value: Value = match serde_json::from_str(line) {
        Ok(value) => value,
        Err(error) => {
            problems.add("", format!("not a JSON object: {error}"));
            return None;
        }
    };
    from_value(&value, problems)
}

pub(super) fn from_value(value: &Value, problems: &mut Problems) -> Option<Observation> {
    let Value::Object(fields) = value else {
        problems.add("", "expected an object");
        return None;
    };
    let t = fields.get("t").and_then(Value::as_f64);
    if t.is_none() {
        problems.add("t", "expected the time in seconds, a number");
    }
    let weight = fields.get("weight").and_then(Value::as_number).map(Weight::from_json);
    if !matches!(weight, Some(Ok(_))) {
        problems.add("weight", "expected a percentage from 0 to 100 with up to four decimals");
    }
    let mut observation = Observation {
        t: t.unwrap_or_default(),
        weight: weight.and_then(Result::ok).unwrap_or_default(),
        window: count("window", fields.get("window"), problems),
        keyed: flag("keyed", fields.get("keyed"), problems),
        measurements: measurements(fields.get("measurements"), problems),
        ..Observation::default()
    };
    signals("signals", fields, &mut observation.signals, problems);
    signals("signals_first", fields, &mut observation.signals_first, problems);
    for role in Role::ALL {
        read_role(role, fields, &mut observation, problems);
    }
    Some(observation)
}

fn read_role(
    role: Role,
    fields: &Object,
    observation: &mut Observation,
    problems: &mut Problems,
) -> Option<()> {
    let path = role.as_str();
    let part = object(path, fields.get(path), problems)?;
    let at = |field: &str| format!("{path}.{field}");
    *observation.roles.of_mut(role) = RoleCounts {
        total: count(&at("total"), part.get("total"), problems),
        failure: count(&at("failure"), part.get("failure"), problems),
        rq_time_us: bins(&at("rq_time_us"), part.get("rq_time_us"), problems),
        clients: clients(&at("clients"), part.get("clients"), problems),
        rq_time_first_us: bins(&at("rq_time_first_us"), part.get("rq_time_first_us"), problems),
    };
    // A role may also carry its first observations of signals itself.
    let path = at("signals_first");
    for (name, value) in limited(&path, part.get("signals_first"), MAX_SIGNALS, problems)? {
        let counts = classes(&format!("{path}.{name}"), Some(value), problems);
        *observation.signals_first.entry(name.clone()).or_default().of_mut(role) = counts;
    }
    Some(())
}

fn clients(path: &str, value: Option<&Value>, problems: &mut Problems) -> Option<Clients> {
    let part = object(path, value, problems)?;
    let mut field = |name: &str| count(&format!("{path}.{name}"), part.get(name), problems);
    Some(Clients {
        total: field("total"),
        failure: field("failure"),
        first_failure: field("first_failure"),
    })
}

fn signals(
    field: &str,
    fields: &Object,
    into: &mut BTreeMap<String, Signal>,
    problems: &mut Problems,
) {
    for (name, value) in
        limited(field, fields.get(field), MAX_SIGNALS, problems).unwrap_or_default()
    {
        let path = format!("{field}.{name}");
        let Some(roles) = object(&path, Some(value), problems) else { continue };
        let signal = into.entry(name.clone()).or_default();
        for role in Role::ALL {
            let path = format!("{path}.{role}");
            *signal.of_mut(role) = classes(&path, roles.get(role.as_str()), problems);
        }
    }
}

fn classes(path: &str, value: Option<&Value>, problems: &mut Problems) -> Option<ClassCounts> {
    let mut counts = ClassCounts::new();
    for (class, value) in limited(path, value, MAX_CLASSES, problems)? {
        if let Some(count) = whole(value) {
            counts.insert(class.clone(), count);
        } else {
            expected_count(&format!("{path}.{class}"), problems);
        }
    }
    Some(counts)
}

fn bins(path: &str, value: Option<&Value>, problems: &mut Problems) -> Option<Histogram> {
    let value = present(value)?;
    let Some(items) = value.as_array().filter(|items| items.len() <= MAX_BINS) else {
        problems.add(path, format!("expected a list of at most {MAX_BINS} bins"));
        return None;
    };
    let mut histogram = Histogram::new();
    for (index, item) in items.iter().enumerate() {
        let Some((bin, count)) = bin(item) else {
            let what = "expected [lower bound, width, count], each a number from 0 on";
            problems.add(&format!("{path}[{index}]"), what);
            return None;
        };
        histogram.add(bin, count);
    }
    Some(histogram)
}

fn bin(item: &Value) -> Option<(Bin, u64)> {
    let [lower, width, count] = item.as_array()?.as_slice() else { return None };
    Some((Bin::new(lower.as_f64()?, width.as_f64()?)?, whole(count)?))
}

fn measurements(value: Option<&Value>, problems: &mut Problems) -> BTreeMap<String, Measurement> {
    let mut read = BTreeMap::new();
    let path = "measurements";
    for (name, value) in limited(path, value, MAX_SIGNALS, problems).unwrap_or_default() {
        if let Some(measurement) = measurement(value) {
            read.insert(name.clone(), measurement);
        } else {
            let what = "expected a number, a list of numbers, or {\"error\": why}";
            problems.add(&format!("{path}.{name}"), what);
        }
    }
    read
}

pub(super) fn measurement(value: &Value) -> Option<Measurement> {
    match value {
        Value::Object(outage) => {
            outage.get("error")?.as_str().map(|why| Measurement::Outage(why.to_owned()))
        }
        Value::Array(values) if values.len() <= MAX_VALUES => {
            values.iter().map(sample).collect::<Option<_>>().map(Measurement::Values)
        }
        single => sample(single).map(|value| Measurement::Values(vec![value])),
    }
}

fn sample(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("+Inf" | "Inf") => Some(f64::INFINITY),
        Some("-Inf") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => value.as_f64(),
    }
}

/// How Prometheus writes what is no finite number.
pub(super) const fn special(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// `null` counts as missing.
fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn object<'a>(path: &str, value: Option<&'a Value>, problems: &mut Problems) -> Option<&'a Object> {
    let object = present(value)?.as_object();
    if object.is_none() {
        problems.add(path, "expected an object");
    }
    object
}

fn limited<'a>(
    path: &str,
    value: Option<&'a Value>,
    most: usize,
    problems: &mut Problems,
) -> Option<Vec<(&'a String, &'a Value)>> {
    let fields = object(path, value, problems)?;
    if fields.len() > most || fields.keys().any(|name| name.len() > MAX_NAME) {
        problems.add(path, format!("at most {most} names of at most {MAX_NAME} bytes"));
        return None;
    }
    Some(fields.iter().collect())
}

fn count(path: &str, value: Option<&Value>, problems: &mut Problems) -> Option<u64> {
    let count = whole(present(value)?);
    if count.is_none() {
        expected_count(path, problems);
    }
    count
}

/// A whole number, also one that was written as a float (`950.0`).
fn whole(value: &Value) -> Option<u64> {
    let float = || value.as_f64().filter(|float| float.fract() == 0.0 && *float >= 0.0);
    let number = value.as_u64().or_else(|| float().map(|float| float as u64))?;
    (number <= MAX_COUNT).then_some(number)
}

fn expected_count(path: &str, problems: &mut Problems) {
    problems.add(path, format!("expected a whole number from 0 to {MAX_COUNT}"));
}

fn flag(path: &str, value: Option<&Value>, problems: &mut Problems) -> bool {
    let flag = present(value).map(Value::as_bool);
    if flag == Some(None) {
        problems.add(path, "expected true or false");
    }
    flag.flatten().unwrap_or(false)
}
