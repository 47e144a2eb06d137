//! The controller against a real Envoy: a rollout file takes a good version to 100 % and a bad one
//! back.

mod full_disk;
mod keyed;
mod kills;
mod unanswered;

use std::path::PathBuf;
use std::process::Output;

use canary_integration::{Load, Rig, Running, artifacts, read_journal};
use serde_json::Value;
use tempfile::TempDir;

const ROLLOUT: &str = "\
rollout: demo
lease: 3s
steps:
  - setWeight: 10
  - pause: {duration: 2s, minRequests: 50}
  - setWeight: 50
  - pause: {duration: 2s}
analysis:
  falseAbort: 1%
  metrics:
    - {name: failures, kind: failureRate, margin: 1%}
    - {name: latency, kind: latency, tolerance: 5}
";

/// A rollout file and its journal.
struct ControllerFolder(TempDir);

impl ControllerFolder {
    fn new() -> Self {
        Self::with(ROLLOUT)
    }

    fn with(rollout: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rollout.yaml"), rollout).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the rollout to its end.
    async fn run(&self, rig: &Running) -> Output {
        let (file, journal) = (self.path("rollout.yaml"), self.path("journal.jsonl"));
        let listen = ["--listen", "127.0.0.1:0", "--journal"];
        let arguments =
            [&["run", file.to_str().unwrap()], &listen[..], &[journal.to_str().unwrap()]];
        rig.canaryctl(&arguments.concat()).await
    }

    /// The observations in the journal.
    fn observations(&self) -> Vec<Value> {
        let records = read_journal(&self.path("journal.jsonl")).into_iter();
        records.filter(|record| record["record"] == "observation").collect()
    }

    /// What was counted of the canary, as the journal has it: requests and failures.
    fn counted(&self) -> (u64, u64) {
        let lines = self.observations();
        let sum =
            |field: &str| lines.iter().filter_map(|line| line["canary"][field].as_u64()).sum();
        (sum("total"), sum("failure"))
    }
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("exit {:?}\n{out}{err}", output.status.code())
}

#[tokio::test]
async fn a_rollout_file_takes_a_good_version_to_all_traffic() {
    let (rig, place) = (Rig::new().start().await, ControllerFolder::new());
    let traffic = rig.load(Load::ENDLESS).rate(300.0).spawn();
    let run = place.run(&rig).await;
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    let tally = traffic.stop().await;
    assert_eq!(tally.with_status(200), tally.requests(), "no request failed: {tally:?}");
    rig.all_go_to("1.1.0").await;
    assert_eq!(rig.runtime_value("canary.demo.owner").await.unwrap_or_default(), "");
    assert_eq!(rig.runtime_value("canary.demo.lease").await.unwrap_or_default(), "");
    let (requests, failures) = place.counted();
    assert!(requests > 100 && failures == 0, "{requests} {failures}\n{}", text(&run));
}

#[tokio::test]
async fn a_bad_version_is_rolled_back_before_the_steps_are_over() {
    let (rig, place) = (
        Rig::new().config(|c| c["rollouts"][0]["guard"]["enabled"] = false.into()).start().await,
        ControllerFolder::new(),
    );
    rig.canary().change(|behavior| behavior.errors = 0.2);
    let traffic = rig.load(Load::ENDLESS).rate(300.0).spawn();
    let run = place.run(&rig).await;
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    assert!(text(&run).contains("rolling back to stable: failures"), "{}", text(&run));
    rig.all_go_to("1.0.0").await;
    let tally = traffic.stop().await;
    let failed = tally.with_status(503);
    assert!(failed > 0 && failed < 60, "{failed} failures\n{}", text(&run));
}

#[tokio::test]
async fn a_slow_version_is_rolled_back() {
    let (rig, place) = (Rig::new().start().await, ControllerFolder::new());
    rig.canary().change(|behavior| behavior.latency = std::time::Duration::from_millis(80));
    let traffic = rig.load(Load::ENDLESS).rate(300.0).concurrency(32).spawn();
    let run = place.run(&rig).await;
    traffic.stop().await;
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    assert!(text(&run).contains("rolling back to stable: latency"), "{}", text(&run));
    rig.all_go_to("1.0.0").await;
}
