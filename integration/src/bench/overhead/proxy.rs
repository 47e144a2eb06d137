//! An Envoy of one variant, running.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::variant::{self, OverheadVariant, VERSIONS};
use crate::harness::admin::{AdminAddress, EnvoyAdmin};
use crate::harness::delivery::{By, ConfigDelivery};
use crate::harness::envoy::{EnvoyProcess, Launch};
use crate::harness::eventually::eventually;
use crate::harness::held_port::ANY_PORT;
use crate::harness::load::{Load, LoadTally};
use crate::harness::stats::{self, FilterStats};

/// A running Envoy; it ends when it's dropped.
pub(super) struct BenchProxy {
    envoy: EnvoyProcess,
    admin: EnvoyAdmin,
    filter: bool,
    _directory: TempDir,
}

/// What is not the variant's to say.
#[derive(Clone, Copy)]
pub(super) struct ProxyFiles {
    /// Where the upstream is.
    pub(super) upstream: SocketAddr,
    /// How many worker threads Envoy starts.
    pub(super) workers: u32,
    /// Envoy's core; none: any.
    pub(super) core: Option<usize>,
    /// How many runtime keys there are that are not the filter's.
    pub(super) foreign_keys: usize,
}

impl BenchProxy {
    /// Starts it and waits until it serves and its filter, where it has one of ours, lives.
    pub(super) async fn start(variant: &OverheadVariant, place: ProxyFiles) -> Self {
        let proxy = Self::launch(variant, place).await;
        proxy.ticks(variant.counts()).await;
        for number in 2..=variant.versions {
            proxy.stable_runs(&format!("1.0.{number}")).await;
        }
        proxy
    }

    /// Starts it and waits until it serves.
    pub(super) async fn launch(variant: &OverheadVariant, place: ProxyFiles) -> Self {
        let directory = tempfile::Builder::new().prefix("canary-bench-").tempdir();
        let directory = directory.expect("a temporary directory");
        let (mut bootstrap, plugin) = variant.prepare();
        let filter = plugin.is_some();
        if let Some(plugin) = plugin {
            ConfigDelivery::begin(By::Ecds, directory.path(), &mut bootstrap, plugin);
        }
        let admin = AdminAddress::Unix(directory.path().join("admin.sock"));
        bootstrap.admin(&admin);
        bootstrap.listen(ANY_PORT);
        for (cluster, version) in ["demo-stable", "demo-canary"].into_iter().zip(VERSIONS) {
            bootstrap.upstream(cluster, place.upstream, version);
        }
        for cluster in ["demo-stable", "demo-canary"] {
            // The upstream speaks HTTP/1.1 alone; gRPC's trailers pass it too.
            bootstrap.cluster(cluster)["typed_extension_protocol_options"] = http1_with_trailers();
        }
        for number in 0..place.foreign_keys {
            bootstrap.static_runtime(&format!("somebody.elses.feature_{number}"), "100");
        }
        let file = directory.path().join("envoy.json");
        std::fs::write(&file, bootstrap.to_json()).expect("the bootstrap can be written");
        let log = directory.path().join("envoy.log");
        let (workers, core) = (place.workers, place.core);
        let launch = Launch {
            bootstrap: file,
            log,
            admin: admin.clone(),
            workers,
            core,
            drain_seconds: 600,
            listener: bootstrap.listener_name(),
        };
        let envoy = EnvoyProcess::start(&launch).await.unwrap_or_else(|error| panic!("{error}"));
        Self { envoy, admin: EnvoyAdmin::new(admin), filter, _directory: directory }
    }

    /// Lets stable run another version, and waits until its answers say so.
    async fn stable_runs(&self, version: &str) {
        let change =
            format!("/runtime_modify?canary.demo.stable_version={}%3D{version}", VERSIONS[0]);
        let answer = self.admin.post(&change).await;
        assert!(matches!(answer, Ok((200, _))), "{change}: {answer:?}");
        let probe = async || self.load(20).await;
        let runs = |tally: &LoadTally| tally.of_version(version) > 0;
        eventually("stable runs another version", probe, runs).await;
    }

    /// Makes sure that our filter counted what was measured, and saw no failure.
    pub(super) async fn check_counters(&self, variant: &OverheadVariant) {
        if !variant.counts() {
            return;
        }
        let holds = |stats: &FilterStats| stats.sum("rq_total") > 0 && stats.sum("rq_failure") == 0;
        let probe = async || FilterStats::parse(&self.admin.json(stats::QUERY).await);
        eventually(&format!("{} counts, and no failures", variant.name), probe, holds).await;
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.envoy.listener()
    }

    pub(super) fn pid(&self) -> u32 {
        self.envoy.id().expect("Envoy runs")
    }

    /// This many requests, each from another client.
    pub(super) fn load(&self, requests: u64) -> Load {
        Load::to(self.address(), requests).concurrency(50).each(variant::ask)
    }

    /// Makes sure that it does what its name says: what does nothing is fast.
    pub(super) async fn check(&self, variant: &OverheadVariant) {
        let tally = self.load(2_000).await;
        assert_eq!(tally.with_status(200), 2_000, "{}: {tally:?}", variant.name);
        let stamps = VERSIONS.map(|version| tally.of_version(version));
        let (least, most) = match variant.canary_percent.filter(|_| variant.versions == 1) {
            Some(percent) => (20.0 * percent * 0.6, 20.0 * percent * 1.4),
            None => (0.0, f64::INFINITY),
        };
        let stamped = if variant.canary_percent.is_some() { 2_000 } else { 0 };
        #[allow(clippy::cast_precision_loss)]
        let on_canary = stamps[1] as f64;
        let all = variant.versions > 1 || stamps[0] + stamps[1] == stamped;
        let right = all && (least..=most).contains(&on_canary);
        assert!(right, "{}: {tally:?}", variant.name);
    }

    /// Waits until our filter's timer ticks. Without rollouts it has nothing to poll for.
    async fn ticks(&self, polls: bool) {
        if !self.filter {
            return;
        }
        let probe = async || FilterStats::parse(&self.admin.json(stats::QUERY).await);
        let sign = if polls { "filter.poll_success" } else { "filter.heartbeat" };
        let lives = |stats: &FilterStats| stats.value(sign) > 0;
        eventually("the filter's first tick", probe, lives).await;
    }
}

fn http1_with_trailers() -> Value {
    let options = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": options,
        "explicit_http_config": {"http_protocol_options": {"enable_trailers": true}}}})
}
