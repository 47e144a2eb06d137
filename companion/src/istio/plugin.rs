//! The filter itself: a `WasmPlugin` or a `TrafficExtension` on the gateway's pods.

use serde_json::{Value, json};

use super::{Extension, Istio, Section, object, with_spec};

const API: &str = "extensions.istio.io/v1alpha1";

/// The plugin's root context. The plain Envoy configuration uses the same name.
const ROOT: &str = "canary";

pub(super) fn section(istio: &Istio) -> Section {
    let document = match istio.options.extension {
        Extension::WasmPlugin => {
            let mut spec = wasm(istio);
            if let Some(fields) = spec.as_object_mut() {
                fields.insert("selector".to_owned(), selector(istio));
            }
            with_spec(object(API, "WasmPlugin", "canary", istio.namespace()), spec)
        }
        Extension::TrafficExtension => {
            let spec = json!({"selector": selector(istio), "wasm": wasm(istio)});
            with_spec(object(API, "TrafficExtension", "canary", istio.namespace()), spec)
        }
    };
    Section {
        about: &[
            "The filter, with every rollout of this gateway: a second plugin would remove the headers of this one.",
            "FAIL_OPEN: if the filter dies or can't be fetched, stable answers everything. It is applied after",
            "the routes, and after the patch that removes clients' headers, because it relies on both.",
        ],
        documents: vec![document],
    }
}

fn selector(istio: &Istio) -> Value {
    json!({"matchLabels": istio.gateway_labels()})
}

/// The fields that both resources share.
fn wasm(istio: &Istio) -> Value {
    let mut wasm = json!({
        "url": istio.options.images.wasm.clone().unwrap_or_else(|| example(istio)),
        "type": "HTTP",
        "failStrategy": "FAIL_OPEN",
        "imagePullPolicy": "IfNotPresent",
        "pluginName": ROOT,
        "pluginConfig": istio.filter,
    });
    if let (Some(digest), Some(fields)) = (&istio.options.images.sha256, wasm.as_object_mut()) {
        fields.insert("sha256".to_owned(), json!(digest));
    }
    wasm
}

/// An example URL of the module that fits: the one without body hooks, unless a signal reads bodies.
fn example(istio: &Istio) -> String {
    let reads = istio.config.rollouts.iter().any(|rollout| !rollout.body_fields().is_empty());
    let name = if reads { "canary-filter" } else { "canary-filter-headers" };
    format!("oci://registry.example.com/{name}:{}", env!("CARGO_PKG_VERSION"))
}
