//! What to start: the shipped configuration with a few words changed, and outcomes judged after a second.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::admin::AdminAddress;
use crate::harness::artifacts;
use crate::harness::bootstrap::Bootstrap;
use crate::harness::delivery::{By, ConfigDelivery};
use crate::harness::envoy::{EnvoyProcess, Launch};
use crate::harness::held_port::{ANY_PORT, free_port};
use crate::harness::istio::{self, Carrier};
use crate::harness::plugin::FilterPlugin;
use crate::harness::running::Running;
use crate::harness::upstream::{Server, TestUpstream};

/// How often a start is tried when Envoy can't have the TCP port that was free a moment before.
const TRIES: u32 = 3;

/// Where Envoy's admin listens.
#[derive(Clone, Copy, Debug)]
pub enum AdminOn {
    /// A unix socket of mode 0600 in the rig's directory.
    Unix,
    /// A free TCP port.
    Tcp,
    /// A TCP port of the loopback address.
    At(SocketAddr),
}

/// A rollout called `demo` behind an Envoy, to be started.
#[derive(Clone, Debug)]
#[must_use = "a rig runs when it's started"]
pub struct Rig {
    bootstrap: Bootstrap,
    plugin: FilterPlugin,
    stable: TestUpstream,
    canary: TestUpstream,
    listen: SocketAddr,
    admin: AdminOn,
    workers: u32,
    module: Option<PathBuf>,
    filter: bool,
    by: By,
    drain_seconds: u32,
    last: fn(&mut Bootstrap),
}

impl Default for Rig {
    fn default() -> Self {
        Self {
            bootstrap: Bootstrap::shipped("envoy/envoy.yaml"),
            plugin: FilterPlugin::shipped(),
            stable: TestUpstream::ok(),
            canary: TestUpstream::ok(),
            listen: ANY_PORT,
            admin: AdminOn::Unix,
            workers: 2,
            module: None,
            filter: true,
            by: By::Ecds,
            drain_seconds: 600,
            last: |_| {},
        }
    }
}

impl Rig {
    /// The shipped bootstrap and filter, two healthy upstreams, weight 0, two workers, all on free
    /// ports.
    pub fn new() -> Self {
        Self::default()
    }

    /// What Istio makes of the manifests in `envoy/istio/`: a gateway with the rollout `scorer`.
    pub fn istio(carrier: Carrier) -> Self {
        Self::of_manifests(carrier, &carrier.manifests())
    }

    /// What Istio makes of these manifests, as `canaryctl render istio` prints them.
    pub fn of_manifests(carrier: Carrier, manifests: &[Value]) -> Self {
        Self {
            bootstrap: istio::bootstrap(carrier, manifests),
            plugin: istio::plugin(carrier, manifests),
            admin: AdminOn::Tcp,
            ..Self::default()
        }
    }

    /// The stable version's upstream.
    pub fn stable(self, stable: TestUpstream) -> Self {
        Self { stable, ..self }
    }

    /// The canary version's upstream.
    pub fn canary(self, canary: TestUpstream) -> Self {
        Self { canary, ..self }
    }

    /// The weight in the filter's configuration, in percent.
    pub fn weight(self, percent: f64) -> Self {
        self.rollout(|rollout| rollout["weight"] = percent.into())
    }

    /// The names of the two versions.
    pub fn versions(self, stable: &str, canary: &str) -> Self {
        self.rollout(|rollout| {
            rollout["stable"]["version"] = stable.into();
            rollout["canary"]["version"] = canary.into();
        })
    }

    /// Changes the filter's configuration.
    pub fn config(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(self.plugin.configuration());
        self
    }

    /// Changes the rollout `demo` in the filter's configuration.
    pub fn rollout(self, change: impl FnOnce(&mut Value)) -> Self {
        self.config(|config| change(&mut config["rollouts"][0]))
    }

    /// Where a client's key comes from, as the rollout's `affinity` has it.
    pub fn affinity(self, sources: Value) -> Self {
        self.rollout(|rollout| rollout["affinity"] = sources)
    }

    /// Without the guard, which would end what a test of failures wants to count.
    pub fn unguarded(self) -> Self {
        self.rollout(|rollout| rollout["guard"] = serde_json::json!({"enabled": false}))
    }

    /// Changes how Envoy loads the filter.
    pub fn plugin(mut self, change: impl FnOnce(&mut FilterPlugin)) -> Self {
        change(&mut self.plugin);
        self
    }

    /// How many worker threads Envoy starts.
    pub fn workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    /// The bootstrap with rescue.
    pub fn rescue(self) -> Self {
        self.shipped("envoy/rescue.yaml")
    }

    /// The bootstrap in this file of the checkout.
    pub fn shipped(self, file: &str) -> Self {
        Self { bootstrap: Bootstrap::shipped(file), ..self }
    }

    /// Changes the bootstrap beyond addresses, paths and values.
    pub fn bootstrap(mut self, change: impl FnOnce(&mut Bootstrap)) -> Self {
        change(&mut self.bootstrap);
        self
    }

    /// Changes the bootstrap once it has all addresses, just before Envoy starts.
    pub fn before_start(self, last: fn(&mut Bootstrap)) -> Self {
        Self { last, ..self }
    }

    /// Where the admin listens.
    pub fn admin(self, admin: AdminOn) -> Self {
        Self { admin, ..self }
    }

    /// Where clients connect to.
    pub fn listen(self, listen: SocketAddr) -> Self {
        Self { listen, ..self }
    }

    /// On the addresses of the shipped bootstrap, if they are free, otherwise on free ones.
    pub fn on_shipped_addresses(mut self) -> Self {
        let (stable, canary) = ("demo-stable", "demo-canary");
        let upstreams = [stable, canary].map(|cluster| self.bootstrap.upstream_at(cluster));
        let (listen, admin) = (self.bootstrap.listens_at(), self.bootstrap.admin_at());
        let is_free = |at: &SocketAddr| TcpListener::bind(at).is_ok();
        if ![listen, admin].iter().chain(&upstreams).all(is_free) {
            return self.admin(AdminOn::Tcp);
        }
        self.stable = self.stable.at(upstreams[0]);
        self.canary = self.canary.at(upstreams[1]);
        self.listen(listen).admin(AdminOn::At(admin))
    }

    /// A value in the runtime's static layer, from the start.
    pub fn runtime(mut self, key: &str, value: &str) -> Self {
        self.bootstrap.static_runtime(key, value);
        self
    }

    /// The module that reads response bodies, for signals; the shipped configuration's doesn't.
    pub fn reading_bodies(self) -> Self {
        self.wasm(&artifacts::filter())
    }

    /// The filter's configuration is in the listener, and the listener in a file: pushes come by LDS, not
    /// by ECDS.
    pub fn listener_by_file(self) -> Self {
        Self { by: By::Lds, ..self }
    }

    /// The filter's configuration comes from a mounted ConfigMap.
    pub fn filter_by_config_map(self) -> Self {
        Self { by: By::ConfigMap, ..self }
    }

    /// How long Envoy drains a listener that was replaced, instead of its ten minutes.
    pub fn drain_seconds(self, seconds: u32) -> Self {
        Self { drain_seconds: seconds, ..self }
    }

    /// Another module than the shipped configuration's.
    pub fn wasm(self, module: &Path) -> Self {
        Self { module: Some(module.to_path_buf()), ..self }
    }

    /// The filter can't come up, and the start doesn't wait for it.
    pub fn dead_filter(self) -> Self {
        Self { filter: false, ..self }
    }

    /// The filter's file isn't there.
    pub fn without_filter(self) -> Self {
        self.wasm(Path::new("/nowhere/canary_filter.wasm")).dead_filter()
    }

    /// Starts upstreams and Envoy, and waits until they serve and the filter lives.
    ///
    /// # Panics
    /// When something doesn't come up, with Envoy's log.
    pub async fn start(mut self) -> Running {
        let dir =
            tempfile::Builder::new().prefix("canary-").tempdir().expect("a temporary directory");
        judge_after_a_second(self.plugin.configuration());
        let shipped = self.plugin.shipped_code();
        let module = self.module.take().unwrap_or_else(|| artifacts::built(&shipped));
        self.plugin.code(&module);
        let roles = self.plugin.configuration()["rollouts"][0].clone();
        let stable = self.upstream(&roles["stable"], &self.stable.clone());
        let canary = self.upstream(&roles["canary"], &self.canary.clone());
        let (envoy, launch, delivery) = self.envoy(&dir).await;
        let running = Running::new(envoy, launch, delivery, [stable, canary], dir);
        if self.filter {
            running.filter_is_alive().await;
        }
        running
    }

    /// Starts an upstream and puts its address into the bootstrap.
    fn upstream(&mut self, role: &Value, upstream: &TestUpstream) -> Server {
        let text = |field: &str| {
            role[field].as_str().unwrap_or_else(|| panic!("no {field} in {role}")).to_owned()
        };
        let (version, cluster) = (text("version"), text("cluster"));
        let server = Server::start(upstream, &version);
        self.bootstrap.upstream(&cluster, server.at(), &version);
        server
    }

    /// Writes the configuration and starts Envoy, again where its TCP port was taken meanwhile.
    async fn envoy(&mut self, dir: &TempDir) -> (EnvoyProcess, Launch, ConfigDelivery) {
        self.bootstrap.listen(self.listen);
        let plugin = self.plugin.clone();
        let delivery = ConfigDelivery::begin(self.by, dir.path(), &mut self.bootstrap, plugin);
        let mut error = String::new();
        for _ in 0..TRIES {
            let admin = self.admin_address(dir);
            self.bootstrap.admin(&admin);
            (self.last)(&mut self.bootstrap);
            let (bootstrap, log) = (dir.path().join("envoy.json"), dir.path().join("envoy.log"));
            std::fs::write(&bootstrap, self.bootstrap.to_json())
                .expect("the bootstrap can be written");
            let (workers, drain_seconds) = (self.workers, self.drain_seconds);
            let listener = self.bootstrap.listener_name();
            let launch =
                Launch { bootstrap, log, admin, workers, core: None, drain_seconds, listener };
            match EnvoyProcess::start(&launch).await {
                Ok(envoy) => return (envoy, launch, delivery),
                Err(failed) => error = failed,
            }
            if !matches!(self.admin, AdminOn::Tcp) {
                break;
            }
        }
        panic!("{error}")
    }

    fn admin_address(&self, dir: &TempDir) -> AdminAddress {
        match self.admin {
            AdminOn::Unix => AdminAddress::Unix(dir.path().join("admin.sock")),
            AdminOn::At(at) => AdminAddress::Tcp(at),
            AdminOn::Tcp => AdminAddress::Tcp(free_port()),
        }
    }
}

/// Gives each rollout that says nothing about when outcomes are known an `outcome_age` of a second:
/// these upstreams answer at once, and the default, 20 seconds, is for services that may not.
fn judge_after_a_second(configuration: &mut Value) {
    let rollouts = configuration["rollouts"].as_array_mut().map_or(&mut [][..], Vec::as_mut_slice);
    for rollout in rollouts {
        if rollout.get("outcome_age").is_none() && rollout["failure"].get("overdue").is_none() {
            rollout["outcome_age"] = "1s".into();
        }
    }
}
