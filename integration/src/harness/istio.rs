//! What Istio makes of the manifests in `envoy/istio/`, for an Envoy without a cluster around it: the
//! bootstrap of a gateway's proxy, the routes of a VirtualService, the clusters of a DestinationRule,
//! the extension as ECDS brings it, and the patches of the EnvoyFilters.
//!
//! The names, the lists and the shapes are those of Istio's sources (tools/packaging/common/
//! envoy_bootstrap.json, pkg/bootstrap/config.go, pilot/pkg/model, pkg/wasm/convert.go). What differs:
//! clusters have their endpoints at once, and ECDS comes from a file.

use std::fs;

use serde_json::{Map, Value, json};

use crate::harness::artifacts;
use crate::harness::bootstrap::{Bootstrap, BootstrapNames, named};
use crate::harness::plugin::FilterPlugin;

/// Which resource carries the filter: it has another name in Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A `WasmPlugin`, with the controller in another pod.
    WasmPlugin,
    /// A `TrafficExtension`, with the controller beside the gateway.
    TrafficExtension,
}

const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.\
     http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";

/// How Istio calls the gateway's listener for port 80, which is 8080 in the pod.
const LISTENER: &str = "0.0.0.0_8080";

impl Carrier {
    /// The shipped manifests with it.
    pub(crate) fn manifests(self) -> Vec<Value> {
        let file = match self {
            Self::WasmPlugin => "envoy/istio/canary.yaml",
            Self::TrafficExtension => "envoy/istio/canary-sidecar.yaml",
        };
        let text = fs::read_to_string(artifacts::root().join(file)).expect("the manifests");
        serde_saphyr::from_multiple(&text).expect("the manifests are YAML")
    }

    /// The filter's name in Envoy.
    fn filter(self) -> &'static str {
        match self {
            Self::WasmPlugin => "extensions.istio.io/wasmplugin/istio-ingress.canary",
            Self::TrafficExtension => "extensions.istio.io/trafficextension/istio-ingress.canary",
        }
    }
}

/// The bootstrap with everything that Istio's discovery services would add to it.
pub(crate) fn bootstrap(carrier: Carrier, manifests: &[Value]) -> Bootstrap {
    let mut document = gateway();
    document["static_resources"]["listeners"] = json!([listener(manifests, carrier)]);
    let clusters = subsets(manifests).into_iter().map(cluster);
    list(&mut document["static_resources"]["clusters"]).extend(clusters);
    for filter in of_kind(manifests, "EnvoyFilter") {
        for patch in filter["spec"]["configPatches"].as_array().expect("patches") {
            apply(&mut document["static_resources"]["listeners"], patch);
        }
    }
    let names = BootstrapNames {
        listener: LISTENER.to_owned(),
        filter: carrier.filter().to_owned(),
        admin: "prometheus_stats".to_owned(),
        endpoints_say: false,
    };
    Bootstrap::from_document(document, names)
}

/// The extension as it comes by ECDS, the module fetched already.
pub(crate) fn plugin(carrier: Carrier, manifests: &[Value]) -> FilterPlugin {
    let wasm = match carrier {
        Carrier::WasmPlugin => of_kind(manifests, "WasmPlugin")[0]["spec"].clone(),
        Carrier::TrafficExtension => {
            of_kind(manifests, "TrafficExtension")[0]["spec"]["wasm"].clone()
        }
    };
    assert_eq!(wasm["failStrategy"], "FAIL_OPEN");
    let environment = json!({"key_values": {
        "ISTIO_META_WASM_IMAGE_PULL_POLICY": wasm["imagePullPolicy"],
        "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1",
    }});
    let document = json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": carrier.filter(),
        "typed_config": {"@type": WASM, "config": {
            "name": "istio-ingress.canary",
            "root_id": wasm["pluginName"],
            "failure_policy": "FAIL_OPEN",
            "vm_config": {
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": "dist/canary_filter_headers.wasm"}},
                "environment_variables": environment,
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": ""},
        }},
    }]});
    FilterPlugin::from_document(document, wasm["pluginConfig"].clone())
}

/// What Istio's agent delivers in the filter's place when the module can't be had and FAIL_OPEN is
/// said: a filter that lets everything pass.
#[must_use]
pub fn instead_of_a_missing_module(carrier: Carrier) -> String {
    json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": carrier.filter(),
        "typed_config": {"@type": RBAC},
    }]})
    .to_string()
}

/// The bootstrap of Istio's proxy, as far as it bears on anything here.
fn gateway() -> Value {
    let prefixes = [
        "reporter=",
        "cluster_manager",
        "listener_manager",
        "server",
        "cluster.xds-grpc",
        "wasm",
        "component",
        "istio",
    ];
    let prefixes = prefixes.iter().map(|prefix| json!({"prefix": prefix}));
    let suffixes = ["rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied"];
    let suffixes = suffixes.iter().map(|suffix| json!({"suffix": suffix}));
    let patterns: Vec<Value> = prefixes.chain(suffixes).collect();
    let tag = |name: &str, regex: &str| json!({"tag_name": name, "regex": regex});
    json!({
        "node": {"id": "router~10.0.0.1~gateway.istio-ingress~istio-ingress.svc.cluster.local",
                 "cluster": "gateway.istio-ingress"},
        "admin": {"address": {}},
        "layered_runtime": {"layers": [
            {"name": "global config", "static_layer": {"re2.max_program_size.error_level": "32768"}},
            {"name": "admin", "admin_layer": {}},
        ]},
        "stats_config": {
            "use_all_default_tags": false,
            "stats_tags": [
                tag("response_code", "_rq(_(\\d{3}))$"),
                tag("response_code_class", "_rq(_(\\dxx))$"),
                tag("cache", "(cache\\.(.+?)\\.)"),
                tag("component", "(component\\.(.+?)\\.)"),
                tag("wasm_filter", "(wasm_filter\\.(.+?)\\.)"),
            ],
            "stats_matcher": {"inclusion_list": {"patterns": patterns}},
        },
        "static_resources": {"listeners": [], "clusters": [cluster("prometheus_stats".to_owned())]},
    })
}

/// Istio's names of all subsets, by the DestinationRules and the services' ports.
fn subsets(manifests: &[Value]) -> Vec<String> {
    let mut names = Vec::new();
    for rule in of_kind(manifests, "DestinationRule") {
        let service = of_kind(manifests, "Service")
            .into_iter()
            .find(|service| service["metadata"]["name"] == rule["metadata"]["name"])
            .expect("a service for the rule");
        for subset in rule["spec"]["subsets"].as_array().expect("subsets") {
            let port = &service["spec"]["ports"][0]["port"];
            names.push(outbound(port, &subset["name"], &rule["spec"]["host"]));
        }
    }
    names
}

fn outbound(port: &Value, subset: &Value, host: &Value) -> String {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    format!("outbound|{port}|{}|{}", text(subset), text(host))
}

fn cluster(name: String) -> Value {
    let nowhere = json!({"socket_address": {"address": "127.0.0.1", "port_value": 1}});
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "10s",
        "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": nowhere}}]},
        ]},
    })
}

/// The gateway's listener with the routes of the VirtualServices. No default configuration for the
/// filter: Istio has none.
fn listener(manifests: &[Value], carrier: Carrier) -> Value {
    let filter = json!({
        "name": carrier.filter(),
        "config_discovery": {
            "config_source": {"path_config_source": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "type_urls": [WASM, RBAC],
        },
    });
    let hosts: Vec<Value> =
        of_kind(manifests, "VirtualService").into_iter().flat_map(virtual_hosts).collect();
    json!({
        "name": LISTENER,
        "address": {},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": MANAGER,
                "stat_prefix": "outbound_0.0.0.0_8080",
                "use_remote_address": true,
                "route_config": {"name": "http.8080", "virtual_hosts": hosts},
                "http_filters": [filter, {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
            },
        }]}],
    })
}

fn virtual_hosts(service: &Value) -> Vec<Value> {
    let spec = &service["spec"];
    let routes: Vec<Value> =
        spec["http"].as_array().expect("routes").iter().flat_map(routes).collect();
    let host = |host: &Value| {
        let host = host.as_str().expect("a host");
        // Envoy has no domain with a wildcard at both ends; Istio lets it ignore ports instead.
        let with_port = (!host.starts_with('*')).then(|| format!("{host}:*"));
        let domains: Vec<String> = std::iter::once(host.to_owned()).chain(with_port).collect();
        json!({"name": format!("{host}:80"), "domains": domains, "routes": routes})
    };
    spec["hosts"].as_array().expect("hosts").iter().map(host).collect()
}

/// One route for each match of an HTTP route; Istio retries as by default.
fn routes(http: &Value) -> Vec<Value> {
    let to = &http["route"][0]["destination"];
    let route = |one: &Value| {
        let prefix = one["uri"]["prefix"].as_str().unwrap_or("/");
        let headers: Vec<Value> = one["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| json!({"name": name, "string_match": {"exact": value["exact"]}}))
            .collect();
        json!({
            "name": http["name"],
            "match": {"prefix": prefix, "case_sensitive": true, "headers": headers},
            "route": {
                "cluster": outbound(&to["port"]["number"], &to["subset"], &to["host"]),
                "timeout": "0s",
                "retry_policy": {
                    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                    "num_retries": 2,
                    "retriable_status_codes": [503],
                },
            },
        })
    };
    match http["match"].as_array() {
        Some(matches) => matches.iter().map(route).collect(),
        None => vec![route(&json!({}))],
    }
}

/// Applies one patch of an EnvoyFilter.
fn apply(listeners: &mut Value, patch: &Value) {
    let (operation, value) = (&patch["patch"]["operation"], &patch["patch"]["value"]);
    let manager = &mut named(listeners, LISTENER)["filter_chains"][0]["filters"][0];
    match (patch["applyTo"].as_str(), operation.as_str()) {
        (Some("NETWORK_FILTER"), Some("MERGE")) => {
            let name = &patch["match"]["listener"]["filterChain"]["filter"]["name"];
            assert_eq!(&manager["name"], name, "the patch finds its filter");
            merge(manager, value);
        }
        (Some("HTTP_ROUTE"), Some("MERGE")) => {
            let name = &patch["match"]["routeConfiguration"]["vhost"]["route"]["name"];
            let hosts = &mut manager["typed_config"]["route_config"]["virtual_hosts"];
            let routes = list(hosts).iter_mut().flat_map(|host| list(&mut host["routes"]));
            let mut named: Vec<&mut Value> =
                routes.filter(|route| &route["name"] == name).collect();
            assert!(!named.is_empty(), "the patch finds its route");
            named.iter_mut().for_each(|route| merge(route, value));
        }
        (Some("LISTENER"), Some("ADD")) => {
            let mut value = value.clone();
            // Tests run side by side, so the system chooses the port.
            value["address"]["socket_address"] = json!({"address": "127.0.0.1", "port_value": 0});
            list(listeners).push(value);
        }
        other => panic!("Istio is not told here how to apply {other:?}"),
    }
}

/// As protobuf merges: fields one by one, lists one behind the other.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            let each = |into: &mut Map<String, Value>, (name, value): (&String, &Value)| {
                merge(into.entry(name).or_insert(Value::Null), value);
            };
            from.iter().for_each(|field| each(into, field));
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}

fn list(value: &mut Value) -> &mut Vec<Value> {
    value.as_array_mut().expect("a list")
}

fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> Vec<&'a Value> {
    manifests.iter().filter(|one| one["kind"] == kind).collect()
}
