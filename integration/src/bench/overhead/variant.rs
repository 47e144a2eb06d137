//! What is held against what: Envoy's own split, filters that do nothing, a Lua filter, ours.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::bootstrap::Bootstrap;
use crate::harness::plugin::FilterPlugin;
use crate::{ClientRequest, artifacts};

/// One way to split traffic, or not to.
#[derive(Clone)]
pub(super) struct OverheadVariant {
    pub(super) name: String,
    /// The percentage of the answers with a version that should have the canary's; `None`: answers have no version.
    pub(super) canary_percent: Option<f64>,
    /// How many versions stable runs before the measurement, one after the other.
    pub(super) versions: u32,
    setup: Setup,
}

#[derive(Clone)]
enum Setup {
    Native,
    ShippedWithoutFilter,
    Empty,
    Lua,
    Ours { module: PathBuf, rollouts: Value },
}

/// The names of the two versions in the shipped configuration.
pub(super) const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];
/// The header that tells the clients apart.
pub(super) const CLIENT_HEADER: &str = "x-user-id";
/// The two that nothing is done in but Envoy's own split: the reference, and the control.
pub(super) const NATIVE: [&str; 2] = ["native", "native again"];

impl OverheadVariant {
    fn new(name: &str, canary_percent: Option<f64>, setup: Setup) -> Self {
        Self { name: name.to_owned(), canary_percent, versions: 1, setup }
    }

    /// Envoy's own weighted clusters.
    pub(super) fn native() -> Self {
        Self::new(NATIVE[0], Some(5.0), Setup::Native)
    }

    /// The same once more: how much two that are alike differ.
    pub(super) fn native_again() -> Self {
        Self::new(NATIVE[1], Some(5.0), Setup::Native)
    }

    /// The shipped configuration with no filter in it.
    pub(super) fn without_filter() -> Self {
        Self::new("shipped, no filter", None, Setup::ShippedWithoutFilter)
    }

    /// Native, and a Wasm filter that does nothing in each of the SDK's hooks.
    pub(super) fn empty() -> Self {
        Self::new("empty filter", Some(5.0), Setup::Empty)
    }

    /// A Lua filter that splits and stamps, and no more.
    pub(super) fn lua() -> Self {
        Self::new("Lua filter", Some(5.0), Setup::Lua)
    }

    /// A module of ours with one rollout, as [`rollout`] makes it.
    pub(super) fn ours(name: &str, module: &Path, rollout: Value) -> Self {
        let percent = rollout["weight"].as_f64();
        let rollouts = json!([rollout]);
        Self::new(name, percent, Setup::Ours { module: module.to_owned(), rollouts })
    }

    /// This many more rollouts before ours, none of which matches: by path.
    pub(super) fn behind(self, others: usize) -> Self {
        self.after(others, |number| json!({"path_prefixes": [format!("/other/{number}/")]}))
    }

    /// This many more rollouts before ours, none of which matches: by the value of one header, which the
    /// request has.
    pub(super) fn behind_by_header(self, others: usize) -> Self {
        self.after(others, |number| {
            json!({"headers": [{"name": CLIENT_HEADER, "values": [format!("other-{number}")]}]})
        })
    }

    fn after(mut self, others: usize, matches: impl Fn(usize) -> Value) -> Self {
        if let Setup::Ours { rollouts, .. } = &mut self.setup {
            let other = |number: usize| {
                let mut other = rollout(5.0);
                other["name"] = format!("other-{number}").into();
                other["match"] = matches(number);
                other
            };
            let rollouts = rollouts.as_array_mut().expect("a list of rollouts");
            rollouts.splice(0..0, (0..others).map(other));
        }
        self
    }

    /// No rollout that matches: none at all.
    pub(super) fn matching_nothing(mut self) -> Self {
        if let Setup::Ours { rollouts, .. } = &mut self.setup {
            *rollouts = json!([]);
        }
        self.canary_percent = None;
        self
    }

    /// Stable has run this many versions when the measurement begins.
    pub(super) fn with_versions(mut self, versions: u32) -> Self {
        self.versions = versions;
        self
    }

    /// Whether a filter of ours runs in it, with a rollout to count.
    pub(super) fn counts(&self) -> bool {
        matches!(&self.setup, Setup::Ours { rollouts, .. } if rollouts != &json!([]))
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
            Setup::Ours { module, rollouts } => {
                let mut plugin = FilterPlugin::shipped();
                plugin.code(module);
                plugin.configuration()["rollouts"] = rollouts.clone();
                return (bootstrap, Some(plugin));
            }
        }
        (bootstrap, None)
    }
}

/// The shipped rollout at a weight, in percent; add to it what a variant needs.
pub(super) fn rollout(percent: f64) -> Value {
    json!({
        "name": "demo", "weight": percent,
        "stable": {"version": VERSIONS[0], "cluster": "demo-stable"},
        "canary": {"version": VERSIONS[1], "cluster": "demo-canary"},
    })
}

/// The same, with more fields.
pub(super) fn rollout_with(percent: f64, fields: Value) -> Value {
    let mut rollout = rollout(percent);
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    for (name, value) in fields {
        rollout[name] = value;
    }
    rollout
}

/// The one that idle and memory are measured with, and the one without a filter beside it.
pub(super) fn with_and_without() -> [OverheadVariant; 2] {
    let module = artifacts::filter_headers();
    [OverheadVariant::ours("with the filter", &module, rollout(5.0)), OverheadVariant::native()]
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
    let split = json!({"timeout": "0s", "weighted_clusters": {"clusters": clusters}});
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
