//! What Istio has no resource of its own for, as `EnvoyFilter`s: the early removal of clients' headers,
//! the kill switch, the idle timeout, and a listener for a controller in another pod.

use serde_json::{Value, json};

use super::{
    ADMIN_CLUSTER, CONTROL_PORT, ControllerLocation, DeployedRollout, Istio, Section, object,
    with_spec,
};

const API: &str = "networking.istio.io/v1alpha3";
const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const MANAGER_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.network.\
     http_connection_manager.v3.HttpConnectionManager";

/// Istio's gateways end no stream that is idle, so a stream that the other side has forgotten would stay
/// forever. Both roles have the same limit.
const IDLE_TIMEOUT: &str = "300s";

pub(super) fn section(istio: &Istio) -> Section {
    let mut patches = vec![early_removal(istio)];
    if istio.options.controller == ControllerLocation::Pods {
        patches.push(control_listener());
    }
    let first = filter(istio, "canary", patches);
    let rest = istio.rollouts.iter().map(|one| filter(istio, &one.canary_route(), routes(one)));
    Section {
        about: &[
            "What Istio has no resource of its own for. First, for the whole gateway: clients' copies of the",
            "filter's headers are removed before any filter runs, or while there is none. (And for a controller in",
            "another pod, the few paths of the admin interface that it needs.) Then, for each rollout: the kill",
            "switch, which Envoy itself reads at each request, and the time after which an idle stream ends.",
        ],
        documents: std::iter::once(first).chain(rest).collect(),
    }
}

fn filter(istio: &Istio, name: &str, patches: Vec<Value>) -> Value {
    let spec = json!({
        "workloadSelector": {"labels": istio.gateway_labels()},
        "configPatches": patches,
    });
    with_spec(object(API, "EnvoyFilter", name, istio.namespace()), spec)
}

/// Removes clients' copies of the headers. With `inherit`, the version header stays, because a front
/// proxy that already chose sends it.
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

/// The patches of a rollout's two routes.
fn routes(one: &DeployedRollout) -> Vec<Value> {
    let runtime_fraction = json!({
        "default_value": {"numerator": 100, "denominator": "HUNDRED"},
        "runtime_key": format!("canary.{}.enabled", one.rollout.name),
    });
    let idle = json!({"idle_timeout": IDLE_TIMEOUT});
    vec![
        patch(
            &one.canary_route(),
            &json!({"match": {"runtime_fraction": runtime_fraction}, "route": idle}),
        ),
        patch(&one.stable_route(), &json!({"route": idle})),
    ]
}

/// Merges `value` into the routes of this name.
fn patch(route: &str, value: &Value) -> Value {
    json!({
        "applyTo": "HTTP_ROUTE",
        "match": {"context": "GATEWAY", "routeConfiguration": {"vhost": {"route": {"name": route}}}},
        "patch": {"operation": "MERGE", "value": value},
    })
}

/// The admin listens on loopback only. This opens the four paths that the controller needs, each with
/// its one method, and nothing else: `/quitquitquit` is a 404 here.
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
