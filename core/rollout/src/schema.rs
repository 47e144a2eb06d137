//! The JSON schema of rollout files, for editors: completion, and red lines while typing.
//!
//! It is made of the tables that the reader goes by. A schema knows the form alone; what holds between
//! the parts of a file (rising weights, names of their own) only [`Spec::read`](super::spec::Spec::read)
//! knows, which `canaryctl lint` asks.

use serde_json::{Map, Value, json};

use super::spec::Topic;
use super::spec::read::{FIELDS, GATE_FIELDS, MAX_ENVOYS, MAX_HOOKS, MAX_URL, NOTIFY_FIELDS};
use super::spec::read_steps::{ENTRY_FIELDS, MAX_ENTRIES, MAX_REQUESTS, PAUSE_FIELDS};
use canary_judge::spec::{Kind, MAX_METRICS, QUANTILES, metric_fields};

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
        "description": "How a canary gets its traffic, and what rolls it back. `canaryctl lint -f FILE` checks what a schema can't.",
        "allOf": [rollback_condition(), budget_of_auto()],
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
                "The Envoys' admin interfaces; else those of --envoy or CANARYCTL_ENVOYS",
            ),
            json!({"uniqueItems": true}),
        )),
        "lease" => optional(text(
            WHOLE_SECONDS,
            "How long a weight holds if the controller dies: whole seconds, 1s to 24h (default 30s)",
        )),
        "steps" => steps(),
        "harmBudget" => optional(percentage(
            POSITIVE_SHARE,
            "Failures that the canary may add, as a share of all traffic, such as 0.2%",
        )),
        "analysis" => optional(analysis()),
        "gates" => optional(list(
            object(&GATE_FIELDS, &["before", "url"], gate_field),
            0,
            MAX_HOOKS,
            "Web hooks that must answer 2xx before the rollout goes on",
        )),
        "notify" => optional(list(
            object(&NOTIFY_FIELDS, &["on", "url"], notify_field),
            0,
            MAX_HOOKS,
            "Web hooks that are told what happens",
        )),
        "manual" => optional(flag("true: nothing can roll this back but a person and the guard")),
        "guardQuorum" => optional(whole(
            1,
            MAX_ENVOYS as u64,
            "On how many Envoys the guard must trip to roll the fleet back (default 1)",
        )),
        _ => json!({}),
    }
}

/// A condition to roll back on, or `manual: true`.
fn rollback_condition() -> Value {
    let metrics = json!({"required": ["metrics"], "properties": {"metrics": {"minItems": 1}}});
    json!({"anyOf": [
        {"required": ["manual"], "properties": {"manual": {"const": true}}},
        {"required": ["analysis"], "properties": {"analysis": with(metrics, json!({"type": "object"}))}},
    ]})
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
            json!({"type": "number", "exclusiveMinimum": 0, "maximum": 100, "description": "The canary's share in percent, up to four decimals; weights rise"}),
        ),
        _ => optional(pause()),
    });
    let either = [("setWeight", "number"), ("pause", "object")]
        .map(|(field, kind)| json!({"required": [field], "properties": {field: {"type": kind}}}));
    merge(&mut entry, json!({"oneOf": either}));
    let entries = list(entry, 1, MAX_ENTRIES, "Weights, each with its pauses behind it");
    json!({
        "description": "Weights and pauses in turn; `auto` is the ladder 1/5/10/25/50 %, which needs a harmBudget",
        "oneOf": [{"const": "auto"}, entries],
    })
}

fn pause() -> Value {
    let mut pause = object(&PAUSE_FIELDS, &[], |field| match field {
        "duration" => optional(text(DURATION, "So much time at this weight, such as 10m")),
        "minRequests" => {
            optional(whole(1, MAX_REQUESTS, "So many canary requests since the step's start"))
        }
        "untilConfident" => optional(flag("Until the canary is certainly no worse than tolerated")),
        _ => optional(text(DURATION, "After so much time a person decides")),
    });
    let given =
        |field: &str, rule: Value| json!({"required": [field], "properties": {field: rule}});
    let kinds = json!({
        "description": "All of these must hold; {} waits for `canaryctl promote`",
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
            "description": "promotion, or the weight that a step sets",
            "anyOf": [{"const": "promotion"}, {"type": "number", "exclusiveMinimum": 0, "maximum": 100}],
        }),
        "url" => url(),
        _ => optional(text(DURATION, "How long an answer may take, at most 5m (default 10s)")),
    }
}

fn notify_field(field: &str) -> Value {
    match field {
        "on" => list(json!({"enum": Topic::ALL}), 1, Topic::ALL.len(), "What it is told"),
        _ => url(),
    }
}

fn analysis() -> Value {
    let metric = json!({"oneOf": Kind::ALL.map(metric)});
    object(&["falseAbort", "metrics"], &["metrics"], |field| match field {
        "falseAbort" => optional(percentage(
            UP_TO_HALF,
            "The probability of rolling a good canary back, over the whole rollout (default 1%)",
        )),
        _ => list(metric.clone(), 0, MAX_METRICS, "What is compared"),
    })
}

fn metric(kind: Kind) -> Value {
    let required: &[&str] = match kind {
        Kind::FailureRate | Kind::Latency => &["name", "kind"],
        Kind::Distribution | Kind::Conversion => &["name", "kind", "signal"],
        Kind::Prometheus => &["name", "kind", "address", "query"],
    };
    let fields = metric_fields(kind);
    let mut metric = object(&fields, required, |field| metric_field(kind, field));
    if kind == Kind::Prometheus {
        let given = ["successCondition", "failureCondition"]
            .map(|field| json!({"required": [field], "properties": {field: {"type": "string"}}}));
        merge(&mut metric, json!({"anyOf": given}));
    }
    metric
}

fn metric_field(kind: Kind, field: &str) -> Value {
    match (kind, field) {
        (_, "kind") => json!({"const": kind.as_str()}),
        (_, "name") => text(r"^[A-Za-z0-9._-]{1,63}$", "Its name in verdicts and reasons"),
        (_, "signal") => text("^[a-z0-9_]{1,63}$", "A signal of the filter's configuration"),
        (_, "ratio") => optional(factor(0.01, "The tolerated ratio of failures (default 1)")),
        (Kind::Latency, "tolerance") => {
            optional(factor(1.0, "How many times slower the canary may be (default 1.1)"))
        }
        (Kind::Latency, _) => optional(quantiles()),
        (_, "margin" | "tolerance") => {
            let share = percentage(SHARE, "");
            optional(
                json!({"description": "The tolerated difference, such as 0.1%", "anyOf": [share, {"const": 0}]}),
            )
        }
        (_, "address") => with(text(ADDRESS, "Prometheus' base URL"), json!({"maxLength": 8192})),
        (_, "query") => with(text(r"\S", "A PromQL query"), json!({"maxLength": 8192})),
        (_, "interval") => {
            optional(text(DURATION, "Between two measurements, at least 1s (default 60s)"))
        }
        (_, "initialDelay") => {
            optional(text(ANY_DURATION, "Before the first measurement (default 0s)"))
        }
        (_, "count") => {
            optional(whole(1, 1_000_000, "After so many measurements it is done (default: never)"))
        }
        (_, "failureLimit") => {
            optional(whole(0, 1_000_000, "How many measurements may fail (default 0)"))
        }
        (_, "inconclusiveLimit") => {
            optional(whole(0, 1_000_000, "How many may be neither good nor bad (default 0)"))
        }
        _ => optional(text(r"\S", "A condition such as `result > 0.9`")),
    }
}

fn quantiles() -> Value {
    json!({
        "type": "object",
        "description": "Tolerances by quantile, each up to the next named one, such as {p50: 1.1, p99: 1.5}",
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
