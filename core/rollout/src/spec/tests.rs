use serde_json::{Value, json};

use super::*;

/// A sound file with some of its fields replaced.
fn with(fields: Value) -> Value {
    let mut file = json!({"rollout": "r",
        "steps": [{"setWeight": 5}, {"pause": {"untilConfident": true}}],
        "analysis": {"metrics": [{"name": "f", "kind": "failureRate"}]}});
    for (name, value) in fields.as_object().unwrap() {
        file[name] = value.clone();
    }
    file
}

/// A file with this metric beside one of failures.
fn with_metric(metric: Value, field: &str, value: Value) -> Value {
    let mut metric = metric;
    metric["name"] = json!("m");
    metric[field] = value;
    with(json!({"analysis": {"metrics": [{"name": "f", "kind": "failureRate"}, metric]}}))
}

/// What stands behind `such as`: up to the value that was found, or a closing brace, or a comma of prose.
fn examples(message: &str) -> Vec<Value> {
    let (_, examples) = message.split_once("such as ").unwrap_or_else(|| panic!("{message}"));
    if let Some((fields, _)) = examples.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return vec![object(fields)];
    }
    let examples = examples.split_once(", found ").map_or(examples, |(examples, _)| examples);
    examples.replace(" or ", ", ").split(", ").map(value).collect()
}

fn object(fields: &str) -> Value {
    let field = |field: &str| {
        let (name, text) = field.split_once(": ").unwrap();
        (name.to_owned(), value(text))
    };
    fields.split(", ").map(field).collect()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// Whoever copies an example out of a message gets a file that is accepted.
#[test]
fn every_example_in_a_message_is_accepted() {
    let of = |wrong: Value, file: &dyn Fn(Value) -> Value| {
        let problems = Spec::read(&file(wrong)).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        for example in examples(&problems[0].message) {
            let read = Spec::read(&file(example));
            assert!(read.is_ok(), "an example of {:?}: {read:?}", problems[0].message);
        }
    };
    let nothing = || json!("\u{1}");
    let in_pause = |field: &'static str| {
        move |value| {
            let mut pause = json!({"minRequests": 1, "untilConfident": true});
            pause[field] = value;
            with(json!({"steps": [{"setWeight": 5}, {"pause": pause}]}))
        }
    };
    of(nothing(), &|lease| with(json!({"lease": lease})));
    of(nothing(), &|budget| with(json!({"harmBudget": budget})));
    of(nothing(), &in_pause("duration"));
    of(nothing(), &in_pause("timeout"));
    of(nothing(), &|weight| with(json!({"steps": [{"setWeight": weight}]})));
    of(json!({"setWeight": 100}), &|first| with(json!({"steps": [first]})));
    of(json!({"pause": {}}), &|first| with(json!({"steps": [first]})));
    of(json!(null), &|metric| {
        let metrics = if metric.is_null() { json!([]) } else { json!([metric]) };
        with(json!({"analysis": {"metrics": metrics}}))
    });
    of(nothing(), &|timeout| {
        with(json!({"gates": [{"before": 5, "url": "http://gate", "timeout": timeout}]}))
    });
    of(json!("steps: auto"), &|field| {
        let mut fields = object(field.as_str().unwrap());
        fields["steps"] = json!("auto");
        with(fields)
    });
}

#[test]
fn every_example_in_a_message_about_a_metric_is_accepted() {
    let of = |metric: Value, field: &str, wrong: Value, wrap: &dyn Fn(Value) -> Value| {
        let read = |value| Spec::read(&with_metric(metric.clone(), field, wrap(value)));
        let problems = read(wrong).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        for example in examples(&problems[0].message) {
            let read = read(example);
            assert!(read.is_ok(), "an example of {:?}: {read:?}", problems[0].message);
        }
    };
    let nothing = || json!("\u{1}");
    let plain = |value: Value| value;
    let failures = || json!({"kind": "failureRate"});
    let latency = || json!({"kind": "latency"});
    let gpu = || {
        json!({"kind": "prometheus", "address": "http://p:9090", "query": "up",
            "failureCondition": "result > 1"})
    };
    of(failures(), "margin", nothing(), &plain);
    of(failures(), "ratio", json!(0), &plain);
    of(latency(), "tolerance", json!(0), &plain);
    of(latency(), "quantiles", nothing(), &plain);
    of(latency(), "quantiles", json!(0), &|factor| json!({"p50": factor}));
    of(latency(), "quantiles", json!("q5"), &|name| json!({(name.as_str().unwrap()): 1.1}));
    of(json!({"kind": "distribution", "signal": "s"}), "tolerance", nothing(), &plain);
    of(json!({"kind": "conversion", "signal": "s"}), "margin", nothing(), &plain);
    of(gpu(), "interval", nothing(), &plain);
    of(gpu(), "interval", json!("250ms"), &plain);
    of(gpu(), "initialDelay", nothing(), &plain);
    of(gpu(), "failureCondition", json!("x"), &|index| {
        let index = index.as_str().map_or_else(|| index.to_string(), str::to_owned);
        json!(format!("result[{index}] > 1"))
    });
}

#[test]
fn the_example_of_a_false_abort_rate_is_accepted() {
    let read = |rate: Value| {
        let metrics = json!([{"name": "f", "kind": "failureRate"}]);
        Spec::read(&with(json!({"analysis": {"falseAbort": rate, "metrics": metrics}})))
    };
    let problems = read(json!("60%")).unwrap_err();
    for example in examples(&problems[0].message) {
        assert!(read(example).is_ok());
    }
}
