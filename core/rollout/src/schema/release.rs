//! The schema of `versions`, `deploy` and `registry`.

use serde_json::{Value, json};

use super::{DURATION, URL, list, merge, object, optional, text, url, whole, with};
use crate::spec::fields::MAX_URL;
use crate::spec::read_release::{
    DEPLOY_FIELDS, MAX_ARGUMENT, MAX_ARGUMENTS, MAX_MODEL, MLFLOW_FIELDS, REGISTRY_FIELDS,
    VERSIONS_FIELDS,
};
use crate::spec::read_steps::MAX_REQUESTS;
use canary_model::names::MAX_NAME;

const VERSION: &str = "^(?!other$)[A-Za-z0-9][A-Za-z0-9._-]*$";
/// Neither query, fragment nor credentials.
const BASE_URL: &str = r"^[^?#@]*$";
const ALIAS: &str = r"^(?=.*\S)[^/:\x00-\x1f\x7f-\x9f]+$";

/// The versions of both roles, at least one of them.
pub(super) fn versions() -> Value {
    let mut versions = object(&VERSIONS_FIELDS, &[], |role| {
        let about = format!("The {role} version, in quotes");
        optional(with(text(VERSION, &about), json!({"maxLength": MAX_NAME})))
    });
    let given = VERSIONS_FIELDS
        .map(|field| json!({"required": [field], "properties": {field: {"type": "string"}}}));
    merge(
        &mut versions,
        json!({
            "description": "Version labels, set in Envoy's runtime with the first weight (default: those of Envoy's configuration)",
            "anyOf": given,
        }),
    );
    optional_object(versions)
}

/// A command, a URL, or neither and the number of requests.
pub(super) fn deploy() -> Value {
    let mut deploy = object(&DEPLOY_FIELDS, &[], |field| match field {
        "command" => {
            let part =
                json!({"type": "string", "maxLength": MAX_ARGUMENT, "pattern": r"^[^\x00]*$"});
            let about = "A program and its arguments, run without a shell in this file's folder; it exits with 0 when the version serves";
            let first = with(part.clone(), json!({"minLength": 1}));
            let command = list(part, 1, MAX_ARGUMENTS, about);
            optional(with(command, json!({"prefixItems": [first]})))
        }
        "url" => optional(url()),
        "timeout" => {
            optional(text(DURATION, "Time limit of the command or URL, at most 24h (default 10m)"))
        }
        _ => optional(whole(
            1,
            MAX_REQUESTS,
            "Number of requests of each version that the handover to the new stable judges (default 500)",
        )),
    });
    let given =
        |field: &str, rule: Value| json!({"required": [field], "properties": {field: rule}});
    let (command, url) =
        (given("command", json!({"type": "array"})), given("url", json!({"type": "string"})));
    let requests = with(
        given("minRequests", json!({"type": "integer"})),
        json!({"not": given("timeout", json!({"type": "string"}))}),
    );
    merge(
        &mut deploy,
        json!({
            "description": "How a version gets into a place, and how much the handover to the new stable judges",
            "anyOf": [command.clone(), url.clone(), requests],
            "not": {"allOf": [command, url]},
        }),
    );
    optional_object(deploy)
}

/// An MLflow registry with its aliases.
pub(super) fn registry() -> Value {
    let name = |about: &str| with(text(ALIAS, about), json!({"maxLength": MAX_MODEL}));
    let mut registry = object(&REGISTRY_FIELDS, &REGISTRY_FIELDS, |_| {
        object(&MLFLOW_FIELDS, &["uri", "model"], |field| match field {
            "uri" => with(
                text(URL, "The tracking server's base URL, without credentials"),
                json!({"maxLength": MAX_URL, "allOf": [{"pattern": BASE_URL}]}),
            ),
            "model" => name("The registered model's name"),
            "candidate" => optional(name(
                "The alias that starts a version's rollout when it is set (default challenger)",
            )),
            "champion" => optional(name("The alias of the version that serves (default champion)")),
            _ => optional(text(
                DURATION,
                "Time between two questions to the registry, 1s to 1h (default 5s)",
            )),
        })
    });
    merge(
        &mut registry,
        json!({"description": "The registry that starts rollouts and is told their results; it needs `canaryctl serve`"}),
    );
    optional_object(registry)
}

/// An object with an `anyOf` of its own, whose name may stand there without a value.
fn optional_object(mut schema: Value) -> Value {
    let empty = schema.as_object_mut().and_then(|fields| fields.remove("description"));
    json!({"description": empty, "anyOf": [schema, {"type": "null"}]})
}
