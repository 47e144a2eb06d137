//! The JSON schema of rollout files, for editors: completion, and red lines while typing.
//!
//! It is made of the tables that the reader goes by. A schema knows the form alone; what holds between
//! the parts of a file (rising weights, names of their own) only [`Spec::read`](super::spec::Spec::read)
//! knows, which `canaryctl lint` asks.

mod prometheus;
mod release;

use serde_json::{Map, Value, json};

use super::spec::fields::MAX_URL;
use super::spec::read::{FIELDS, GATE_FIELDS, MAX_ENVOYS, MAX_HOOKS, NOTIFY_FIELDS};
use super::spec::read_steps::{ENTRY_FIELDS, MAX_ENTRIES, MAX_REQUESTS, PAUSE_FIELDS};
use super::spec::{Afterwards, Goal, Topic};
use canary_judge::spec::{
    MAX_METRICS, MetricKind, OnFailure, QUANTILES, SplitMismatch, Worse, metric_fields,
};
use canary_judge::timing::Timing;

/// A duration above 0, any duration, and one of whole seconds: parts from the largest unit down.
const DURATION: &str = "^(?=.*[1-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
const ANY_DURATION: &str = "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
const WHOLE_SECONDS: &str =
    "^(?=.*[1-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]*000ms|0+ms)?$";
/// A percentage from 0% to below 100%, and one above 0%.
const SHARE: &str = r"^(0*[0-9]{1,2}(\.[0-9]*)?|0*\.[0-9]+)%$";
const POSITIVE_SHARE: &str = r"^(?=.*[1-9])(0*[0-9]{1,2}(\.[0-9]*)?|0*\.[0-9]+)%$";
/// Above 0%, at most 50%.
const UP_TO_HALF: &str = r"^(?=.*[1-9])(0*[0-4]?[0-9](\.[0-9]*)?|0*50(\.0*)?|0*\.[0-9]+)%$";
/// A percentage has at most 20 digits before its sign.
const MAX_PERCENTAGE: usize = 21;
const QUANTILE: &str = r"^p(?=.*[1-9])(0*[0-9]{1,2}(\.[0-9]*)?|0*\.[0-9]+)$";
const URL: &str = r"^https?://[^\s!-/:-@\\\]^-`{-~]\S*$";
const ADMIN: &str = r"^(unix:///[\s\S]+|http://[^\s!-/:-@\\\]^-`{-~]\S*)$";
const ADDRESS: &str = "^https?://[!-.0-~][!-~]*$";

/// The schema of a rollout file (JSON Schema 2020-12).
pub fn schema() -> Value {
    let mut root = object(&FIELDS, &["rollout", "steps"], file_field);
    let about = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A rollout file of canaryctl",
        "description": "How a canary gets traffic, and what rolls it back. `canaryctl lint -f FILE` checks more than a schema can.",
        "allOf": [rollback_condition(), budget_of_auto(), end_of_measurement()],
    });
    merge(&mut root, about);
    root
}

fn file_field(field: &str) -> Value {
    match field {
        "rollout" => text(
            r"^(?!filter$)[a-z0-9][a-z0-9_-]{0,62}$",
            "The rollout's name, as in the filter's configuration",
        ),
        "envoys" => optional(with(
            list(
                with(
                    text(
                        ADMIN,
                        "http://host:port or unix:///path; a DNS name stands for all its addresses",
                    ),
                    json!({"maxLength": MAX_URL}),
                ),
                0,
                MAX_ENVOYS,
                "Admin interfaces of the Envoys (default: CANARYCTL_ENVOYS); --envoy overrides them",
            ),
            json!({"uniqueItems": true}),
        )),
        "lease" => optional(text(
            WHOLE_SECONDS,
            "Time after which traffic returns to stable if the controller dies: whole seconds, 1s to 24h (default 30s)",
        )),
        "goal" => optional(one_of(
            Goal::WORDS,
            "promote: all traffic goes to the canary behind the last step. measure: an A/B test, which promotes nothing and ends with the effects and their intervals (default promote)",
        )),
        "afterwards" => optional(one_of(
            Afterwards::WORDS,
            "The weight after a measurement: stable sets 0, keep leaves the last step's (default stable)",
        )),
        "versions" => release::versions(),
        "deploy" => release::deploy(),
        "registry" => release::registry(),
        "steps" => steps(),
        "harmBudget" => optional(percentage(
            POSITIVE_SHARE,
            "Excess failures that the canary may cause, as a share of all traffic, such as 0.2%",
        )),
        "analysis" => optional(analysis()),
        "gates" => optional(list(
            object(&GATE_FIELDS, &["before", "url"], gate_field),
            0,
            MAX_HOOKS,
            "Web hooks that must answer 2xx before the rollout continues",
        )),
        "notify" => optional(list(
            object(&NOTIFY_FIELDS, &["on", "url"], notify_field),
            0,
            MAX_HOOKS,
            "Web hooks that are notified of events",
        )),
        "manual" => optional(flag("true: only the guard and an operator can roll this back")),
        "guardQuorum" => optional(whole(
            1,
            MAX_ENVOYS as u64,
            "Number of Envoys on which the guard must trip before the whole fleet is rolled back (default 1)",
        )),
        _ => json!({}),
    }
}

/// A condition to roll back on, or `manual: true`.
fn rollback_condition() -> Value {
    let aborts = json!({"properties": {"onFailure": {"enum": ["abort", null]}}});
    let metrics = json!({"required": ["metrics"], "properties": {"metrics": {"contains": aborts}}});
    json!({"anyOf": [
        {"required": ["manual"], "properties": {"manual": {"const": true}}},
        {"required": ["analysis"], "properties": {"analysis": with(metrics, json!({"type": "object"}))}},
    ]})
}

/// Only a measurement has a weight afterwards.
fn end_of_measurement() -> Value {
    let [_, measure] = Goal::WORDS;
    json!({
        "if": {"required": ["afterwards"], "properties": {"afterwards": {"type": "string"}}},
        "then": {"required": ["goal"], "properties": {"goal": {"const": measure}}},
    })
}

fn budget_of_auto() -> Value {
    json!({
        "if": {"properties": {"steps": {"const": "auto"}}},
        "then": {"required": ["harmBudget"], "properties": {"harmBudget": {"type": "string"}}},
    })
}

fn steps() -> Value {
    let mut entry = object(&ENTRY_FIELDS, &[], |field| match field {
        "setWeight" => optional(
            json!({"type": "number", "exclusiveMinimum": 0, "maximum": 100, "description": "The canary's share in percent, up to four decimals; each weight must exceed the one before"}),
        ),
        _ => optional(pause()),
    });
    let either = [("setWeight", "number"), ("pause", "object")]
        .map(|(field, kind)| json!({"required": [field], "properties": {field: {"type": kind}}}));
    merge(&mut entry, json!({"oneOf": either}));
    let entries = list(entry, 1, MAX_ENTRIES, "Weights, each with its pauses behind it");
    json!({
        "description": "Weights and pauses in order; `auto` stands for 1/5/10/25/50 % and needs a harmBudget",
        "oneOf": [{"const": "auto"}, entries],
    })
}

fn pause() -> Value {
    let mut pause = object(&PAUSE_FIELDS, &[], |field| match field {
        "duration" => optional(text(DURATION, "Time at this weight, such as 10m")),
        "minRequests" => {
            optional(whole(1, MAX_REQUESTS, "Number of canary requests since the step's start"))
        }
        "untilConfident" => {
            optional(flag("Wait until the canary is certified to be no worse than tolerated"))
        }
        _ => optional(text(DURATION, "Time after which the rollout pauses for an operator")),
    });
    let given =
        |field: &str, rule: Value| json!({"required": [field], "properties": {field: rule}});
    let kinds = json!({
        "description": "All of these conditions must hold; {} waits for `canaryctl promote`",
        "anyOf": [
            {"maxProperties": 0},
            given("duration", json!({"type": "string"})),
            given("minRequests", json!({"type": "integer"})),
            given("untilConfident", json!({"const": true})),
        ],
    });
    merge(&mut pause, kinds);
    pause
}

fn gate_field(field: &str) -> Value {
    match field {
        "before" => json!({
            "description": "`promotion`, or the weight of a step: the gate is asked before it",
            "anyOf": [{"const": "promotion"}, {"type": "number", "exclusiveMinimum": 0, "maximum": 100}],
        }),
        "url" => url(),
        _ => optional(text(DURATION, "Time limit of a request, at most 5m (default 10s)")),
    }
}

fn notify_field(field: &str) -> Value {
    match field {
        "on" => list(json!({"enum": Topic::ALL}), 1, Topic::ALL.len(), "Events to notify of"),
        _ => url(),
    }
}

fn analysis() -> Value {
    let metric = json!({"oneOf": MetricKind::ALL.map(metric)});
    let fields = ["falseAbort", "falsePause", "falseSplit", "splitMismatch", "metrics"];
    object(&fields, &["metrics"], |field| match field {
        "falseAbort" => optional(percentage(
            UP_TO_HALF,
            "Probability of rolling back a good canary, over the whole rollout and all metrics (default 1%)",
        )),
        "falsePause" => optional(percentage(
            UP_TO_HALF,
            "Probability of pausing for a good canary, over the whole rollout and all metrics that pause (default 5%)",
        )),
        "splitMismatch" => optional(one_of(
            SplitMismatch::ALL.map(|(word, _)| word),
            "Whether a sample ratio mismatch holds the rollout or is only reported (default hold)",
        )),
        "falseSplit" => optional(percentage(
            UP_TO_HALF,
            "Probability of a false alarm of the split check over the whole rollout (default 1%)",
        )),
        _ => list(metric.clone(), 0, MAX_METRICS, "What is compared between the two versions"),
    })
}

fn metric(kind: MetricKind) -> Value {
    let required: &[&str] = match kind {
        MetricKind::FailureRate | MetricKind::Latency => &["name", "kind"],
        MetricKind::Distribution | MetricKind::Values | MetricKind::Conversion => {
            &["name", "kind", "signal"]
        }
        MetricKind::Prometheus => &["name", "kind", "address", "query"],
    };
    let fields = metric_fields(kind);
    let mut metric = object(&fields, required, |field| metric_field(kind, field));
    if kind == MetricKind::Prometheus {
        let given = ["successCondition", "failureCondition"]
            .map(|field| json!({"required": [field], "properties": {field: {"type": "string"}}}));
        merge(&mut metric, json!({"anyOf": given}));
    }
    metric
}

fn metric_field(kind: MetricKind, field: &str) -> Value {
    match (kind, field) {
        (MetricKind::Prometheus, _) if !matches!(field, "kind" | "name" | "onFailure") => {
            prometheus::field(field)
        }
        (_, "kind") => json!({"const": kind.as_str()}),
        (_, "name") => text(r"^[A-Za-z0-9._-]{1,63}$", "The metric's name in messages"),
        (_, "signal") => text("^[a-z0-9_]{1,63}$", "A signal of the filter's configuration"),
        (_, "onFailure") => optional(one_of(
            OnFailure::ALL.map(OnFailure::as_str),
            "What happens when the canary is worse than tolerated: roll back, pause for an operator, or only report it (default abort)",
        )),
        (_, "ratio") => optional(factor(0.01, "The tolerated ratio of failures (default 1)")),
        (MetricKind::Latency, "tolerance") => optional(factor(
            1.0,
            "Tolerated factor: how many times slower the canary may be (default 1.1)",
        )),
        (MetricKind::Latency, "of") => optional(one_of(
            Timing::ALL.map(Timing::as_str),
            "What of a request's time is compared: all of it, the time to the first byte, or the mean time between chunks (default total)",
        )),
        (MetricKind::Latency, _) => optional(quantiles()),
        (MetricKind::Values, "tolerance") => optional(factor(
            1.0,
            "Tolerated factor: how many times higher or lower the canary's values may be (default 1.1)",
        )),
        (MetricKind::Values, "worse") => optional(one_of(
            Worse::ALL.map(Worse::as_str),
            "In which direction a change is a regression (default both)",
        )),
        (_, "margin" | "tolerance") => {
            let share = percentage(SHARE, "");
            optional(
                json!({"description": "The tolerated difference, such as 0.1%", "anyOf": [share, {"const": 0}]}),
            )
        }
        _ => json!({}),
    }
}

fn one_of<const N: usize>(words: [&str; N], description: &str) -> Value {
    json!({"description": description, "anyOf": [{"enum": words.as_slice()}]})
}

fn quantiles() -> Value {
    json!({
        "type": "object",
        "description": "Tolerated factors by quantile, each up to the next named one, such as {p50: 1.1, p99: 1.5}",
        "minProperties": 1, "maxProperties": QUANTILES.len(),
        "patternProperties": {QUANTILE: factor(1.0, "How many times slower")},
        "additionalProperties": false,
    })
}

/// An object with just these fields.
fn object(fields: &[&str], required: &[&str], schema: impl Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| ((*field).to_owned(), schema(field))).collect();
    let mut object =
        json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        merge(&mut object, json!({"required": required}));
    }
    object
}

fn list(items: Value, least: usize, most: usize, about: &str) -> Value {
    json!({"type": "array", "description": about, "items": items, "minItems": least, "maxItems": most})
}

fn text(pattern: &str, about: &str) -> Value {
    json!({"type": "string", "description": about, "pattern": pattern})
}

fn percentage(pattern: &str, about: &str) -> Value {
    with(text(pattern, about), json!({"maxLength": MAX_PERCENTAGE}))
}

fn url() -> Value {
    with(text(URL, "http:// or https://"), json!({"maxLength": MAX_URL}))
}

fn flag(about: &str) -> Value {
    json!({"type": "boolean", "description": about})
}

fn whole(least: u64, most: u64, about: &str) -> Value {
    json!({"type": "integer", "description": about, "minimum": least, "maximum": most})
}

fn factor(least: f64, about: &str) -> Value {
    json!({"type": "number", "description": about, "minimum": least, "maximum": 100})
}

/// A field whose name may stand there without a value.
fn optional(mut schema: Value) -> Value {
    let kind = schema.get("type").cloned();
    if let Some(Value::String(kind)) = kind {
        merge(&mut schema, json!({"type": [kind, "null"]}));
    } else if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.push(json!({"type": "null"}));
    }
    schema
}

fn with(mut schema: Value, more: Value) -> Value {
    merge(&mut schema, more);
    schema
}

fn merge(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}
