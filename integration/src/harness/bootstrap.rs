//! The shipped Envoy bootstrap with other addresses, paths and values. Starting a rig adds
//! nothing and takes nothing away, so what the tests say is true of what users copy.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::admin::AdminAddress;
use crate::harness::artifacts;

/// A bootstrap, as read from `envoy/` or as Istio makes it.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    document: Value,
    names: BootstrapNames,
}

/// What is called how in a bootstrap.
#[derive(Clone, Debug)]
pub(crate) struct BootstrapNames {
    /// The listener that clients connect to.
    pub(crate) listener: String,
    /// The filter in its connection manager.
    pub(crate) filter: String,
    /// The cluster of Envoy's own admin.
    pub(crate) admin: String,
    /// Whether endpoints say which version they are.
    pub(crate) endpoints_say: bool,
}

impl Bootstrap {
    /// The bootstrap in this file of the checkout, `envoy/envoy.yaml` or `envoy/rescue.yaml`.
    ///
    /// # Panics
    /// When the file isn't there or isn't YAML.
    #[must_use]
    pub fn shipped(file: &str) -> Self {
        let names = BootstrapNames {
            listener: "ingress".to_owned(),
            filter: "canary".to_owned(),
            admin: "envoy_admin".to_owned(),
            endpoints_say: true,
        };
        Self { document: read_yaml(&artifacts::root().join(file)), names }
    }

    /// A bootstrap of another origin.
    pub(crate) fn from_document(document: Value, names: BootstrapNames) -> Self {
        Self { document, names }
    }

    /// What the listener is called that clients connect to.
    pub(crate) fn listener_name(&self) -> String {
        self.names.listener.clone()
    }

    /// The whole document, to read or to change beyond what the methods here offer.
    pub fn document(&mut self) -> &mut Value {
        &mut self.document
    }

    /// The document as Envoy takes it.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{:#}", self.document)
    }

    /// Where clients connect to; port 0 lets the system choose.
    pub fn listen(&mut self, at: SocketAddr) {
        self.listener()["address"] = socket_address(at);
    }

    /// Where the admin listens, and where the cluster of the admin finds it.
    pub fn admin(&mut self, at: &AdminAddress) {
        self.document["admin"]["address"] = at.as_envoy(true);
        let cluster = self.names.admin.clone();
        self.endpoint_of(&cluster)["endpoint"]["address"] = at.as_envoy(false);
    }

    /// Where the shipped file lets clients connect to.
    #[must_use]
    pub fn listens_at(&mut self) -> SocketAddr {
        address_of(&self.listener()["address"])
    }

    /// Where the shipped file has the admin.
    #[must_use]
    pub fn admin_at(&self) -> SocketAddr {
        address_of(&self.document["admin"]["address"])
    }

    /// Where the shipped file has a cluster's only endpoint.
    #[must_use]
    pub fn upstream_at(&mut self, cluster: &str) -> SocketAddr {
        address_of(&self.endpoint_of(cluster)["endpoint"]["address"])
    }

    /// Where a cluster's only endpoint is, and which version it says to be.
    pub fn upstream(&mut self, cluster: &str, at: SocketAddr, version: &str) {
        let says = self.names.endpoints_say;
        let endpoint = self.endpoint_of(cluster);
        endpoint["endpoint"]["address"] = socket_address(at);
        if says {
            endpoint["metadata"]["filter_metadata"]["canary"]["version"] = version.into();
        }
    }

    /// The file that holds the filter. Its directory is watched.
    pub fn filter_from(&mut self, ecds: &Path) {
        let filter = self.names.filter.clone();
        let filters = &mut self.connection_manager()["http_filters"];
        let discovery = &mut named(filters, &filter)["config_discovery"];
        let source = &mut discovery["config_source"]["path_config_source"];
        source["path"] = json!(ecds);
        source["watched_directory"]["path"] = json!(ecds.parent().expect("a file has a directory"));
    }

    /// The file that holds the listener, and the listener that was here. Its directory is watched.
    pub(crate) fn listeners_from(&mut self, lds: &Path) -> Value {
        let mut listener = self.listener().take();
        listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
        self.document["static_resources"]["listeners"] = json!([]);
        let watched = lds.parent().expect("a file has a directory");
        self.document["dynamic_resources"]["lds_config"] = json!({"resource_api_version": "V3",
            "path_config_source": {"path": lds, "watched_directory": {"path": watched}}});
        listener
    }

    /// A value in the runtime's lowest layer. Envoy's number format isn't ours, so it's text.
    pub fn static_runtime(&mut self, key: &str, value: &str) {
        named(&mut self.document["layered_runtime"]["layers"], "base")["static_layer"][key] =
            value.into();
    }

    /// One more layer of the runtime, below the admin's.
    ///
    /// # Panics
    /// When the shipped file isn't what it should be.
    pub fn add_layer(&mut self, layer: Value) {
        let layers =
            self.document["layered_runtime"]["layers"].as_array_mut().expect("a list of layers");
        layers.insert(layers.len() - 1, layer);
    }

    /// The connection manager of the clients' listener.
    pub fn connection_manager(&mut self) -> &mut Value {
        &mut self.listener()["filter_chains"][0]["filters"][0]["typed_config"]
    }

    /// Closes a client's connection as soon as an answer breaks off or a request is refused. By itself, Envoy
    /// waits a second for the client to close it first, and until then an HTTP/1.1 client doesn't see the end.
    pub fn close_at_once(&mut self) {
        self.connection_manager()["delayed_close_timeout"] = "0s".into();
    }

    /// A cluster.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn cluster(&mut self, name: &str) -> &mut Value {
        named(&mut self.document["static_resources"]["clusters"], name)
    }

    /// One more cluster like `demo-stable`, at this address.
    ///
    /// # Panics
    /// When the shipped file isn't what it should be.
    pub fn add_cluster(&mut self, name: &str, at: SocketAddr) {
        let mut cluster = self.cluster("demo-stable").clone();
        cluster["name"] = name.into();
        cluster["load_assignment"]["cluster_name"] = name.into();
        self.document["static_resources"]["clusters"]
            .as_array_mut()
            .expect("a list of clusters")
            .push(cluster);
        self.upstream(name, at, "0");
    }

    /// One more route, before all others.
    ///
    /// # Panics
    /// When the shipped file isn't what it should be.
    pub fn add_route(&mut self, route: Value) {
        let routes = &mut self.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
        routes.as_array_mut().expect("a list of routes").insert(0, route);
    }

    /// Without the early removal of the filter's headers: the filter alone keeps a client's copies
    /// out.
    pub fn without_early_removal(&mut self) {
        self.connection_manager()["early_header_mutation_extensions"] = json!([]);
    }

    /// Regexes of the stats tags, by label.
    #[must_use]
    pub fn stats_tags(&self) -> Vec<(String, String)> {
        let tags = self.document["stats_config"]["stats_tags"]
            .as_array()
            .expect("the bootstrap has stats tags");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        tags.iter().map(|tag| (text(&tag["tag_name"]), text(&tag["regex"]))).collect()
    }

    fn listener(&mut self) -> &mut Value {
        named(&mut self.document["static_resources"]["listeners"], &self.names.listener)
    }

    fn endpoint_of(&mut self, cluster: &str) -> &mut Value {
        &mut self.cluster(cluster)["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    }
}

/// A YAML file as JSON.
pub(crate) fn read_yaml(file: &Path) -> Value {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The entry of a list with this `name`.
pub(crate) fn named<'a>(list: &'a mut Value, name: &str) -> &'a mut Value {
    let entries =
        list.as_array_mut().unwrap_or_else(|| panic!("no list where {name} was looked for"));
    entries
        .iter_mut()
        .find(|entry| entry["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in the list"))
}

fn address_of(address: &Value) -> SocketAddr {
    let socket = &address["socket_address"];
    let text =
        format!("{}:{}", socket["address"].as_str().unwrap_or_default(), socket["port_value"]);
    text.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
}

fn socket_address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip(), "port_value": at.port()}})
}
