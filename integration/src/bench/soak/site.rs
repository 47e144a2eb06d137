//! What runs during the soak: an Envoy with the full module under load, and a `canaryctl serve`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PER_SECOND, VERSIONS};
use crate::bench::running_controller::RunningController;
use crate::{
    ClientRequest, Load, LoadTally, RecordedRequest, Rig, Running, RunningLoad, TestUpstream,
    artifacts, within,
};

/// Clients that come in turn.
const CLIENTS: u64 = 100_000;
/// The header that says who they are.
const CLIENT: &str = "x-user-id";

/// Everything that runs; it ends when this is dropped.
pub(super) struct SoakSite {
    pub(super) envoy: Running,
    pub(super) controller: Arc<RunningController>,
    traffic: RunningLoad,
    folder: TempDir,
    /// The configurations that were pushed.
    pub(super) pushes: u32,
    /// What the clients saw so far.
    pub(super) seen: SoakTally,
}

/// What the clients saw, added up: an hour's outcomes one by one would fill the memory.
#[derive(Debug, Default)]
pub(super) struct SoakTally {
    /// Requests that were sent.
    pub(super) requests: u64,
    /// Those that weren't answered with 200.
    pub(super) failed: u64,
    /// Those that each version answered, by its label in the response.
    pub(super) by_version: [u64; VERSIONS.len()],
    /// What the first failures looked like.
    pub(super) first_failures: Vec<String>,
}

impl SoakTally {
    /// Adds what was seen since the last time.
    pub(super) fn add(&mut self, tally: &LoadTally) {
        let failed = tally.requests() - tally.with_status(200);
        self.requests += tally.requests();
        self.failed += failed;
        for (count, version) in self.by_version.iter_mut().zip(VERSIONS) {
            *count += tally.of_version(version);
        }
        if failed > 0 && self.first_failures.len() < 5 {
            self.first_failures.push(format!("{tally:?}"));
        }
    }
}

impl SoakSite {
    /// Starts all of it, and waits until the controller knows what Envoy runs.
    pub(super) async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("canary-soak-").tempdir().expect("a folder");
        for name in ["files", "state"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder in it");
        }
        // Envoy reads the module again with each push: a build in the meantime must not change it.
        let module = folder.path().join("canary_filter.wasm");
        std::fs::copy(artifacts::filter(), &module).expect("the module can be copied");
        let rig = Rig::new().wasm(&module).stable(upstream()).canary(upstream());
        let rig = rig.versions(VERSIONS[0], VERSIONS[1]).affinity(json!([{"header": CLIENT}]));
        let envoy = rig.rollout(watch_everything).start().await;
        let rollout = rollout(&envoy.admin().address().to_string()).to_string();
        std::fs::write(folder.path().join("files/demo.yaml"), rollout).expect("the file");
        let state = folder.path().join("state");
        let controller = Arc::new(RunningController::serve(&folder.path().join("files"), &state));
        let idle = |status: &Value| status["stable"]["version"] == VERSIONS[0];
        let status = async || controller.status().await.unwrap_or_default();
        within(Duration::from_secs(30), "an idle rollout", status, idle).await;
        let traffic = envoy.load(Load::ENDLESS).rate(PER_SECOND).each(ask).spawn();
        Self { envoy, controller, traffic, folder, pushes: 0, seen: SoakTally::default() }
    }

    /// The folder of the controller's journals.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Pushes a configuration that differs from the one before and means the same for every request.
    pub(super) fn push(&mut self) {
        self.pushes += 1;
        let more = format!("push-{}.example.com", self.pushes);
        self.envoy.push_config(|config| {
            config["rollouts"][0]["match"] = json!({"authorities": ["service.test", more]});
        });
    }

    /// Adds up what the clients have seen since the last call.
    pub(super) fn take(&mut self) {
        self.seen.add(&self.traffic.take());
    }

    /// Ends the load, adds up the rest, and says for how long it ran.
    pub(super) async fn end_traffic(&mut self) -> Duration {
        let none = Load::to(self.envoy.address(), 0).spawn();
        let traffic = std::mem::replace(&mut self.traffic, none);
        let ran = traffic.elapsed();
        self.seen.add(&traffic.stop().await);
        ran
    }
}

/// All that makes the filter keep something: clients, times, a distribution and a number out of bodies.
fn watch_everything(rollout: &mut Value) {
    rollout["timings"] = json!(["ttfb"]);
    rollout["signals"] = json!([
        {"name": "label", "from": {"response_json": "/predictions/0/label"}, "categories": ["cat", "dog"]},
        {"name": "score", "from": {"response_json": "/score"}, "values": {"scale": 100}},
    ]);
}

/// Every version answers a client alike.
fn upstream() -> TestUpstream {
    TestUpstream::ok().script(|seen: &RecordedRequest| {
        let client = seen.headers.get(CLIENT).and_then(|value| value.to_str().ok()?.parse().ok());
        let client: u64 = client.unwrap_or_default();
        let label = ["cat", "dog", "dog", "bird"][usize::try_from(client % 4).unwrap_or_default()];
        let score = 0.5 + f64::from(u32::try_from(client % 50).unwrap_or_default()) / 100.0;
        let answer = json!({"predictions": [{"label": label}], "score": score}).to_string();
        Some((200, Bytes::from(answer)))
    })
}

/// Clients come in an order that has nothing to do with their numbers.
fn ask(number: u64) -> ClientRequest {
    let client = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % CLIENTS;
    ClientRequest::get("/").header(CLIENT, client.to_string())
}

/// Failures abort. The others are read and judged alike, but only warn: each has a right to a false alarm in
/// some hundred releases, and here nothing may stop a release but a defect.
fn rollout(envoy: &str) -> Value {
    json!({
        "rollout": "demo",
        "envoys": [envoy],
        "lease": "10s",
        "deploy": {"command": ["true"], "timeout": "30s", "minRequests": 100},
        "steps": [
            {"setWeight": 20}, {"pause": {"duration": "1s", "minRequests": 50}},
            {"setWeight": 60}, {"pause": {"duration": "1s"}},
        ],
        "analysis": {
            "splitMismatch": "warn",
            "metrics": [
                {"name": "failures", "kind": "failureRate", "margin": "1%"},
                {"name": "latency", "kind": "latency", "tolerance": 1.5, "onFailure": "warn"},
                {"name": "label", "kind": "distribution", "signal": "label", "onFailure": "warn"},
                {"name": "score", "kind": "values", "signal": "score", "tolerance": 1.2,
                 "worse": "higher", "onFailure": "warn"},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_request_is_counted_and_kept() {
        let outcome = |status, version: &str| crate::RequestOutcome {
            at: Duration::ZERO,
            took: Duration::ZERO,
            status,
            version: Some(version.to_owned()),
            upstream: None,
        };
        let mut seen = SoakTally::default();
        let outcomes = vec![outcome(200, VERSIONS[0]), outcome(200, VERSIONS[2])];
        seen.add(&LoadTally { outcomes, broken: Vec::new() });
        assert_eq!((seen.requests, seen.failed), (2, 0));
        let broken = vec!["connection closed".to_owned()];
        seen.add(&LoadTally { outcomes: vec![outcome(503, VERSIONS[0])], broken });
        assert_eq!((seen.requests, seen.failed, seen.by_version), (4, 2, [2, 0, 1, 0]));
        assert!(seen.first_failures[0].contains("503") && seen.first_failures.len() == 1);
    }
}
