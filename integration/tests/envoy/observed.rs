//! What the tests of Prometheus and of the dashboard look at: an Envoy with traffic, a controller that
//! runs a rollout, and a Prometheus that scrapes both.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use canary_integration::{
    AdminAddress, AdminOn, Load, PrometheusProcess, Rig, Running, RunningLoad, artifacts, free_port,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A step that lasts as long as any test, with a metric of each kind that has evidence.
const ENDLESS: &str = "\
rollout: demo
lease: 30s
steps:
  - setWeight: 30
  - pause: {}
analysis:
  falseAbort: 1%
  metrics:
    - {name: failures, kind: failureRate, margin: 40%}
    - {name: latency, kind: latency, tolerance: 100}
";

/// A rollout file, the place of its journal, and where the controller that runs it can be asked.
pub(crate) struct ControllerProcess {
    folder: TempDir,
    pub(crate) at: SocketAddr,
}

impl ControllerProcess {
    pub(crate) fn new(rollout: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rollout.yaml"), rollout).unwrap();
        Self { folder, at: free_port() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let listen = ["--listen".to_owned(), self.at.to_string()];
        [
            vec!["run".into(), path("rollout.yaml"), "--journal".into(), path("journal.jsonl")],
            listen.into(),
        ]
        .concat()
    }

    /// Runs the rollout to its end.
    pub(crate) async fn run(&self, rig: &Running) -> Output {
        let arguments = self.arguments();
        rig.canaryctl(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// Runs the rollout in the background, until the child is dropped.
    fn spawn(&self, rig: &Running) -> Child {
        let mut command = Command::new(artifacts::canaryctl());
        command.args(self.arguments()).env("CANARYCTL_ENVOYS", rig.admin().address().to_string());
        let log = std::fs::File::create(self.path("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command.kill_on_drop(true).spawn().unwrap()
    }

    /// The rollout as the controller shows it; nothing while there is none yet.
    pub(crate) async fn status(&self, rig: &Running) -> Value {
        let url = format!("http://{}", self.at);
        let get = ["get", "rollout", "demo", "-o", "json", "--controller", &url];
        let output = rig.canaryctl(&get).await;
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

/// Two versions that differ in errors and times, watched from all sides.
pub(crate) struct ObservedRig {
    pub(crate) prometheus: PrometheusProcess,
    _traffic: RunningLoad,
    _controller: (ControllerProcess, Child),
    _rig: Running,
}

impl ObservedRig {
    pub(crate) async fn start() -> Self {
        let rig = Rig::new().admin(AdminOn::Tcp).unguarded().reading_bodies();
        let rig = rig.rollout(|rollout| {
            rollout["outcome_age"] = "1s".into();
            rollout["timings"] = json!(["ttfb", "gap"]);
            let from = json!({"response_json": "/tokens"});
            rollout["signals"] = json!([{"name": "tokens", "from": from, "values": {}}]);
        });
        let rig = rig.start().await;
        for upstream in [rig.stable(), rig.canary()] {
            upstream.change(|behavior| {
                behavior.body = Some(r#"{"tokens": 300}"#.into());
                behavior.headers = vec![("content-type".to_owned(), "application/json".to_owned())];
                (behavior.chunks, behavior.pause) = (Some(4), Duration::from_millis(1));
            });
        }
        rig.canary().change(|behavior| {
            behavior.errors = 0.2;
            behavior.latency = Duration::from_millis(30);
        });
        let controller = ControllerProcess::new(ENDLESS);
        let child = controller.spawn(&rig);
        rig.weight_in_force(300_000).await;
        let traffic = rig.load(Load::ENDLESS).concurrency(16).rate(300.0).spawn();
        let prometheus = PrometheusProcess::start(&[admin_port(&rig)], Some(controller.at)).await;
        Self { prometheus, _traffic: traffic, _controller: (controller, child), _rig: rig }
    }
}

/// Where Prometheus can scrape an Envoy whose admin is on a port.
pub(crate) fn admin_port(rig: &Running) -> SocketAddr {
    match rig.admin().address() {
        AdminAddress::Tcp(at) => *at,
        AdminAddress::Unix(path) => panic!("Prometheus can't scrape a socket: {}", path.display()),
    }
}

pub(crate) fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("exit {:?}\n{out}{err}", output.status.code())
}
