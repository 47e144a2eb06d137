//! The filter itself: a `WasmPlugin` or a `TrafficExtension` on the gateway's pods.

use serde_json::{Value, json};

use super::{Extension, Istio, Section, object, with_spec};

const API: &str = "extensions.istio.io/v1alpha1";

/// The plugin's root context. Envoy's own configuration calls it so, too.
const ROOT: &str = "canary";

pub(super) fn section(istio: &Istio) -> Section {
    let document = match istio.extension {
        Extension::WasmPlugin => {
            let mut spec = wasm(istio);
            if let Some(fields) = spec.as_object_mut() {
                fields.insert("selector".to_owned(), selector(istio));
            }
            with_spec(object(API, "WasmPlugin", "canary", &istio.gateway_namespace), spec)
        }
        Extension::TrafficExtension => {
            let spec = json!({"selector": selector(istio), "wasm": wasm(istio)});
            with_spec(object(API, "TrafficExtension", "canary", &istio.gateway_namespace), spec)
        }
    };
    Section {
        about: &[
            "The filter. FAIL_OPEN: should it die, or not be had, stable answers everything.",
            "It comes last, for it needs the routes, and the client's headers gone.",
        ],
        documents: vec![document],
    }
}

fn selector(istio: &Istio) -> Value {
    json!({"matchLabels": istio.gateway_labels()})
}

/// What both resources call alike.
fn wasm(istio: &Istio) -> Value {
    let mut wasm = json!({
        "url": istio.images.wasm.clone().unwrap_or_else(|| example(istio)),
        "type": "HTTP",
        "failStrategy": "FAIL_OPEN",
        "imagePullPolicy": "IfNotPresent",
        "pluginName": ROOT,
        "pluginConfig": istio.filter,
    });
    if let (Some(digest), Some(fields)) = (&istio.images.sha256, wasm.as_object_mut()) {
        fields.insert("sha256".to_owned(), json!(digest));
    }
    wasm
}

/// Where a module that fits would be: the one without body hooks, unless a signal reads bodies.
fn example(istio: &Istio) -> String {
    let reads = istio.config.rollouts.iter().any(|rollout| rollout.reads_bodies());
    let name = if reads { "canary-filter" } else { "canary-filter-headers" };
    format!("oci://registry.example.com/{name}:{}", env!("CARGO_PKG_VERSION"))
}
