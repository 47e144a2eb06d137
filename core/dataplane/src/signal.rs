//! Signals at work: from what an answer says to the bins that are counted.

use std::borrow::Cow;

use serde_json::Value;

use canary_model::config::{Bins, Rollout, Signal, Source};
use canary_model::pointer::Pointer;

/// A count for one bin of one signal, both by their places in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    /// The signal's place in the rollout.
    pub signal: usize,
    /// The bin's place in [`bin_names`].
    pub bin: usize,
}

/// A response body as far as it was kept.
#[derive(Clone, Debug, Default)]
pub struct Body {
    bytes: Vec<u8>,
    /// Compressed, or larger than any signal reads.
    unreadable: bool,
    limit: usize,
}

/// The names of a signal's bins, in the order of their places.
pub fn bin_names(signal: &Signal) -> Vec<String> {
    let listed: Vec<String> = match &signal.bins {
        Bins::Conversion => return vec!["converted".to_owned()],
        Bins::Categories(categories) => {
            let mut names: Vec<String> = Vec::new();
            for category in categories {
                if !names.contains(&category.bin) {
                    names.push(category.bin.clone());
                }
            }
            names.push("other".to_owned());
            names
        }
        Bins::Limits(limits) => (0..=limits.len()).map(|bin| format!("b{bin}")).collect(),
    };
    listed.into_iter().chain(["unreadable".to_owned()]).collect()
}

impl Body {
    /// Where a body signal is configured: a body that keeps as much as the largest of them reads.
    /// A compressed one (`content-encoding` other than `identity`) is not read.
    pub fn wanted(rollout: &Rollout, encoding: Option<&[u8]>) -> Option<Self> {
        let limits = rollout.signals.iter().filter_map(|signal| match &signal.source {
            Source::ResponseJson { max_body, .. } => Some(*max_body),
            Source::ResponseHeader(_) | Source::Request { .. } => None,
        });
        let limit = limits.max()?;
        let plain = encoding.is_none_or(|encoding| encoding.eq_ignore_ascii_case(b"identity"));
        Some(Self { bytes: Vec::new(), unreadable: !plain, limit })
    }

    /// Whether more of the body is needed.
    pub fn wants_more(&self) -> bool {
        !self.unreadable
    }

    /// Keeps a chunk, or gives the body up as too large.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.unreadable || chunk.len() > self.limit.saturating_sub(self.bytes.len()) {
            *self = Self { bytes: Vec::new(), unreadable: true, limit: self.limit };
            return;
        }
        self.bytes.extend_from_slice(chunk);
    }

    fn json(&self) -> Option<Value> {
        if self.unreadable { None } else { serde_json::from_slice(&self.bytes).ok() }
    }
}

/// What the request itself says: the conversions that it is, by their places.
pub fn of_request(
    rollout: &Rollout,
    method: impl FnOnce() -> Option<Vec<u8>>,
    path: impl FnOnce() -> Option<Vec<u8>>,
) -> Vec<Reading> {
    let asks = |source: &Source| matches!(source, Source::Request { .. });
    if !rollout.signals.iter().any(|signal| asks(&signal.source)) {
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
        Source::ResponseJson { .. } | Source::ResponseHeader(_) => false,
    };
    let signals = rollout.signals.iter().enumerate();
    signals
        .filter(|(_, signal)| is(&signal.source))
        .map(|(signal, _)| Reading { signal, bin: 0 })
        .collect()
}

/// What the response's headers say.
pub fn of_headers(rollout: &Rollout, header: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<Reading> {
    let mut readings = Vec::new();
    for (place, signal) in rollout.signals.iter().enumerate() {
        if let Source::ResponseHeader(name) = &signal.source {
            let value = header(name);
            let text = value.as_deref().and_then(|value| str::from_utf8(value.trim_ascii()).ok());
            let bin = bin_of(signal, text.map(Found::text));
            readings.extend(bin.map(|bin| Reading { signal: place, bin }));
        }
    }
    readings
}

/// What the response's body says.
pub fn of_body(rollout: &Rollout, body: &Body) -> Vec<Reading> {
    let document = body.json();
    let mut readings = Vec::new();
    for (place, signal) in rollout.signals.iter().enumerate() {
        if let Source::ResponseJson { pointer, max_body } = &signal.source {
            let document = document.as_ref().filter(|_| body.bytes.len() <= *max_body);
            let bins = bins_of(signal, pointer, document);
            readings.extend(bins.into_iter().map(|bin| Reading { signal: place, bin }));
        }
    }
    readings
}

fn bins_of(signal: &Signal, pointer: &Pointer, document: Option<&Value>) -> Vec<usize> {
    let values = document.map(|document| pointer.values(document)).unwrap_or_default();
    if values.is_empty() {
        return bin_of(signal, None).into_iter().collect();
    }
    values.into_iter().filter_map(|value| bin_of(signal, Found::value(value))).collect()
}

/// A value that was found, as it is compared.
struct Found<'a> {
    /// A string's text, a number's or boolean's JSON text.
    text: Cow<'a, str>,
    /// What a JSON number says: its text need not give it back to the last bit.
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

/// The number that a text says: a JSON number or an infinity, with either sign. It is read as the
/// configuration's limits are, so that a value that is written like a limit is equal to it.
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

/// The place of the bin that a value counts in; `None` as the value: there was nothing to read.
/// `None` as the answer: a conversion that did not happen.
fn bin_of(signal: &Signal, found: Option<Found<'_>>) -> Option<usize> {
    match &signal.bins {
        Bins::Conversion => found.is_some_and(|found| happened(&found.text)).then_some(0),
        Bins::Categories(categories) => {
            Some(category(categories, found.as_ref().map(|found| &*found.text)))
        }
        Bins::Limits(limits) => {
            let number = found.and_then(|found| found.number());
            let bin = |number: f64| limits.iter().filter(|limit| **limit <= number).count();
            Some(number.map_or(limits.len() + 1, bin))
        }
    }
}

/// Whether the value of a conversion says that it happened.
fn happened(value: &str) -> bool {
    !["", "0", "false"].contains(&value)
}

/// The place among the distinct bins of the listed categories, of `other` or of `unreadable`.
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
mod tests {
    use serde_json::json;

    use super::*;
    use canary_model::config::Config;

    fn rollout(signals: Value) -> Rollout {
        let config = json!({"rollouts": [{
            "name": "r", "signals": signals,
            "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"},
        }]});
        Config::parse(config.to_string().as_bytes()).unwrap().rollouts.remove(0)
    }

    fn named(rollout: &Rollout, readings: Vec<Reading>) -> Vec<String> {
        let name = |reading: Reading| {
            let signal = &rollout.signals[reading.signal];
            format!("{}.{}", signal.name, bin_names(signal)[reading.bin])
        };
        readings.into_iter().map(name).collect()
    }

    fn of_json(rollout: &Rollout, text: &str) -> Vec<String> {
        let mut body = Body::wanted(rollout, None).unwrap();
        text.as_bytes().chunks(7).for_each(|chunk| body.push(chunk));
        named(rollout, of_body(rollout, &body))
    }

    #[test]
    fn categories_from_a_body() {
        let rollout = rollout(
            json!([{"name": "label", "from": {"response_json": "/predictions/*"},
            "categories": ["0", "true", {"value": "a cat", "bin": "cat"}, {"value": "kitten", "bin": "cat"}]}]),
        );
        let bins =
            of_json(&rollout, r#"{"predictions": [0, "0", true, "a cat", "kitten", 7, null, {}]}"#);
        let expected = ["0", "0", "true", "cat", "cat", "other", "unreadable", "unreadable"];
        assert_eq!(bins, expected.map(|bin| format!("label.{bin}")));
        for text in ["", "{", "[]", "{}", r#"{"predictions": []}"#, "\u{feff}{}"] {
            assert_eq!(of_json(&rollout, text), ["label.unreadable"], "{text}");
        }
    }

    #[test]
    fn a_body_that_is_too_large_or_compressed_is_unreadable() {
        let rollout = rollout(json!([{"name": "a", "categories": ["1"],
            "from": {"response_json": "", "max_body": "10B"}}]));
        assert_eq!(of_json(&rollout, "1         "), ["a.1"]);
        assert_eq!(of_json(&rollout, "1          "), ["a.unreadable"]);
        let zipped = Body::wanted(&rollout, Some(b"gzip")).unwrap();
        assert!(!zipped.wants_more());
        assert!(Body::wanted(&rollout, Some(b"Identity")).unwrap().wants_more());
    }

    #[test]
    fn bins_of_a_header() {
        let rollout = rollout(json!([{"name": "score", "bins": [0.2, 0.4],
            "from": {"response_header": "x-model-score"}}]));
        for (value, bin) in [
            ("0.1", "b0"),
            ("0.2", "b1"),
            ("0.39", "b1"),
            ("0.4", "b2"),
            ("1e9", "b2"),
            ("-3e-05", "b0"),
            ("+0.3", "b1"),
            ("-inf", "b0"),
            ("+Inf", "b2"),
            ("infinity", "b2"),
            (" 0.3 ", "b1"),
            ("NaN", "unreadable"),
            ("", "unreadable"),
            ("x", "unreadable"),
            ("0,3", "unreadable"),
            ("--1", "unreadable"),
            ("1 2", "unreadable"),
            ("\"1\"", "unreadable"),
        ] {
            let readings = of_headers(&rollout, |_| Some(value.into()));
            assert_eq!(named(&rollout, readings), [format!("score.{bin}")], "{value}");
        }
        assert_eq!(named(&rollout, of_headers(&rollout, |_| None)), ["score.unreadable"]);
        assert_eq!(
            named(&rollout, of_headers(&rollout, |_| Some(vec![0xff]))),
            ["score.unreadable"]
        );
    }

    #[test]
    fn conversions() {
        let rollout = rollout(json!([
            {"name": "checkout", "conversion": true, "from": {"request": {"method": "POST", "path_prefix": "/orders"}}},
            {"name": "clicked", "conversion": true, "from": {"response_header": "x-clicked"}},
        ]));
        let request = |method: &'static str, path: &'static str| {
            named(&rollout, of_request(&rollout, || Some(method.into()), || Some(path.into())))
        };
        assert_eq!(request("POST", "/orders/7?x"), ["checkout.converted"]);
        assert!(request("GET", "/orders").is_empty() && request("POST", "/order").is_empty());
        let clicked =
            |value: Option<&str>| named(&rollout, of_headers(&rollout, |_| value.map(Into::into)));
        assert_eq!(clicked(Some("yes")), ["clicked.converted"]);
        assert!(
            clicked(None).is_empty()
                && clicked(Some("false")).is_empty()
                && clicked(Some("0")).is_empty()
        );
    }
}
