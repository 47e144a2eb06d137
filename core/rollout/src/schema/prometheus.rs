//! The fields of a Prometheus metric.

use serde_json::{Value, json};

use super::{ADDRESS, ANY_DURATION, DURATION, optional, text, whole, with};

/// The schema of a field that only Prometheus metrics have.
pub(super) fn field(field: &str) -> Value {
    match field {
        "address" => with(text(ADDRESS, "Prometheus' base URL"), json!({"maxLength": 8192})),
        "headers" => optional(headers()),
        "tokenFile" => optional(path("A file with a bearer token; it is read for every query")),
        "usernameFile" => optional(path("A file with a user's name; goes with passwordFile")),
        "passwordFile" => optional(path("A file with a password; it is read for every query")),
        "query" => with(text(r"\S", "A PromQL query"), json!({"maxLength": 8192})),
        "interval" => {
            optional(text(DURATION, "Time between two measurements, at least 1s (default 60s)"))
        }
        "initialDelay" => {
            optional(text(ANY_DURATION, "Time before the first measurement (default 0s)"))
        }
        "count" => optional(whole(
            1,
            1_000_000,
            "Number of measurements after which the metric is done (default: no limit)",
        )),
        "failureLimit" => optional(whole(
            0,
            1_000_000,
            "Number of measurements that may fail; one more fails the metric (default 0)",
        )),
        "inconclusiveLimit" => optional(whole(
            0,
            1_000_000,
            "Number of measurements that may be neither a success nor a failure (default 0)",
        )),
        _ => optional(text(r"\S", "A condition on the query's result, such as `result > 0.9`")),
    }
}

fn path(description: &str) -> Value {
    with(text(r"^[\s\S]+$", description), json!({"maxLength": 4096}))
}

fn headers() -> Value {
    let value = with(text(r"^[!-~]([ -~]*[!-~])?$", "Its value"), json!({"maxLength": 4096}));
    json!({
        "description": "Headers that queries are sent with, by name; values never appear in messages or journals",
        "type": "object",
        "maxProperties": 32,
        "propertyNames": {"pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"},
        "additionalProperties": value,
    })
}
