//! The controller under fire: `canaryctl serve`, killed and started again with the same journals, on a disk
//! that may be full.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hyper::Method;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::plan::LABELS;
use crate::{ClientRequest, TestClient, artifacts, free_port, wait_limit};

/// How long a controller that is asked to end may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder with a rollout file, and the controller that serves it.
#[derive(Debug)]
pub(super) struct ChaosController {
    folder: PathBuf,
    at: SocketAddr,
    process: Option<Child>,
    disk_full: bool,
    /// Each end that nobody asked for.
    pub(super) own_ends: Vec<String>,
}

impl ChaosController {
    /// Writes the rollout file into the folder and starts the controller for an Envoy.
    pub(super) fn start(folder: &Path, envoy: &str) -> Self {
        fs::create_dir(folder.join("state")).expect("a folder for journals");
        fs::write(folder.join("demo.yaml"), rollout(envoy).to_string()).expect("a rollout file");
        let folder = folder.to_owned();
        let (at, own_ends) = (free_port(), Vec::new());
        let mut this = Self { folder, at, process: None, disk_full: false, own_ends };
        this.spawn();
        this
    }

    /// Where its journals are.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A client of its interface.
    pub(super) fn client(&self) -> ControllerClient {
        ControllerClient { at: self.at }
    }

    /// Starts it, unless it runs.
    pub(super) fn spawn(&mut self) {
        if self.process.is_some() {
            return;
        }
        // The system's limit on a file's size fails writes as a full disk does; it needs no root, and it can
        // be raised again while the process runs.
        let limit = if self.disk_full { "0" } else { "unlimited" };
        let script = format!("trap '' XFSZ; ulimit -S -f {limit}; exec \"$0\" \"$@\"");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "sh", "-c", &script]);
        command.arg(artifacts::canaryctl()).arg("serve").arg(&self.folder);
        command.arg("--state").arg(self.state());
        command.args(["--listen", &self.at.to_string(), "--tick", "200ms"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.kill_on_drop(true).spawn().expect("the controller starts"));
    }

    /// Kills it as a crash would.
    pub(super) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("the controller can be killed");
        }
    }

    /// Starts it again if it has ended by itself, and notes that.
    pub(super) fn revive(&mut self) {
        let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
        if let Some(status) = ended {
            let disk = if self.disk_full { " on a full disk" } else { "" };
            self.own_ends.push(format!("the controller ended by itself{disk}: {status}"));
            self.process = None;
            self.spawn();
        }
    }

    /// Fills the disk for it, or frees it.
    pub(super) fn fill_disk(&mut self, full: bool) {
        self.disk_full = full;
        let Some(pid) = self.process.as_ref().and_then(Child::id) else { return };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
        let limit = Rlimit { current: full.then_some(0), maximum: None };
        // A process that has just ended has no limits; `revive` finds it.
        let _ended = prlimit(Some(pid), Resource::Fsize, limit);
    }

    /// Asks it to end and waits until it has; what is wrong with that, if anything.
    pub(super) async fn end(&mut self) -> Option<String> {
        let mut process = self.process.take()?;
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        match tokio::time::timeout(wait_limit(PATIENCE), process.wait()).await {
            Ok(Ok(_)) if asked => None,
            other => Some(format!("SIGTERM doesn't end the controller: {other:?}")),
        }
    }
}

/// A release passes in some ten seconds; how many of its requests fail hardly matters.
fn rollout(envoy: &str) -> Value {
    json!({
        "rollout": "demo",
        "envoys": [envoy],
        "lease": "3s",
        "deploy": {"command": ["/bin/true"], "timeout": "20s", "minRequests": 20},
        "steps": [
            {"setWeight": 20}, {"pause": {"duration": "1s"}},
            {"setWeight": 60}, {"pause": {"duration": "1s"}},
        ],
        "analysis": {"metrics": [{"name": "failures", "kind": "failureRate", "margin": "40%"}]},
    })
}

/// A client of the controller's interface, which may not be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct ControllerClient {
    at: SocketAddr,
}

impl ControllerClient {
    /// The rollout as the controller shows it; `None` where it doesn't answer.
    pub(super) async fn status(&self) -> Option<Value> {
        let (status, body) = self.ask(ClientRequest::get("/api/v1/rollouts/demo")).await?;
        (status == 200).then_some(body)
    }

    /// Gives a command; whether the controller took it.
    pub(super) async fn steer(&self, verb: &str, body: &Value) -> bool {
        let ask = ClientRequest::new(Method::POST, &format!("/api/v1/rollouts/demo/{verb}"));
        let ask = ask.header("content-type", "application/json").body(body.to_string());
        self.ask(ask).await.is_some_and(|(status, _)| status == 200 || status == 202)
    }

    async fn ask(&self, ask: ClientRequest) -> Option<(u16, Value)> {
        let ask = ask.authority(&self.at.to_string());
        let mut client = TestClient::new(self.at);
        let answer = tokio::time::timeout(Duration::from_secs(2), client.send(ask));
        let answer = answer.await.ok()?.ok()?;
        Some((answer.status, serde_json::from_str(&answer.text()).unwrap_or_default()))
    }
}

/// Keeps releases going: one version of the four after the other. It counts those that began.
pub(super) async fn release_forever(
    client: ControllerClient,
    started: &std::sync::atomic::AtomicU64,
) {
    let mut next = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let Some(shown) = client.status().await else { continue };
        match shown["phase"].as_str() {
            // The versions in turn, and none against itself.
            Some("Pending" | "Healthy" | "Degraded") => {
                next = (next + 1) % LABELS.len();
                let body = json!({"canary_version": LABELS[next]});
                if client.steer("start", &body).await {
                    started.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
            Some("Paused") => {
                client.steer("promote", &json!({"full": true})).await;
            }
            _ => {}
        }
    }
}
