use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::json;
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
        match reading.value {
            SignalValue::Bin(bin) => format!("{}.{}", signal.name, bin_names(signal)[bin]),
            SignalValue::Sample(value) => format!("{}={value}", signal.name),
        }
    };
    readings.into_iter().map(name).collect()
}

fn of_draw(rollout: &Rollout, text: &str, draw: u64) -> Vec<String> {
    let document = json::select(text.as_bytes(), &[&Pointer::parse("").unwrap()]);
    let body = document.as_ref().map(|document| (document, text.len()));
    named(rollout, json_readings(rollout, body, draw))
}

fn of_json(rollout: &Rollout, text: &str) -> Vec<String> {
    of_draw(rollout, text, 0)
}

/// What each of so many requests with this body counts, over evenly spread draws.
fn of_draws(rollout: &Rollout, text: &str, draws: u64) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for draw in 0..draws {
        for name in of_draw(rollout, text, draw.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            *counts.entry(name).or_default() += 1;
        }
    }
    counts
}

/// What a stream with these events counts.
fn of_events(rollout: &Rollout, events: &[&str]) -> Vec<String> {
    let mut readings = EventReadings::new(rollout, 0);
    for event in events {
        let pointers: Vec<_> = readings.pointers(rollout).collect();
        let json = json::select(event.as_bytes(), &pointers);
        readings.read(rollout, event.len(), json.as_ref());
    }
    named(rollout, readings.finish(rollout))
}

#[test]
fn categories_from_a_body() {
    let rollout = rollout(json!([{"name": "label", "from": {"response_json": "/predictions/0"},
        "categories": ["0", "true", {"value": "a cat", "bin": "cat"}, {"value": "kitten", "bin": "cat"}]}]));
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
    let element = |label: &str, score: f64| json!({"label": label, "score": score, "bought": true});
    let equal = json!({"predictions": vec![element("cat", 0.9); 10]}).to_string();
    let expected = ["bought.converted", "label.cat", "score.b1"].map(|name| (name.to_owned(), 100));
    assert_eq!(of_draws(&rollout, &equal, 100), BTreeMap::from(expected));
    let mixed =
        json!({"predictions": [element("cat", 0.9), element("dog", 0.1), {}, element("cat", 0.9)]});
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
fn a_body_that_is_too_large_is_unreadable() {
    let rollout = rollout(json!([{"name": "a", "categories": ["1"],
        "from": {"response_json": "", "max_body": "10B"}}]));
    assert_eq!(of_json(&rollout, "1         "), ["a.1"]);
    assert_eq!(of_json(&rollout, "1          "), ["a.unreadable"]);
}

#[test]
fn numbers_that_json_lacks() {
    let listed = json!(["NaN", "Infinity", {"value": "-Infinity", "bin": "low"}]);
    let rollout = rollout(json!([
        {"name": "text", "from": {"response_json": "/a/0"}, "categories": listed},
        {"name": "bin", "from": {"response_json": "/a/0"}, "bins": [0]},
        {"name": "value", "from": {"response_json": "/a/0"}, "values": {}},
        {"name": "other", "from": {"response_json": "/b"}, "values": {}},
    ]));
    for (word, text, bin) in
        [("NaN", "NaN", "unreadable"), ("Infinity", "Infinity", "b1"), ("-Infinity", "low", "b0")]
    {
        let expected = [
            format!("text.{text}"),
            format!("bin.{bin}"),
            "value.unreadable".to_owned(),
            "other=7".to_owned(),
        ];
        assert_eq!(of_json(&rollout, &format!("{{\"a\": [{word}], \"b\": 7}}")), expected);
    }
}

#[test]
fn values_are_scaled_and_rounded() {
    let of = |scale: Value, text: &str| {
        let signals = json!([{"name": "v", "from": {"response_json": ""}, "values": scale}]);
        of_json(&rollout(signals), text).remove(0)
    };
    for (scale, text, expected) in [
        (json!({}), "12", "v=12"),
        (json!({"scale": 1}), "0", "v=0"),
        (json!({"scale": 1000}), "0.0125", "v=13"),
        (json!({"scale": 1000}), "1.2344", "v=1234"),
        (json!({}), "0.5", "v=1"),
        (json!({}), "-0.4", "v=0"),
        (json!({}), "\"7.2\"", "v=7"),
        (json!({}), "9007199254740992", "v=9007199254740992"),
        (json!({}), "-1", "v.unreadable"),
        (json!({}), "-0.5", "v.unreadable"),
        (json!({}), "9007199254740994", "v.unreadable"),
        (json!({"scale": 1e300}), "1e300", "v.unreadable"),
        (json!({"scale": 1e-300}), "1e-300", "v=0"),
        (json!({}), "NaN", "v.unreadable"),
        (json!({}), "true", "v.unreadable"),
        (json!({}), "[1]", "v.unreadable"),
        (json!({}), "", "v.unreadable"),
    ] {
        assert_eq!(of(scale.clone(), text), expected, "{text} × {scale}");
    }
    let header =
        rollout(json!([{"name": "v", "from": {"response_header": "h"}, "values": {"scale": 10}}]));
    assert_eq!(named(&header, header_readings(&header, |_| Some(" 1.26 ".into()))), ["v=13"]);
    assert_eq!(named(&header, header_readings(&header, |_| None)), ["v.unreadable"]);
}

#[test]
fn the_first_or_the_last_event_with_a_value_counts() {
    let signal = |name: &str, event: &str| {
        json!({"name": name, "categories": ["stop", "length"],
            "from": {"response_sse": "/reason", "event": event, "max_body": "40B"}})
    };
    let rollout = rollout(json!([
        signal("first", "first"),
        {"name": "json", "from": {"response_json": "/reason"}, "categories": ["stop"]},
        signal("last", "last"),
        {"name": "used", "from": {"response_sse": "/usage"}, "values": {}},
    ]));
    let length = r#"{"reason": "length", "usage": 5}"#;
    let stop = r#"{"reason": "stop", "usage": null}"#;
    let none = r#"{"reason": null}"#;
    let large = format!("{stop}          ");
    for (events, first, last, used) in [
        (&[none, length, none, "[DONE]"][..], "length", "length", "=5"),
        (&[length, stop, none, "", "[1"], "length", "stop", "=5"),
        (&[stop, length], "stop", "length", "=5"),
        (&[], "unreadable", "unreadable", ".unreadable"),
        (&[none, "[DONE]"], "unreadable", "unreadable", ".unreadable"),
        (&["{\"reason\": \"x\"}"], "other", "other", ".unreadable"),
        (&["{\"reason\": []}", stop], "unreadable", "stop", ".unreadable"),
        (&[&large, length], "unreadable", "length", "=5"),
        (&[length, &large], "length", "unreadable", "=5"),
    ] {
        let expected = [format!("first.{first}"), format!("last.{last}"), format!("used{used}")];
        assert_eq!(of_events(&rollout, events), expected, "{events:?}");
    }
}

#[test]
fn events_are_needed_while_one_could_count() {
    let from = |event: &str, size: &str| {
        json!([{"name": "a", "conversion": true,
            "from": {"response_sse": "/a", "event": event, "max_body": size}}])
    };
    let first = rollout(from("first", "10B"));
    let mut readings = EventReadings::new(&first, 0);
    assert_eq!(readings.needs_events(&first), Some(10));
    readings.read(&first, 9, Some(&json!({"a": false})));
    assert_eq!(readings.needs_events(&first), None);
    assert!(readings.finish(&first).is_empty(), "it didn't happen");
    let last = rollout(from("last", "1KiB"));
    let mut readings = EventReadings::new(&last, 0);
    readings.read(&last, 9, Some(&json!({"a": true})));
    assert_eq!(readings.needs_events(&last), Some(1024));
    assert_eq!(named(&last, readings.finish(&last)), ["a.converted"]);
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
        named(&rollout, request_readings(&rollout, || Some(method.into()), || Some(path.into())))
    };
    assert_eq!(request("POST", "/orders/7?x"), ["checkout.converted"]);
    assert!(request("GET", "/orders").is_empty() && request("POST", "/order").is_empty());
    let clicked =
        |value: Option<&str>| named(&rollout, header_readings(&rollout, |_| value.map(Into::into)));
    assert_eq!(clicked(Some("yes")), ["clicked.converted"]);
    assert!(
        clicked(None).is_empty()
            && clicked(Some("false")).is_empty()
            && clicked(Some("0")).is_empty()
    );
}
