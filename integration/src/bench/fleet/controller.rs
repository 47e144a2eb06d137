//! canaryctl in front of a fleet: one command, or a controller that runs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::bench::process;
use crate::harness::artifacts;
use crate::harness::rig::free_port;

const DEADLINE: Duration = Duration::from_secs(60);

/// Sets a weight on all Envoys with `canaryctl set weight`, and says how long it took.
pub(super) async fn set_weight(urls: &[String], percent: u32) -> Duration {
    let begin = Instant::now();
    let mut command = canaryctl(urls);
    command.args(["set", "weight", "demo", &percent.to_string(), "--takeover"]);
    let output = command.output().await.expect("canaryctl starts");
    let took = begin.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    took
}

fn canaryctl(urls: &[String]) -> Command {
    let mut command = Command::new(artifacts::canaryctl());
    command.env("CANARYCTL_ENVOYS", urls.join(","));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A controller whose rollout stays at 5 %, and at 10 % once it's promoted.
pub(super) struct FleetController {
    process: Child,
    url: String,
    _dir: TempDir,
}

impl FleetController {
    /// Starts it and waits for its interface.
    pub(super) async fn start(urls: &[String]) -> Self {
        let dir = tempfile::Builder::new().prefix("canary-fleet-").tempdir().expect("a directory");
        let listen = free_port();
        let mut command = canaryctl(urls);
        command.arg("run").arg(rollout_file(dir.path()));
        command.args(["--takeover", "--listen", &listen.to_string(), "--journal"]);
        command.arg(dir.path().join("journal.jsonl"));
        let log = std::fs::File::create(dir.path().join("log")).expect("a log");
        command.stdout(log.try_clone().expect("the log")).stderr(log);
        let process = command.spawn().expect("canaryctl starts");
        Self { process, url: format!("http://{listen}"), _dir: dir }
    }

    fn pid(&self) -> u32 {
        self.process.id().expect("the controller runs")
    }

    /// Ends the pause that it is in, and gives the moment at which that was asked.
    pub(super) async fn promote(&self) -> Instant {
        let begin = Instant::now();
        let mut command = canaryctl(&[]);
        command.args(["promote", "demo", "--controller", &self.url]);
        let output = command.output().await.expect("canaryctl starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        begin
    }

    /// Waits until it pauses with this weight in force, which every Envoy in reach has confirmed then.
    pub(super) async fn paused_at(&self, percent: f64) {
        let begin = Instant::now();
        loop {
            let status = self.status().await;
            if status["phase"] == "Paused" && status["weight"]["set"].as_f64() == Some(percent) {
                return;
            }
            assert!(begin.elapsed() < DEADLINE, "not paused at {percent} %: {status:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What `get` shows; null until it answers.
    pub(super) async fn status(&self) -> Value {
        let mut command = canaryctl(&[]);
        command.args(["get", "rollout", "demo", "-o", "json", "--controller", &self.url]);
        let output = command.output().await.expect("canaryctl starts");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Waits until its metric has data, without which no step ends.
    pub(super) async fn judged(&self) {
        let begin = Instant::now();
        loop {
            let status = self.status().await;
            if status["metrics"][0]["status"] == "pass" {
                return;
            }
            assert!(begin.elapsed() < DEADLINE, "no data: {status:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How many cores it keeps busy over some time.
    #[allow(clippy::cast_precision_loss)]
    pub(super) async fn cores_over(&self, time: Duration) -> f64 {
        let (begin, before) = (Instant::now(), process::cpu_ns(self.pid()));
        tokio::time::sleep(time).await;
        let used = process::cpu_ns(self.pid()) - before;
        used as f64 / begin.elapsed().as_nanos() as f64
    }

    /// The most memory that it has had, in bytes.
    pub(super) fn peak_bytes(&self) -> u64 {
        process::peak_bytes(self.pid()).expect("the controller runs")
    }

    /// Kills the controller; its Envoys keep what it set.
    pub(super) async fn end(mut self) {
        self.process.kill().await.expect("canaryctl can be killed");
    }
}

fn rollout_file(dir: &Path) -> PathBuf {
    let rollout = json!({
        "rollout": "demo",
        "lease": "30s",
        "steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 10}, {"pause": {}}],
        "analysis": {
            "falseAbort": "1%",
            // The simulated histograms don't move, so latency would never be judged.
            "metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}],
        },
    });
    let file = dir.join("rollout.json");
    std::fs::write(&file, rollout.to_string()).expect("the rollout file can be written");
    file
}
