//! Whole releases under `canaryctl serve` on a real Envoy: a hook puts versions into the two places, the
//! rollout takes one over all traffic or back, and the handover makes it stable. Then the same while the
//! controller is killed and Envoy restarts in every phase.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use canary_integration::{
    Load, Rig, Running, TestUpstream, artifacts, eventually, free_port, read_journal, whole_lines,
    within,
};
use fastrand::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Puts a version into a place, which is a file that the place's upstream answers with. It waits as long as
/// the test holds it. A hook whose controller was killed goes on beside the one that is called again, so each
/// has a file of its own to move.
const DEPLOY: &str = "\
echo \"$CANARY_ROLE $CANARY_VERSION\" >> called
while [ -e \"hold-$CANARY_ROLE\" ]; do sleep 0.05; done
echo \"$CANARY_VERSION\" > \"next-$$\"
mv \"next-$$\" \"place-$CANARY_ROLE\"
";

/// An upstream that is the version in its place; one that is bad fails a fifth of its requests.
fn place(folder: &Path, role: &str) -> TestUpstream {
    let (file, asked) = (folder.join(format!("place-{role}")), AtomicU64::new(0));
    TestUpstream::ok().script(move |_| {
        let version = fs::read_to_string(&file).unwrap_or_default();
        let fails = version.contains("bad") && asked.fetch_add(1, Ordering::Relaxed) % 5 == 0;
        Some((if fails { 500 } else { 200 }, version.trim().to_owned().into()))
    })
}

/// An Envoy, and a `serve` that watches a folder with the rollout's file.
struct ReleaseRig {
    rig: Running,
    folder: TempDir,
    interface: SocketAddr,
    serve: Child,
}

impl ReleaseRig {
    async fn start(steps: &Value, min_requests: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("state")).unwrap();
        for (file, text) in
            [("deploy.sh", DEPLOY), ("place-stable", "1.0.0"), ("place-canary", "1.1.0")]
        {
            fs::write(path.join(file), text).unwrap();
        }
        let rig = Rig::new().unguarded().listen(free_port());
        let rig = rig.stable(place(path, "stable")).canary(place(path, "canary")).start().await;
        let rollout = json!({
            "rollout": "demo",
            "envoys": [rig.admin().address().to_string()],
            "lease": "5s",
            "versions": {"stable": "1.0.0", "canary": "1.2.0"},
            "deploy": {"command": ["/bin/sh", "./deploy.sh"], "timeout": "60s", "minRequests": min_requests},
            "steps": steps,
            "analysis": {"metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}]},
        });
        fs::write(path.join("demo.yaml"), rollout.to_string()).unwrap();
        let interface = free_port();
        let serve = serve(path, interface);
        let started = Self { rig, folder, interface, serve };
        started.comes_to("an idle rollout", |shown| shown["stable"]["version"] == "1.0.0").await;
        started
    }

    async fn ctl(&self, arguments: &[&str]) -> Output {
        let controller = format!("http://{}", self.interface);
        self.rig.canaryctl(&[arguments, &["--controller", &controller]].concat()).await
    }

    /// Says something to the controller, once it listens and has seen Envoy.
    async fn tell(&self, arguments: &[&str]) {
        let told = async || self.ctl(arguments).await;
        eventually(&format!("{arguments:?}"), told, |output| output.status.success()).await;
    }

    /// Waits until `get` shows something.
    async fn comes_to(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let shown = async || {
            let shown = self.ctl(&["get", "rollout", "demo", "-o", "json"]).await;
            serde_json::from_slice(&shown.stdout).unwrap_or(Value::Null)
        };
        within(Duration::from_secs(40), what, shown, |shown| holds(shown)).await
    }

    async fn is(&self, phase: &str) -> Value {
        self.comes_to(phase, |shown| shown["phase"] == phase).await
    }

    /// Waits until Envoy has been told this weight, whatever was in its runtime before.
    async fn weight_is_set(&self, weight: &str) {
        let told = async || self.rig.runtime_value("canary.demo.weight").await;
        let what = format!("weight {weight}");
        within(Duration::from_secs(40), &what, told, |told| told.as_deref() == Some(weight)).await;
    }

    /// How often the hook was called for a role.
    fn calls(&self, role: &str) -> usize {
        let text = fs::read_to_string(self.folder.path().join("called")).unwrap_or_default();
        whole_lines(&text).filter(|call| call.starts_with(role)).count()
    }

    async fn has_calls(&self, role: &str, times: usize) {
        let calls = async || self.calls(role);
        within(Duration::from_secs(40), "a call of the hook", calls, |calls| *calls == times).await;
    }

    fn hold(&self, role: &str) {
        fs::write(self.folder.path().join(format!("hold-{role}")), "").unwrap();
    }

    fn let_go(&self, role: &str) {
        fs::remove_file(self.folder.path().join(format!("hold-{role}"))).unwrap();
    }

    fn records(&self) -> Vec<Value> {
        read_journal(&self.folder.path().join("state/demo.jsonl"))
    }

    /// The events of a release that are in its journal, of these names.
    fn told(&self, names: &[&str]) -> Vec<String> {
        let records = self.records();
        let events = records.iter().filter_map(|record| record["events"].as_array()).flatten();
        let names = |event: &Value| {
            let name = event["event"].as_str().unwrap().to_owned();
            names.contains(&name.as_str()).then_some(name)
        };
        events.filter_map(names).collect()
    }

    /// Everything goes to stable's place, both places have the version, and nothing returns on its own.
    async fn is_released(&self, version: &str) {
        self.weight_is_set(&format!("0@{version}")).await;
        self.rig.weight_in_force(0).await;
        self.rig.all_go_to(version).await;
        let runtime = async |key: &str| self.rig.runtime_value(&format!("canary.demo.{key}")).await;
        let shown = [runtime("stable_version").await, runtime("canary_version").await];
        assert_eq!(shown, ["1.0.0", "1.1.0"].map(|place| Some(format!("{place}={version}"))));
        for key in ["lease", "owner"] {
            assert_eq!(runtime(key).await.unwrap_or_default(), "", "{key}");
        }
        for role in ["stable", "canary"] {
            let place = fs::read_to_string(self.folder.path().join(format!("place-{role}")));
            assert_eq!(place.unwrap().trim(), version, "{role}");
        }
        let answer = self.rig.get("/").await;
        assert_eq!(
            (answer.text().as_str(), answer.upstream()),
            (version, Some("1.0.0")),
            "{answer:?}"
        );
    }

    /// Kills the controller and restarts Envoy, in either order, each at any moment.
    async fn strike(&mut self, dice: &mut Rng) {
        let controller_first = dice.bool();
        for controller in [controller_first, !controller_first] {
            tokio::time::sleep(Duration::from_millis(dice.u64(0..300))).await;
            if controller {
                self.serve.kill().await.unwrap();
                self.serve = serve(self.folder.path(), self.interface);
            } else {
                self.rig.restart().await;
            }
        }
    }
}

/// A `serve` that the kernel kills with the test.
fn serve(folder: &Path, interface: SocketAddr) -> Child {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(artifacts::canaryctl());
    command.arg("serve").arg(folder).arg("--state").arg(folder.join("state"));
    command.args(["--listen", &interface.to_string(), "--tick", "100ms"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).spawn().unwrap()
}

#[tokio::test]
async fn a_good_version_becomes_stable_and_a_bad_one_is_rolled_back() {
    let steps = json!([
        {"setWeight": 20}, {"pause": {"duration": "1s", "minRequests": 50}},
        {"setWeight": 60}, {"pause": {"duration": "1s"}},
    ]);
    let release = ReleaseRig::start(&steps, 100).await;
    let traffic = release.rig.load(Load::ENDLESS).rate(300.0).spawn();
    release.tell(&["start", "demo"]).await;
    release.is("Healthy").await;
    let tally = traffic.take();
    assert_eq!(tally.with_status(200), tally.requests(), "no user saw a failure: {tally:?}");
    assert!(tally.of_version("1.0.0") > 0 && tally.of_version("1.2.0") > 0, "{tally:?}");
    release.is_released("1.2.0").await;
    let way =
        ["deploying", "deployed", "step", "promoting", "finalizing", "handingOver", "finished"];
    let told = release.told(&way);
    let [canary, stable] = [["deploying", "deployed"]; 2];
    let rest = ["step", "step", "promoting", "finalizing"];
    let expected = [&canary[..], &rest, &stable, &["handingOver", "finished"]].concat();
    assert_eq!(told, expected);

    // The next one is bad: whatever becomes of it, the users of stable's place keep the version before.
    release.tell(&["start", "demo", "--canary-version", "1.3.0-bad"]).await;
    let end = release.is("Degraded").await;
    assert_eq!(end["weight"]["set"], 0, "{end}");
    let tally = traffic.stop().await;
    let failed = tally.with_status(500);
    assert!(failed > 0 && failed < 60, "{failed} failures: {tally:?}");
    assert_eq!(tally.with_status(200) + failed, tally.requests(), "{tally:?}");
    release.rig.all_go_to("1.2.0").await;
    assert_eq!(release.told(&["aborting", "degraded", "finalizing"]), ["aborting", "degraded"]);
    assert_eq!(
        (release.calls("canary"), release.calls("stable")),
        (2, 1),
        "never in stable's place"
    );
}

/// In which order, and how soon after a phase has begun, the seed says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_ends_as_it_should_whatever_dies_in_each_phase() {
    let mut dice = Rng::with_seed(5);
    let steps =
        json!([{"setWeight": 10}, {"pause": {"duration": "1s"}}, {"setWeight": 50}, {"pause": {}}]);
    let mut release = ReleaseRig::start(&steps, 300).await;
    let traffic = release.rig.load(Load::ENDLESS).rate(300.0).spawn();
    release.hold("canary");
    release.tell(&["start", "demo"]).await;
    release.has_calls("canary", 1).await;
    release.strike(&mut dice).await;
    // A hook whose end isn't in the journal is called again, and no weight has moved.
    release.has_calls("canary", 2).await;
    assert_eq!(release.rig.runtime_value("canary.demo.weight").await, None);
    release.let_go("canary");

    release.weight_is_set("10@1.2.0").await;
    release.strike(&mut dice).await;
    release.weight_is_set("50@1.2.0").await;
    release.is("Paused").await;
    release.strike(&mut dice).await;
    release.weight_is_set("50@1.2.0").await;
    release.is("Paused").await;

    release.hold("stable");
    release.tell(&["promote", "demo"]).await;
    release.has_calls("stable", 1).await;
    release.strike(&mut dice).await;
    release.has_calls("stable", 2).await;
    release.weight_is_set("100@1.2.0").await;
    let lease = release.rig.runtime_value("canary.demo.lease").await.unwrap_or_default();
    assert_eq!(lease, "", "nothing returns the users to a place that is being replaced");
    release.let_go("stable");

    release.weight_is_set("50@1.2.0").await;
    release.strike(&mut dice).await;
    release.is("Healthy").await;
    release.is_released("1.2.0").await;
    release.strike(&mut dice).await;
    release.is("Healthy").await;
    release.is_released("1.2.0").await;

    let tally = traffic.stop().await;
    let answered = tally.outcomes.len() as u64;
    assert_eq!(tally.with_status(200), answered, "only a dead Envoy gives no answer: {tally:?}");
    assert_eq!((release.calls("canary"), release.calls("stable")), (2, 2), "done is done");
    let once = ["started", "promoting", "finalizing", "finished"];
    assert_eq!(release.told(&once), once);
    assert_eq!(release.told(&["step", "deployed"]), ["deployed", "step", "step", "deployed"]);
    let records = release.records();
    let of = |name: &str| records.iter().filter(|record| record["record"] == name).count();
    assert_eq!((of("start"), of("end")), (1, 1));
}
