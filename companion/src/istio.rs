//! The Kubernetes manifests that put a rollout behind an Istio gateway. Pure: what is asked for goes
//! in, documents come out.
//!
//! One source says where everything is: the filter's configuration, whose clusters are Istio's own
//! names of a service's subsets (`outbound|8080|v2|scorer.default.svc.cluster.local`). The service,
//! its port, the subsets and the routes follow from them, so that no two of them can disagree.

mod controller;
mod input;
mod place;
mod plugin;
mod proxy;
mod routing;
mod workloads;

use canary_model::config::{Config, Rollout};
use serde_json::{Value, json};

pub use input::{Asked, Images, RenderError, filter_of, read};
pub use place::{Place, Subset};

/// The static cluster on Envoy's admin port in every bootstrap of Istio's.
pub const ADMIN_CLUSTER: &str = "prometheus_stats";
/// Envoy's admin port in Istio's proxies, on loopback alone.
pub const ADMIN_PORT: u16 = 15000;
/// Where a gateway's pod answers a controller in another pod.
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
pub enum Where {
    /// In a pod of its own, driving all the gateway's pods.
    Pods,
    /// In the gateway's pod, driving that one alone.
    Sidecar,
}

/// Everything that the manifests depend on, checked.
#[derive(Clone, Debug)]
pub struct Istio {
    /// The filter's configuration as it was given.
    pub filter: Value,
    /// The same, read.
    pub config: Config,
    /// The rollout, as the configuration has it.
    pub rollout: Rollout,
    /// The rollout file's text.
    pub file: String,
    /// Where its two versions are.
    pub place: Place,
    /// The gateway's namespace.
    pub gateway_namespace: String,
    /// The name of the `Gateway`.
    pub gateway: String,
    /// The labels of the gateway's pods.
    pub selector: Vec<(String, String)>,
    /// Where the module and the images come from.
    pub images: Images,
    /// What carries the filter.
    pub extension: Extension,
    /// Where the controller runs.
    pub controller: Where,
}

/// Documents that belong together, and what they are for.
#[derive(Clone, Debug)]
pub struct Section {
    /// What they do, one line each.
    pub about: &'static [&'static str],
    /// The documents.
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

    /// The rollout's name as Kubernetes lets objects be called.
    fn object(&self) -> String {
        self.rollout.name.replace('_', "-").trim_end_matches('-').to_owned()
    }

    /// What the canary's route is called, in the VirtualService and in Envoy.
    fn canary_route(&self) -> String {
        format!("canary-{}", self.object())
    }

    /// The labels of the gateway's pods.
    fn gateway_labels(&self) -> Value {
        self.selector.iter().map(|(label, value)| (label.clone(), json!(value))).collect()
    }
}

/// A document's head.
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
