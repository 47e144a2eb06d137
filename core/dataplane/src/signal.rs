//! Signals: from what a response says to the bins that are counted. One request counts at most once in
//! each signal.

use std::borrow::Cow;

use serde_json::Value;

use canary_model::config::{Rollout, Signal, SignalBins, Source};

/// One observation of a signal: the bin that it counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignalReading {
    /// The signal's index in the rollout's configuration.
    pub signal: usize,
    /// The bin's index in [`bin_names`].
    pub bin: usize,
}

/// A response's body, as far as signals need it.
#[derive(Clone, Debug, Default)]
pub struct ResponseBody {
    bytes: Vec<u8>,
    /// Compressed, or larger than any signal reads.
    unreadable: bool,
    /// The response ended as it should: a body that broke off says nothing.
    complete: bool,
    limit: usize,
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

impl ResponseBody {
    /// A body that keeps as many bytes as the rollout's signals read at most; `None` if none of them
    /// reads bodies. A compressed body (`content-encoding` other than `identity`) isn't kept.
    pub fn wanted(rollout: &Rollout, encoding: Option<&[u8]>) -> Option<Self> {
        let limits = rollout.signals.iter().filter_map(|signal| match &signal.source {
            Source::ResponseJson { max_body, .. } => Some(*max_body),
            Source::ResponseSse { .. } | Source::ResponseHeader(_) | Source::Request { .. } => None,
        });
        let limit = limits.max()?;
        let plain = encoding.is_none_or(|encoding| encoding.eq_ignore_ascii_case(b"identity"));
        Some(Self { unreadable: !plain, limit, ..Self::default() })
    }

    /// Whether [`push`](Self::push) would keep more. [`end`](Self::end) is to be called in any case.
    pub fn wants_more(&self) -> bool {
        !self.unreadable
    }

    /// Keeps a chunk, or gives up on a body that is too large.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.unreadable || chunk.len() > self.limit.saturating_sub(self.bytes.len()) {
            (self.bytes, self.unreadable) = (Vec::new(), true);
            return;
        }
        self.bytes.extend_from_slice(chunk);
    }

    /// The response has ended: with its last chunk, with its trailers, or with headers alone.
    pub fn end(&mut self) {
        self.complete = true;
    }

    fn json(&self) -> Option<Value> {
        if self.unreadable { None } else { serde_json::from_slice(&self.bytes).ok() }
    }
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
        .map(|(signal, _)| SignalReading { signal, bin: 0 })
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
            let bin = bin_of(signal, text.map(Found::text));
            readings.extend(bin.map(|bin| SignalReading { signal: place, bin }));
        }
    }
    readings
}

/// What the response's body says, at most once per signal. A body that broke off, because the client
/// left or for another reason, says nothing, not even that it is unreadable.
///
/// `draw` is a uniformly random number; it picks the element for pointers with `*`, the same one for
/// all signals (see [`Pointer::find`](canary_model::pointer::Pointer::find)).
pub fn body_readings(rollout: &Rollout, body: &ResponseBody, draw: u64) -> Vec<SignalReading> {
    if !body.complete {
        return Vec::new();
    }
    let document = body.json();
    let mut readings = Vec::new();
    for (place, signal) in rollout.signals.iter().enumerate() {
        if let Source::ResponseJson { pointer, max_body } = &signal.source {
            let document = document.as_ref().filter(|_| body.bytes.len() <= *max_body);
            let value = document.and_then(|document| pointer.find(document, draw));
            let bin = bin_of(signal, value.and_then(Found::value));
            readings.extend(bin.map(|bin| SignalReading { signal: place, bin }));
        }
    }
    readings
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

/// The index of the bin that a value counts in. `found` is `None` if there was nothing to read; the
/// result is `None` for a conversion that didn't happen.
fn bin_of(signal: &Signal, found: Option<Found<'_>>) -> Option<usize> {
    match &signal.bins {
        SignalBins::Conversion => found.is_some_and(|found| happened(&found.text)).then_some(0),
        SignalBins::Categories(categories) => {
            Some(category(categories, found.as_ref().map(|found| &*found.text)))
        }
        SignalBins::Values { .. } => None,
        SignalBins::Limits(limits) => {
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
mod tests {
    use std::collections::BTreeMap;

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

    fn named(rollout: &Rollout, readings: Vec<SignalReading>) -> Vec<String> {
        let name = |reading: SignalReading| {
            let signal = &rollout.signals[reading.signal];
            format!("{}.{}", signal.name, bin_names(signal)[reading.bin])
        };
        readings.into_iter().map(name).collect()
    }

    fn of_json(rollout: &Rollout, text: &str) -> Vec<String> {
        let mut body = ResponseBody::wanted(rollout, None).unwrap();
        text.as_bytes().chunks(7).for_each(|chunk| body.push(chunk));
        body.end();
        named(rollout, body_readings(rollout, &body, 0))
    }

    /// What each of so many requests with this body counts, over evenly spread draws.
    fn of_draws(rollout: &Rollout, text: &str, draws: u64) -> BTreeMap<String, u64> {
        let mut body = ResponseBody::wanted(rollout, None).unwrap();
        body.push(text.as_bytes());
        body.end();
        let mut counts = BTreeMap::new();
        for draw in 0..draws {
            let readings = body_readings(rollout, &body, draw.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for name in named(rollout, readings) {
                *counts.entry(name).or_default() += 1;
            }
        }
        counts
    }

    #[test]
    fn categories_from_a_body() {
        let rollout = rollout(
            json!([{"name": "label", "from": {"response_json": "/predictions/0"},
            "categories": ["0", "true", {"value": "a cat", "bin": "cat"}, {"value": "kitten", "bin": "cat"}]}]),
        );
        for (value, bin) in [
            ("0", "0"),
            ("\"0\"", "0"),
            ("true", "true"),
            ("\"a cat\"", "cat"),
            ("\"kitten\"", "cat"),
            ("7", "other"),
            ("null", "unreadable"),
            ("{}", "unreadable"),
        ] {
            let text = format!("{{\"predictions\": [{value}]}}");
            assert_eq!(of_json(&rollout, &text), [format!("label.{bin}")], "{value}");
        }
        for text in ["", "{", "[]", "{}", r#"{"predictions": []}"#, "\u{feff}{}"] {
            assert_eq!(of_json(&rollout, text), ["label.unreadable"], "{text}");
        }
    }

    #[test]
    fn one_request_is_one_observation() {
        let rollout = rollout(json!([
            {"name": "label", "from": {"response_json": "/predictions/*/label"}, "categories": ["cat"]},
            {"name": "score", "from": {"response_json": "/predictions/*/score"}, "bins": [0.5]},
            {"name": "bought", "from": {"response_json": "/predictions/*/bought"}, "conversion": true},
        ]));
        let element =
            |label: &str, score: f64| json!({"label": label, "score": score, "bought": true});
        let equal = json!({"predictions": vec![element("cat", 0.9); 10]}).to_string();
        let expected =
            ["bought.converted", "label.cat", "score.b1"].map(|name| (name.to_owned(), 100));
        assert_eq!(of_draws(&rollout, &equal, 100), BTreeMap::from(expected));
        let mixed = json!({"predictions": [element("cat", 0.9), element("dog", 0.1), {}, element("cat", 0.9)]});
        let counts = of_draws(&rollout, &mixed.to_string(), 40_000);
        for (name, one_in) in [
            ("label.cat", 2),
            ("label.other", 4),
            ("label.unreadable", 4),
            ("score.b1", 2),
            ("score.b0", 4),
            ("score.unreadable", 4),
        ] {
            assert!(counts[name].abs_diff(40_000 / one_in) < 500, "{name}: {counts:?}");
        }
        let empty = of_draws(&rollout, "{\"predictions\": []}", 3);
        assert_eq!(empty["label.unreadable"], 3, "{empty:?}");
    }

    #[test]
    fn a_body_that_broke_off_says_nothing() {
        let rollout = rollout(json!([
            {"name": "label", "from": {"response_json": "/label"}, "categories": ["cat"]},
            {"name": "bought", "from": {"response_json": "/bought"}, "conversion": true},
        ]));
        for text in ["", "{\"label\": \"c", "{\"label\": \"cat\", \"bought\": 1}"] {
            let mut body = ResponseBody::wanted(&rollout, None).unwrap();
            body.push(text.as_bytes());
            assert_eq!(body_readings(&rollout, &body, 0), [], "{text}");
        }
        let mut zipped = ResponseBody::wanted(&rollout, Some(b"gzip")).unwrap();
        assert_eq!(body_readings(&rollout, &zipped, 0), []);
        zipped.end();
        assert_eq!(named(&rollout, body_readings(&rollout, &zipped, 0)), ["label.unreadable"]);
    }

    #[test]
    fn a_body_that_is_too_large_or_compressed_is_unreadable() {
        let rollout = rollout(json!([{"name": "a", "categories": ["1"],
            "from": {"response_json": "", "max_body": "10B"}}]));
        assert_eq!(of_json(&rollout, "1         "), ["a.1"]);
        assert_eq!(of_json(&rollout, "1          "), ["a.unreadable"]);
        let zipped = ResponseBody::wanted(&rollout, Some(b"gzip")).unwrap();
        assert!(!zipped.wants_more());
        assert!(ResponseBody::wanted(&rollout, Some(b"Identity")).unwrap().wants_more());
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
            let readings = header_readings(&rollout, |_| Some(value.into()));
            assert_eq!(named(&rollout, readings), [format!("score.{bin}")], "{value}");
        }
        assert_eq!(named(&rollout, header_readings(&rollout, |_| None)), ["score.unreadable"]);
        assert_eq!(
            named(&rollout, header_readings(&rollout, |_| Some(vec![0xff]))),
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
            named(
                &rollout,
                request_readings(&rollout, || Some(method.into()), || Some(path.into())),
            )
        };
        assert_eq!(request("POST", "/orders/7?x"), ["checkout.converted"]);
        assert!(request("GET", "/orders").is_empty() && request("POST", "/order").is_empty());
        let clicked = |value: Option<&str>| {
            named(&rollout, header_readings(&rollout, |_| value.map(Into::into)))
        };
        assert_eq!(clicked(Some("yes")), ["clicked.converted"]);
        assert!(
            clicked(None).is_empty()
                && clicked(Some("false")).is_empty()
                && clicked(Some("0")).is_empty()
        );
    }
}
