//! What runs, and everything a test does with it.

use std::fmt::Debug;
use std::fs;
use std::net::SocketAddr;
use std::process::Output;
use std::thread;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::harness::admin::EnvoyAdmin;
use crate::harness::artifacts;
use crate::harness::client::{ClientRequest, ClientResponse, TestClient};
use crate::harness::delivery::ConfigDelivery;
use crate::harness::envoy::{self, EnvoyProcess, Launch};
use crate::harness::eventually::{MINUTE, eventually, wait_limit};
use crate::harness::load::Load;
use crate::harness::plugin::FilterPlugin;
use crate::harness::stats::FilterStats;
use crate::harness::trace::Callback;
use crate::harness::upstream::Server;

/// A running rig. It ends when it's dropped, and shows Envoy's log where that happens by a failing
/// test.
#[derive(Debug)]
pub struct Running {
    envoy: EnvoyProcess,
    launch: Launch,
    delivery: ConfigDelivery,
    admin: EnvoyAdmin,
    stable: Server,
    canary: Server,
    _dir: TempDir,
}

impl Running {
    pub(crate) fn new(
        envoy: EnvoyProcess,
        launch: Launch,
        delivery: ConfigDelivery,
        [stable, canary]: [Server; 2],
        dir: TempDir,
    ) -> Self {
        let admin = EnvoyAdmin::new(launch.admin.clone());
        Self { envoy, launch, delivery, admin, stable, canary, _dir: dir }
    }

    /// The stable version's upstream.
    #[must_use]
    pub fn stable(&self) -> &Server {
        &self.stable
    }

    /// The canary version's upstream.
    #[must_use]
    pub fn canary(&self) -> &Server {
        &self.canary
    }

    /// The canary version's upstream, to take it down and up.
    pub fn canary_mut(&mut self) -> &mut Server {
        &mut self.canary
    }

    /// The stable version's upstream, to take it down and up.
    pub fn stable_mut(&mut self) -> &mut Server {
        &mut self.stable
    }

    /// The admin interface of this Envoy.
    #[must_use]
    pub fn admin(&self) -> &EnvoyAdmin {
        &self.admin
    }

    /// Where clients connect to. Another port after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.envoy.listener()
    }

    /// Where another listener than the clients' listens.
    pub async fn listener(&self, name: &str) -> SocketAddr {
        envoy::listener(&self.admin, name).await
    }

    /// The process id of this Envoy.
    #[must_use]
    pub fn envoy_pid(&self) -> Option<u32> {
        self.envoy.id()
    }

    /// A GET on a connection of its own.
    pub async fn get(&self, path: &str) -> ClientResponse {
        self.request(ClientRequest::get(path)).await
    }

    /// A request on a connection of its own.
    ///
    /// # Panics
    /// When there is no whole answer.
    pub async fn request(&self, ask: ClientRequest) -> ClientResponse {
        self.client().send(ask).await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// A client with a connection that it keeps.
    #[must_use]
    pub fn client(&self) -> TestClient {
        TestClient::new(self.address())
    }

    /// A bare connection, for what no client library would say.
    ///
    /// # Panics
    /// When Envoy doesn't accept it.
    pub async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.expect("Envoy accepts connections")
    }

    /// Prepares a load of this many requests.
    pub fn load(&self, requests: u64) -> Load {
        Load::to(self.address(), requests)
    }

    /// The filter's statistics as of now; see [`FilterStats::read`].
    pub async fn stats(&self) -> FilterStats {
        FilterStats::read(&self.admin).await
    }

    /// A statistic of the filter as of now, by its name without `wasmcustom.canary.`; 0 where Envoy
    /// doesn't know it.
    pub async fn stat(&self, name: &str) -> u64 {
        self.stats().await.value(name)
    }

    /// What `/stats/prometheus` says of the filter, line by line without comments.
    ///
    /// # Panics
    /// When the admin doesn't answer.
    pub async fn prometheus(&self) -> Vec<String> {
        let (_, body) =
            self.admin.get("/stats/prometheus?filter=wasmcustom").await.expect("the admin answers");
        let text = String::from_utf8_lossy(&body).into_owned();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// Sets runtime keys in Envoy's admin layer, all at once; an empty value removes a key.
    ///
    /// # Panics
    /// When Envoy refuses.
    pub async fn runtime_modify(&self, changes: &[(&str, &str)]) {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<String> =
            changes.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
        let (status, body) = self
            .admin
            .post(&format!("/runtime_modify?{}", pairs.join("&")))
            .await
            .expect("an answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    }

    /// The value of a runtime key over all layers.
    pub async fn runtime_value(&self, key: &str) -> Option<String> {
        let runtime = self.admin.json("/runtime").await;
        runtime["entries"][key]["final_value"].as_str().map(str::to_owned)
    }

    /// Waits for a condition; see [`eventually`].
    pub async fn eventually<T: Debug>(
        &self,
        what: &str,
        probe: impl AsyncFnMut() -> T,
        holds: impl Fn(&T) -> bool,
    ) -> T {
        eventually(what, probe, holds).await
    }

    /// Waits until the rollout's weight in force is this, in parts per million.
    pub async fn weight_in_force(&self, ppm: u64) {
        let probe = async || self.stat("demo.weight_ppm").await;
        eventually(&format!("a weight of {ppm} ppm in force"), probe, |now| *now == ppm).await;
    }

    /// Waits until every worker sends what it gets to this version. (It asks on 32 connections, so
    /// each worker is asked.)
    ///
    /// # Panics
    /// When that doesn't happen.
    pub async fn all_go_to(&self, version: &str) {
        let probe = async || self.load(32).concurrency(32).await;
        eventually(&format!("all requests go to {version}"), probe, |tally| {
            tally.of_version(version) == 32
        })
        .await;
    }

    /// Waits until the filter's counters say no more than they said before, and have all of these
    /// requests.
    ///
    /// # Panics
    /// When they never do.
    pub async fn counted(&self, requests: u64) -> FilterStats {
        self.counted_as(&["rq_total"], requests).await
    }

    /// Waits until this many requests have reached the age at which they are judged, those without an
    /// answer included.
    ///
    /// # Panics
    /// When they never do.
    pub async fn judged(&self, requests: u64) -> FilterStats {
        self.counted_as(&["judged_total", "judged_unanswered"], requests).await
    }

    async fn counted_as(&self, metrics: &[&str], requests: u64) -> FilterStats {
        let probe = async || self.stats().await;
        let total = |stats: &FilterStats| {
            let of = |metric: &&str| ["stable", "canary"].map(|role| stats.metric_of(role, metric));
            metrics.iter().flat_map(of).sum::<u64>()
        };
        let what = format!("{requests} requests are counted in {metrics:?}");
        let mut stats = eventually(&what, probe, |stats| total(stats) == requests).await;
        // A read may fall into a worker's flush, which writes one counter after the other.
        loop {
            let again = self.stats().await;
            if again.counts_as(&stats) {
                return again;
            }
            stats = again;
        }
    }

    /// Waits until every worker has loaded this many configurations, including the first one.
    pub async fn configured(&self, times: usize) {
        let workers = usize::try_from(self.launch.workers).expect("not that many");
        // The main thread's VM is configured, too, after one that Envoy tries each out in.
        let all = times * (workers + 2);
        let probe = async || self.logs().matches("canary: configured with").count();
        eventually("every worker is configured", probe, |lines| *lines >= all).await;
    }

    /// Waits until this many canary requests are counted.
    pub async fn counted_on_canary(&self, requests: u64) {
        let probe = async || self.stats().await.metric_of("canary", "rq_total");
        eventually("the canary's requests are counted", probe, |total| *total == requests).await;
    }

    /// Waits until the runtime has been polled this many more times: after three of them, each of which comes
    /// a whole interval after the last, every worker has taken over what the runtime said before.
    pub async fn polled(&self, polls: u64) {
        let before = self.stat("filter.poll_success").await;
        let probe = async || self.stat("filter.poll_success").await;
        eventually("further polls", probe, |now| *now >= before + polls).await;
    }

    /// Waits until the filter's timer ticks.
    pub(crate) async fn filter_is_alive(&self) {
        let probe = async || self.stat("filter.heartbeat").await;
        eventually("the filter's heartbeat", probe, |heartbeat| *heartbeat > 0).await;
    }

    /// The filter's configuration as it was pushed last.
    pub fn configuration(&mut self) -> Value {
        self.delivery.plugin.configuration().clone()
    }

    /// Pushes another configuration of the filter. It doesn't wait for Envoy to take it.
    pub fn push_config(&mut self, change: impl FnOnce(&mut Value)) {
        change(self.delivery.plugin.configuration());
        self.delivery.push();
    }

    /// Pushes any text as the file that Envoy watches.
    pub fn push_text(&self, text: &str) {
        self.delivery.push_text(text);
    }

    /// Changes the plugin's resource beyond its configuration, and pushes it.
    pub fn push_plugin(&mut self, change: impl FnOnce(&mut FilterPlugin)) {
        change(&mut self.delivery.plugin);
        self.delivery.push();
    }

    /// Kills Envoy and starts it again with the same configuration.
    ///
    /// # Panics
    /// When it doesn't come up.
    pub async fn restart(&mut self) {
        self.envoy.kill().await;
        self.envoy =
            EnvoyProcess::start(&self.launch).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs the built canaryctl against this Envoy.
    ///
    /// # Panics
    /// When it can't be run, or runs for more than two minutes (see [`crate::wait_limit`]).
    pub async fn canaryctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(artifacts::canaryctl());
        command
            .args(arguments)
            .env("CANARYCTL_ENVOYS", self.admin.address().to_string())
            .kill_on_drop(true);
        let output = tokio::time::timeout(wait_limit(2 * MINUTE), command.output()).await;
        output.unwrap_or_else(|_| panic!("{arguments:?} doesn't end")).expect("canaryctl runs")
    }

    /// What the filter was called for while `what` ran, and what it asked of Envoy each time. Slow:
    /// Envoy logs every call.
    ///
    /// # Panics
    /// When the admin doesn't answer.
    pub async fn traced<T>(&self, what: impl Future<Output = T>) -> (T, Vec<Callback>) {
        let level = async |level| {
            let answer = self.admin.post(&format!("/logging?wasm={level}")).await;
            assert_eq!(answer.expect("the admin answers").0, 200);
        };
        let before = self.logs().len();
        level("trace").await;
        let result = what.await;
        level("info").await;
        (result, Callback::read(&self.logs()[before..]))
    }

    /// Everything Envoy has logged.
    #[must_use]
    pub fn logs(&self) -> String {
        fs::read(&self.launch.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the end of Envoy's log\n{}\n---", envoy::tail(&self.launch.log));
        }
    }
}
