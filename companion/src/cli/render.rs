//! The arguments of `render`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `render`: what is rendered is a subcommand.
#[derive(Debug, Args)]
#[command(subcommand_required = true)]
pub struct Render {
    /// The kind of manifests to render.
    #[command(subcommand)]
    pub what: RenderWhat,
}

/// What can be printed.
#[derive(Debug, Subcommand)]
pub enum RenderWhat {
    /// Render the manifests that put rollouts behind an Istio gateway
    ///
    /// The filter's configuration says where the versions are, by Istio's names of their clusters:
    /// outbound|PORT|SUBSET|SERVICE.NAMESPACE.svc.cluster.local. Without --filter, a minimal configuration is
    /// generated.
    Istio(RenderIstio),
}

/// `render istio -f FILE`.
#[derive(Debug, Args)]
pub struct RenderIstio {
    /// A rollout file. Repeat it for all rollouts of the gateway, which one plugin must carry together
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// The filter's configuration, JSON or YAML. Required for several rollout files
    #[arg(long, value_name = "FILE", conflicts_with_all = ["service", "stable", "canary"])]
    pub filter: Option<PathBuf>,

    /// Without --filter: the service, [default: <rollout>.default:8080]
    #[arg(long, value_name = "NAME.NAMESPACE:PORT", value_parser = service)]
    pub service: Option<Service>,

    /// Without --filter: the stable version, and by it its subset
    #[arg(long, value_name = "VERSION", default_value = "v1")]
    pub stable: String,

    /// Without --filter: the canary's version, and by it its subset
    #[arg(long, value_name = "VERSION", default_value = "v2")]
    pub canary: String,

    /// The Gateway that the VirtualService is bound to; the filter is put into its namespace
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "istio-ingress/gateway", value_parser = gateway)]
    pub gateway: (String, String),

    /// A label of the gateway's pods. Repeatable
    #[arg(long = "selector", value_name = "LABEL=VALUE", default_value = "istio=ingressgateway", value_parser = label)]
    pub selector: Vec<(String, String)>,

    /// What carries the filter: WasmPlugin, or TrafficExtension from Istio 1.30 on
    #[arg(long, value_enum, default_value_t = ExtensionKind::WasmPlugin)]
    pub extension: ExtensionKind,

    /// Where the controller runs: over all the gateway's pods, or beside a gateway of one pod
    #[arg(long = "run-in", value_enum, default_value_t = ControllerPlace::Pods)]
    pub run_in: ControllerPlace,

    /// Where the module comes from, [default: an example registry's canary-filter-headers, or
    /// canary-filter if a signal reads bodies]
    #[arg(long, value_name = "URL")]
    pub wasm: Option<String>,

    /// The digest of the module's image (of its manifest; of the file, for http:// and file://)
    #[arg(long, value_name = "HEX")]
    pub wasm_sha256: Option<String>,

    /// The image that canaryctl runs from
    #[arg(long, value_name = "IMAGE", default_value = concat!("registry.example.com/canaryctl:", env!("CARGO_PKG_VERSION")))]
    pub canaryctl_image: String,

    /// The stable version's image, [default: registry.example.com/<service>:<version>]
    #[arg(long, value_name = "IMAGE")]
    pub stable_image: Option<String>,

    /// The canary's image, [default: registry.example.com/<service>:<version>]
    #[arg(long, value_name = "IMAGE")]
    pub canary_image: Option<String>,
}

/// What carries the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExtensionKind {
    /// Istio 1.12 and later
    WasmPlugin,
    /// Istio 1.30 and later
    TrafficExtension,
}

/// Where the controller runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ControllerPlace {
    /// In a pod of its own, over all the gateway's pods
    Pods,
    /// In the gateway's only pod
    Sidecar,
}

/// A service's address inside the cluster, with its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The service as `NAME.NAMESPACE`, as DNS spells it.
    pub name: String,
    /// The port that the service listens on.
    pub port: u16,
}

fn service(text: &str) -> Result<Service, String> {
    let wrong = || "expected NAME.NAMESPACE:PORT".to_owned();
    let (name, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    let plain = name.split('.').count() == 2 && name.split('.').all(|part| !part.is_empty());
    plain.then(|| Service { name: name.to_owned(), port }).ok_or_else(wrong)
}

fn gateway(text: &str) -> Result<(String, String), String> {
    pair(text, '/').ok_or_else(|| "expected NAMESPACE/NAME".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    pair(text, '=').ok_or_else(|| "expected LABEL=VALUE".to_owned())
}

fn pair(text: &str, between: char) -> Option<(String, String)> {
    let (first, second) = text.split_once(between)?;
    (!first.is_empty() && !second.is_empty()).then(|| (first.to_owned(), second.to_owned()))
}
