//! The Kubernetes manifests that put rollouts behind an Istio gateway. Pure: options and files go in,
//! documents come out.
//!
//! There is one source of truth: the filter's configuration, whose clusters are Istio's own names of a
//! service's subsets (`outbound|8080|v2|scorer.default.svc.cluster.local`). The service, its port, the
//! subsets and the routes follow from them, so no two documents can disagree.
//!
//! All rollouts of a gateway are rendered together, because one plugin carries all of them: two plugins
//! on one gateway would remove each other's headers.

mod controller;
mod destination;
mod hosts;
mod input;
mod names;
mod plugin;
mod proxy;
mod routing;
mod workloads;

use canary_model::config::{Config, Rollout};
use serde_json::{Value, json};

pub use destination::{Destination, Subset};
pub use input::{Images, Options, RenderError, RolloutText, minimal_filter, read};

/// The static cluster on Envoy's admin port in every bootstrap of Istio's.
pub const ADMIN_CLUSTER: &str = "prometheus_stats";
/// Envoy's admin port in Istio's proxies, on loopback only.
pub const ADMIN_PORT: u16 = 15000;
/// The port on which a gateway's pod answers a controller in another pod.
pub const CONTROL_PORT: u16 = 19901;

/// Which of Istio's resources carries the filter. Never both: the filter would run twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// `WasmPlugin`: Istio 1.12 and later.
    WasmPlugin,
    /// `TrafficExtension`: Istio 1.30 and later.
    TrafficExtension,
}

/// Where the controller runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControllerLocation {
    /// In a pod of its own, driving all the gateway's pods.
    Pods,
    /// In the gateway's pod, driving that one only.
    Sidecar,
}

/// Everything that the manifests depend on, checked.
#[derive(Clone, Debug)]
pub struct Istio {
    /// The filter's configuration as it was given.
    filter: Value,
    /// The same configuration, parsed and checked.
    config: Config,
    /// The rollouts that have a rollout file, in the order of the filter's configuration; at least one.
    rollouts: Vec<DeployedRollout>,
    /// The rest of what was asked for on the command line.
    options: Options,
}

/// One rollout with everything that its manifests need.
#[derive(Clone, Debug)]
struct DeployedRollout {
    /// The rollout, as the filter's configuration has it.
    rollout: Rollout,
    /// The rollout file's text.
    file: String,
    /// Where its two versions are.
    destination: Destination,
    /// Its name as Kubernetes allows it, unique in the configuration.
    object: String,
}

/// Documents that belong together, and what they are for.
#[derive(Clone, Debug)]
pub struct Section {
    /// What they do, one line each.
    pub about: &'static [&'static str],
    /// The manifests as YAML documents, in order.
    pub documents: Vec<Value>,
}

impl Istio {
    /// All manifests, in the order in which they are applied.
    pub fn sections(&self) -> Vec<Section> {
        vec![
            workloads::section(self),
            routing::section(self),
            proxy::section(self),
            plugin::section(self),
            controller::section(self),
        ]
    }

    /// The gateway's namespace, where the filter and the controller go as well.
    fn namespace(&self) -> &str {
        &self.options.gateway.0
    }

    /// The labels of the gateway's pods.
    fn gateway_labels(&self) -> Value {
        self.options.selector.iter().map(|(label, value)| (label.clone(), json!(value))).collect()
    }
}

impl DeployedRollout {
    /// The name of the canary's route, in the VirtualService and in Envoy.
    fn canary_route(&self) -> String {
        format!("canary-{}", self.object)
    }

    /// The name of stable's route.
    fn stable_route(&self) -> String {
        format!("stable-{}", self.object)
    }
}

/// A document's `apiVersion`, `kind` and `metadata`.
fn object(api: &str, kind: &str, name: &str, namespace: &str) -> Value {
    json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}})
}

/// A document with a `spec`.
fn with_spec(mut document: Value, spec: Value) -> Value {
    if let Some(fields) = document.as_object_mut() {
        fields.insert("spec".to_owned(), spec);
    }
    document
}

#[cfg(test)]
mod tests;
