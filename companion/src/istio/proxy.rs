//! What Istio has no resource of its own for, as `EnvoyFilter`: the client's headers removed before
//! anything runs, the kill switch, and a way for a controller in another pod.

use serde_json::{Value, json};

use super::{ADMIN_CLUSTER, CONTROL_PORT, Istio, Section, Where, object, with_spec};

const API: &str = "networking.istio.io/v1alpha3";
const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const MANAGER_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.network.\
     http_connection_manager.v3.HttpConnectionManager";

pub(super) fn section(istio: &Istio) -> Section {
    let mut patches = vec![early_removal(istio)];
    if istio.controller == Where::Pods {
        patches.push(control_listener());
    }
    Section {
        about: &[
            "What Istio has no resource of its own for. First: a client's copies of the filter's headers are gone",
            "before any filter runs, or before there is one. (And, for a controller in another pod, the few paths of",
            "the admin that it needs.) Second: the kill switch, read by Envoy itself at each request.",
        ],
        documents: vec![
            filter(istio, "canary", patches),
            filter(istio, &istio.canary_route(), vec![kill_switch(istio)]),
        ],
    }
}

fn filter(istio: &Istio, name: &str, patches: Vec<Value>) -> Value {
    let spec = json!({
        "workloadSelector": {"labels": istio.gateway_labels()},
        "configPatches": patches,
    });
    with_spec(object(API, "EnvoyFilter", name, &istio.gateway_namespace), spec)
}

/// Behind a front that already chose, `inherit` needs the version header.
fn early_removal(istio: &Istio) -> Value {
    let headers = &istio.config.headers;
    let inherits = istio.config.rollouts.iter().any(|rollout| rollout.inherit);
    let removed = std::iter::once(&headers.route).chain((!inherits).then_some(&headers.version));
    let mutations: Vec<Value> = removed.map(|header| json!({"remove": header})).collect();
    json!({
        "applyTo": "NETWORK_FILTER",
        "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": {"name": MANAGER}}}},
        "patch": {"operation": "MERGE", "value": {"typed_config": {
            "@type": MANAGER_TYPE,
            "early_header_mutation_extensions": [{
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    "mutations": mutations,
                },
            }],
        }}},
    })
}

fn kill_switch(istio: &Istio) -> Value {
    let runtime_fraction = json!({
        "default_value": {"numerator": 100, "denominator": "HUNDRED"},
        "runtime_key": format!("canary.{}.enabled", istio.rollout.name),
    });
    json!({
        "applyTo": "HTTP_ROUTE",
        "match": {
            "context": "GATEWAY",
            "routeConfiguration": {"vhost": {"route": {"name": istio.canary_route()}}},
        },
        "patch": {"operation": "MERGE", "value": {"match": {"runtime_fraction": runtime_fraction}}},
    })
}

/// The admin listens on loopback alone. This shows the controller the four paths that it needs, each
/// by its one method, and nothing else: `/quitquitquit` is a 404 here.
fn control_listener() -> Value {
    let route = |method: &str, path: &str| {
        json!({
            "match": {"path": path, "headers": [{"name": ":method", "string_match": {"exact": method}}]},
            "route": {"cluster": ADMIN_CLUSTER},
        })
    };
    let mut dump = route("GET", "/config_dump");
    if let Some(fields) = dump.get_mut("match").and_then(Value::as_object_mut) {
        let regex = "ecds_filters|dynamic_listeners|static_listeners";
        let which = json!([{"name": "resource", "string_match": {"safe_regex": {"regex": regex}}}]);
        fields.insert("query_parameters".to_owned(), which);
    }
    let routes =
        [route("GET", "/stats"), route("GET", "/runtime"), dump, route("POST", "/runtime_modify")];
    json!({
        "applyTo": "LISTENER",
        "match": {"context": "GATEWAY"},
        "patch": {"operation": "ADD", "value": {
            "name": "canary-control",
            "address": {"socket_address": {"address": "0.0.0.0", "port_value": CONTROL_PORT}},
            "filter_chains": [{"filters": [{
                "name": MANAGER,
                "typed_config": {
                    "@type": MANAGER_TYPE,
                    "stat_prefix": "canary_control",
                    "route_config": {"name": "canary-control", "virtual_hosts": [
                        {"name": "canary-control", "domains": ["*"], "routes": routes},
                    ]},
                    "http_filters": [{
                        "name": "envoy.filters.http.router",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                        },
                    }],
                },
            }]}],
        }},
    })
}
