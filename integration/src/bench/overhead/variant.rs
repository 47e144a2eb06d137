//! What is held against what: Envoy's own split, a filter that does nothing, a Lua filter, ours.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bench::BenchTarget::{self, AtLeast, AtMost};
use crate::harness::bootstrap::Bootstrap;
use crate::harness::plugin::FilterPlugin;
use crate::{ClientRequest, artifacts};

/// One way to split traffic, or not to.
pub(super) struct OverheadVariant {
    pub(super) name: &'static str,
    /// The percentage of the answers with a version that should have the canary's; `None`: answers have no version.
    pub(super) canary_percent: Option<f64>,
    /// For processor time a request, against native.
    pub(super) cpu: Option<BenchTarget>,
    /// For requests a second, against native.
    pub(super) rate: Option<BenchTarget>,
    /// For processor time a request of 300 KB, against native; none: not measured.
    pub(super) big: Option<Option<BenchTarget>>,
    setup: Setup,
}

enum Setup {
    Native,
    ShippedWithoutFilter,
    Empty,
    Lua,
    Ours(Ours),
}

struct Ours {
    module: fn() -> PathBuf,
    percent: u32,
    affinity: bool,
}

/// The names of the two versions in the shipped configuration.
pub(super) const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];
/// The header that tells the clients apart.
pub(super) const CLIENT_HEADER: &str = "x-user-id";
/// The two that nothing is done in but Envoy's own split: the reference, and the control.
pub(super) const NATIVE: [&str; 2] = ["native", "native again"];

impl OverheadVariant {
    fn new(name: &'static str, canary_percent: Option<f64>, setup: Setup) -> Self {
        Self { name, canary_percent, cpu: None, rate: None, big: None, setup }
    }

    fn ours(name: &'static str, module: fn() -> PathBuf, percent: u32, affinity: bool) -> Self {
        let setup = Setup::Ours(Ours { module, percent, affinity });
        Self::new(name, Some(f64::from(percent)), setup)
    }

    /// Whether it is what the others are held against.
    pub(super) fn is_reference(&self) -> bool {
        self.name == NATIVE[0]
    }

    fn with_big_bodies(self, target: Option<BenchTarget>) -> Self {
        Self { big: Some(target), ..self }
    }

    /// Envoy's bootstrap, and the filter where it is to come by ECDS.
    pub(super) fn prepare(&self) -> (Bootstrap, Option<FilterPlugin>) {
        let mut bootstrap = Bootstrap::shipped("envoy/envoy.yaml");
        match &self.setup {
            Setup::Native => native(&mut bootstrap),
            Setup::ShippedWithoutFilter => filters(&mut bootstrap, &[]),
            Setup::Empty => {
                native(&mut bootstrap);
                filters(&mut bootstrap, &[empty()]);
            }
            Setup::Lua => filters(&mut bootstrap, &[lua()]),
            Setup::Ours(ours) => return (bootstrap, Some(ours.plugin())),
        }
        (bootstrap, None)
    }
}

impl Ours {
    fn plugin(&self) -> FilterPlugin {
        let mut plugin = FilterPlugin::shipped();
        plugin.code(&(self.module)());
        let rollout = &mut plugin.configuration()["rollouts"][0];
        rollout["weight"] = self.percent.into();
        if self.affinity {
            rollout["affinity"] = json!([{"header": CLIENT_HEADER}]);
        }
        plugin
    }
}

/// All of them. The two native ones stand half a round apart.
pub(super) fn all() -> Vec<OverheadVariant> {
    let (headers, full) = (artifacts::filter_headers, artifacts::filter);
    let ours = OverheadVariant {
        cpu: Some(AtMost(1.08)),
        rate: Some(AtLeast(0.95)),
        ..OverheadVariant::ours("ours, random 5 %", headers, 5, false)
    };
    let affinity = OverheadVariant {
        cpu: Some(AtMost(1.10)),
        ..OverheadVariant::ours("ours, affinity 5 %", headers, 5, true)
    };
    vec![
        OverheadVariant::new(NATIVE[0], Some(5.0), Setup::Native).with_big_bodies(None),
        ours.with_big_bodies(Some(AtMost(1.02))),
        OverheadVariant::new("empty filter", Some(5.0), Setup::Empty),
        affinity,
        OverheadVariant::new("shipped, no filter", None, Setup::ShippedWithoutFilter),
        OverheadVariant::new(NATIVE[1], Some(5.0), Setup::Native).with_big_bodies(None),
        OverheadVariant::ours("ours with body hooks, random 5 %", full, 5, false)
            .with_big_bodies(None),
        OverheadVariant::new("Lua filter", Some(5.0), Setup::Lua),
        OverheadVariant::ours("ours, random 50 %", headers, 50, false),
    ]
}

/// The one that idle and memory are measured with, and the one without a filter beside it.
pub(super) fn with_and_without() -> [OverheadVariant; 2] {
    let with = OverheadVariant::ours("with the filter", artifacts::filter_headers, 5, false);
    [with, OverheadVariant::new("without", Some(5.0), Setup::Native)]
}

/// What every client sends.
pub(super) fn ask(client: u64) -> ClientRequest {
    ClientRequest::get("/").header(CLIENT_HEADER, format!("user-{client}"))
}

/// Envoy alone, as one would write it who has no filter.
fn native(bootstrap: &mut Bootstrap) {
    let cluster = |name, weight, version| {
        let header = json!({"key": "x-canary-version", "value": version});
        let stamp = json!([{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]);
        json!({"name": name, "weight": weight, "response_headers_to_add": stamp})
    };
    let clusters =
        [cluster("demo-stable", 95, VERSIONS[0]), cluster("demo-canary", 5, VERSIONS[1])];
    let split = json!({"weighted_clusters": {"clusters": clusters}});
    let manager = bootstrap.connection_manager();
    manager["route_config"]["virtual_hosts"][0]["routes"] =
        json!([{"match": {"prefix": "/"}, "route": split}]);
    manager["early_header_mutation_extensions"] = json!([]);
    filters(bootstrap, &[]);
}

/// These filters before the router, and no other.
fn filters(bootstrap: &mut Bootstrap, before: &[Value]) {
    let filters = &mut bootstrap.connection_manager()["http_filters"];
    let router = filters.as_array_mut().expect("a list of filters").pop();
    *filters = before.iter().cloned().chain(router).collect();
}

fn empty() -> Value {
    let module = artifacts::root().join(".cache/bench/empty_filter.wasm");
    assert!(module.is_file(), "the empty filter isn't built: run ./scripts/bench");
    let vm = json!({"vm_id": "empty", "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": module}}});
    json!({"name": "empty", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {"name": "empty", "root_id": "empty", "vm_config": vm}}})
}

fn lua() -> Value {
    json!({"name": "lua", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": include_str!("split.lua")}}})
}
