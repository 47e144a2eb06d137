//! Signals: from what a response says to the bins that are counted. One request counts at most once in
//! each signal.

use std::borrow::Cow;

use serde_json::Value;

use canary_model::config::{Rollout, Signal, SignalBins, Source, SseEvent};
use canary_model::pointer::Pointer;

/// One observation of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignalReading {
    /// The signal's index in the rollout's configuration.
    pub signal: usize,
    /// What the observation counts as.
    pub value: SignalValue,
}

/// What an observation of a signal counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignalValue {
    /// One more in a counter: the bin's index in [`bin_names`].
    Bin(usize),
    /// A sample of the signal's histogram, scaled and rounded; at most 2^53.
    Sample(u64),
}

/// The names of a signal's bins, in the order of [`SignalReading::bin`].
pub fn bin_names(signal: &Signal) -> Vec<String> {
    let listed: Vec<String> = match &signal.bins {
        SignalBins::Conversion => return vec!["converted".to_owned()],
        SignalBins::Categories(categories) => {
            let mut names: Vec<String> = Vec::new();
            for category in categories {
                if !names.contains(&category.bin) {
                    names.push(category.bin.clone());
                }
            }
            names.push("other".to_owned());
            names
        }
        SignalBins::Values { .. } => Vec::new(),
        SignalBins::Limits(limits) => (0..=limits.len()).map(|bin| format!("b{bin}")).collect(),
    };
    listed.into_iter().chain(["unreadable".to_owned()]).collect()
}

/// The conversions that a request is. `method` and `path` are only called if a signal needs them.
pub fn request_readings(
    rollout: &Rollout,
    method: impl FnOnce() -> Option<Vec<u8>>,
    path: impl FnOnce() -> Option<Vec<u8>>,
) -> Vec<SignalReading> {
    let reads = |source: &Source| matches!(source, Source::Request { .. });
    if !rollout.signals.iter().any(|signal| reads(&signal.source)) {
        return Vec::new();
    }
    let (sent_method, sent_path) = (method().unwrap_or_default(), path().unwrap_or_default());
    let is = |source: &Source| match source {
        Source::Request { method, path_prefix } => {
            method.as_ref().is_none_or(|method| method.as_bytes() == sent_method)
                && path_prefix
                    .as_ref()
                    .is_none_or(|prefix| sent_path.starts_with(prefix.as_bytes()))
        }
        Source::ResponseJson { .. } | Source::ResponseSse { .. } | Source::ResponseHeader(_) => {
            false
        }
    };
    let signals = rollout.signals.iter().enumerate();
    signals
        .filter(|(_, signal)| is(&signal.source))
        .map(|(signal, _)| SignalReading { signal, value: SignalValue::Bin(0) })
        .collect()
}

/// What the response's headers say, at most once per signal: of several lines, the first counts.
/// `header` returns the first value of a header.
pub fn header_readings(
    rollout: &Rollout,
    header: impl Fn(&str) -> Option<Vec<u8>>,
) -> Vec<SignalReading> {
    let mut readings = Vec::new();
    for (place, signal) in rollout.signals.iter().enumerate() {
        if let Source::ResponseHeader(name) = &signal.source {
            let value = header(name);
            let text = value.as_deref().and_then(|value| str::from_utf8(value.trim_ascii()).ok());
            let value = observe(signal, text.map(Found::text));
            readings.extend(value.map(|value| SignalReading { signal: place, value }));
        }
    }
    readings
}

/// What a JSON body says, at most once per signal. `body` is the document and its size in bytes; `None`
/// if it couldn't be read.
///
/// `draw` is a uniformly random number; it picks the element for pointers with `*`, the same one for
/// all signals (see [`Pointer::find`]).
pub fn json_readings(
    rollout: &Rollout,
    body: Option<(&Value, usize)>,
    draw: u64,
) -> Vec<SignalReading> {
    let mut readings = Vec::new();
    for (place, signal) in rollout.signals.iter().enumerate() {
        if let Source::ResponseJson { pointer, max_body } = &signal.source {
            let document = body.filter(|(_, size)| size <= max_body);
            let found = document.and_then(|(document, _)| pointer.find(document, draw));
            let value = observe(signal, found.and_then(Found::value));
            readings.extend(value.map(|value| SignalReading { signal: place, value }));
        }
    }
    readings
}

/// What an event stream says, read as its events pass. One stream is one observation of each
/// `response_sse` signal.
#[derive(Clone, Debug)]
pub struct EventReadings {
    /// By signal; `None` for signals of other sources, and until an event counts.
    found: Vec<Option<EventValue>>,
    draw: u64,
}

/// The event that counts so far. Its value may be none: a conversion that didn't happen.
#[derive(Clone, Copy, Debug)]
struct EventValue(Option<SignalValue>);

impl EventReadings {
    /// Readings of a stream that begins. `draw` is as in [`json_readings`].
    pub fn new(rollout: &Rollout, draw: u64) -> Self {
        Self { found: vec![None; rollout.signals.len()], draw }
    }

    /// The size in bytes up to which an event is to be read; `None` if no event to come can count.
    pub fn needs_events(&self, rollout: &Rollout) -> Option<usize> {
        self.open(rollout).map(|(_, max_body)| max_body).max()
    }

    /// Where [`read`](Self::read) looks in an event's JSON.
    pub fn pointers<'a>(&self, rollout: &'a Rollout) -> impl Iterator<Item = &'a Pointer> {
        self.open(rollout).map(|(pointer, _)| pointer)
    }

    /// The signals for which an event to come can count: where they look, in events of up to which size.
    fn open<'a>(&self, rollout: &'a Rollout) -> impl Iterator<Item = (&'a Pointer, usize)> {
        let signals = rollout.signals.iter().zip(&self.found);
        signals.filter_map(|(signal, found)| match &signal.source {
            Source::ResponseSse { pointer, event, max_body } => {
                (*event == SseEvent::Last || found.is_none()).then_some((pointer, *max_body))
            }
            _ => None,
        })
    }

    /// Reads the next event: its size in bytes, and of its JSON, if it is JSON, what the
    /// [pointers](Self::pointers) need. An event that is
    /// larger than a signal reads counts as one with an unreadable value.
    pub fn read(&mut self, rollout: &Rollout, size: usize, json: Option<&Value>) {
        for (signal, place) in rollout.signals.iter().zip(&mut self.found) {
            let Source::ResponseSse { pointer, event, max_body } = &signal.source else {
                continue;
            };
            if *event == SseEvent::First && place.is_some() {
                continue;
            }
            let value = json.and_then(|json| pointer.find(json, self.draw));
            if size > *max_body {
                *place = Some(EventValue(observe(signal, None)));
            } else if let Some(value) = value.filter(|value| !value.is_null()) {
                *place = Some(EventValue(observe(signal, Found::value(value))));
            }
        }
    }

    /// The observations of a stream that ended complete. A signal that no event had a value for is
    /// unreadable.
    pub fn finish(&self, rollout: &Rollout) -> Vec<SignalReading> {
        let signals = rollout.signals.iter().zip(&self.found).enumerate();
        let readings = signals.filter_map(|(place, (signal, found))| {
            if !matches!(signal.source, Source::ResponseSse { .. }) {
                return None;
            }
            let value = found.map_or_else(|| observe(signal, None), |event| event.0)?;
            Some(SignalReading { signal: place, value })
        });
        readings.collect()
    }
}

/// A value that was found, in the form in which it is compared.
struct Found<'a> {
    /// A string's text, a number's or boolean's JSON text.
    text: Cow<'a, str>,
    /// The value of a JSON number, because its text may not reproduce it to the last bit.
    number: Option<f64>,
}

impl<'a> Found<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: text.into(), number: None }
    }

    fn value(value: &'a Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::text(text)),
            Value::Bool(flag) => Some(Self::text(if *flag { "true" } else { "false" })),
            Value::Number(number) => {
                Some(Self { text: number.to_string().into(), number: number.as_f64() })
            }
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn number(&self) -> Option<f64> {
        self.number.or_else(|| number(&self.text))
    }
}

/// The number in a text: a JSON number or an infinity, with either sign. It is read in the same way as
/// the configuration's limits, so that a value written like a limit equals it.
fn number(text: &str) -> Option<f64> {
    let size = text.strip_prefix(['-', '+']).unwrap_or(text);
    let size = if ["inf", "infinity"].iter().any(|word| size.eq_ignore_ascii_case(word)) {
        f64::INFINITY
    } else if size.starts_with(|first: char| first.is_ascii_digit()) {
        serde_json::from_slice::<Value>(size.as_bytes()).ok()?.as_f64()?
    } else {
        return None;
    };
    Some(if text.starts_with('-') { -size } else { size })
}

/// What a value counts as. `found` is `None` if there was nothing to read; the result is `None` for a
/// conversion that didn't happen.
fn observe(signal: &Signal, found: Option<Found<'_>>) -> Option<SignalValue> {
    let bin = match &signal.bins {
        SignalBins::Conversion => {
            return found.is_some_and(|found| happened(&found.text)).then_some(SignalValue::Bin(0));
        }
        SignalBins::Categories(categories) => {
            category(categories, found.as_ref().map(|found| &*found.text))
        }
        SignalBins::Values { scale } => {
            let sample = found.and_then(|found| sample(found.number()? * scale));
            return Some(sample.map_or(SignalValue::Bin(0), SignalValue::Sample));
        }
        SignalBins::Limits(limits) => {
            let number = found.and_then(|found| found.number());
            let bin = |number: f64| limits.iter().filter(|limit| **limit <= number).count();
            number.map_or(limits.len() + 1, bin)
        }
    };
    Some(SignalValue::Bin(bin))
}

/// A number as a histogram's sample, rounded; `None` if it is negative or above 2^53, from where on not
/// every whole number is an `f64`.
fn sample(number: f64) -> Option<u64> {
    const LARGEST: f64 = (1_u64 << 53) as f64;
    let rounded = libm::round(number);
    (0.0..=LARGEST).contains(&rounded).then_some(rounded as u64)
}

/// Whether the value of a conversion says that it happened.
fn happened(value: &str) -> bool {
    !["", "0", "false"].contains(&value)
}

/// The index among the distinct bins of the listed categories, then `other`, then `unreadable`.
fn category(categories: &[canary_model::config::Category], value: Option<&str>) -> usize {
    let mut bins: Vec<&str> = Vec::with_capacity(categories.len());
    for category in categories {
        if !bins.contains(&category.bin.as_str()) {
            bins.push(&category.bin);
        }
    }
    let Some(value) = value else {
        return bins.len() + 1;
    };
    let found = categories.iter().find(|category| category.value == value);
    let place = found.and_then(|found| bins.iter().position(|bin| *bin == found.bin));
    place.unwrap_or(bins.len())
}

#[cfg(test)]
mod tests;
