//! canaryctl in front of a fleet: one command, or a controller that runs.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::bench::process;
use crate::bench::running_controller::RunningController;
use crate::{artifacts, within};

const DEADLINE: Duration = Duration::from_secs(60);

/// Sets a weight on all Envoys with `canaryctl set weight`, and says how long it took.
pub(super) async fn set_weight(urls: &[String], percent: u32) -> Duration {
    let begin = Instant::now();
    let mut command = Command::new(artifacts::canaryctl());
    command.args(["set", "weight", "demo", &percent.to_string(), "--takeover"]);
    command.env("CANARYCTL_ENVOYS", urls.join(",")).stdin(Stdio::null()).kill_on_drop(true);
    run(command).await;
    begin.elapsed()
}

async fn run(mut command: Command) {
    let output = command.output().await.expect("canaryctl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A controller whose rollout stays at 5 %, and at 10 % once it's promoted.
pub(super) struct FleetController {
    controller: RunningController,
    _dir: TempDir,
}

impl FleetController {
    /// Starts it on these Envoys.
    pub(super) fn start(urls: &[String]) -> Self {
        let dir = tempfile::Builder::new().prefix("canary-fleet-").tempdir().expect("a directory");
        let (file, journal) = (dir.path().join("rollout.json"), dir.path().join("journal.jsonl"));
        std::fs::write(&file, rollout().to_string()).expect("the rollout file can be written");
        let controller =
            RunningController::start(&file, &journal, &urls.join(","), &["--takeover"]);
        Self { controller, _dir: dir }
    }

    /// Ends the pause that it is in, and gives the moment at which that was asked.
    pub(super) async fn promote(&self) -> Instant {
        let begin = Instant::now();
        run(self.controller.canaryctl(&["promote", "demo"])).await;
        begin
    }

    /// Waits until it pauses with this weight set.
    pub(super) async fn paused_at(&self, percent: f64) {
        let holds = |status: &Value| {
            status["phase"] == "Paused" && status["weight"]["set"].as_f64() == Some(percent)
        };
        self.comes_to(&format!("a pause at {percent} %"), holds).await;
    }

    /// Waits until its metric has data, without which no step ends.
    pub(super) async fn judged(&self) {
        let judged = |status: &Value| status["metrics"][0]["status"] == "pass";
        self.comes_to("data of its metric", judged).await;
    }

    async fn comes_to(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        let probe = async || self.controller.status().await.unwrap_or_default();
        let _status = within(DEADLINE, what, probe, holds).await;
    }

    /// What it shows of the rollout; null until it answers.
    pub(super) async fn status(&self) -> Value {
        self.controller.status().await.unwrap_or_default()
    }

    /// How many cores it keeps busy over some time.
    #[allow(clippy::cast_precision_loss)]
    pub(super) async fn cores_over(&self, time: Duration) -> f64 {
        let (begin, before) = (Instant::now(), process::cpu_ns(self.controller.pid()));
        tokio::time::sleep(time).await;
        let used = process::cpu_ns(self.controller.pid()) - before;
        used as f64 / begin.elapsed().as_nanos() as f64
    }

    /// The most memory that it has had, in bytes.
    pub(super) fn peak_bytes(&self) -> u64 {
        process::peak_bytes(self.controller.pid()).expect("the controller runs")
    }

    /// Kills the controller; its Envoys keep what it set.
    pub(super) async fn end(self) {
        self.controller.end().await;
    }
}

fn rollout() -> Value {
    json!({
        "rollout": "demo",
        "lease": "30s",
        "steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 10}, {"pause": {}}],
        "analysis": {
            "falseAbort": "1%",
            // The simulated histograms don't move, so latency would never be judged.
            "metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}],
        },
    })
}
