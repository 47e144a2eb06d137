//! A controller that is measured: `canaryctl run` or `serve` of the rollout `demo`, which dies with this
//! process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use hyper::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{ClientRequest, TestClient, artifacts, free_port};

/// A controller that is running; it's killed when it's dropped.
pub(super) struct RunningController {
    process: Child,
    at: SocketAddr,
}

impl RunningController {
    /// Starts one for a file on some Envoys, separated by commas, with more arguments.
    pub(super) fn start(file: &Path, journal: &Path, envoys: &str, arguments: &[&str]) -> Self {
        let mut command = command();
        command.arg("run").arg(file).arg("--journal").arg(journal).args(arguments);
        command.env("CANARYCTL_ENVOYS", envoys);
        Self::spawn(command)
    }

    /// Starts one that serves the rollout files of a folder, with its journals in another.
    pub(super) fn serve(files: &Path, state: &Path) -> Self {
        let mut command = command();
        command.arg("serve").arg(files).arg("--state").arg(state);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let at = free_port();
        command.args(["--listen", &at.to_string()]).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { process: command.spawn().expect("the controller starts"), at }
    }

    /// Its process, while it runs.
    pub(super) fn pid(&self) -> u32 {
        self.process.id().expect("the controller runs")
    }

    /// The address that it listens on.
    pub(super) fn at(&self) -> SocketAddr {
        self.at
    }

    /// The question for the rollout. A controller answers only those who call it by its own name.
    pub(super) fn question(&self) -> ClientRequest {
        ClientRequest::get("/api/v1/rollouts/demo").authority(&self.at.to_string())
    }

    /// The rollout as it says it is; `None` until it answers.
    pub(super) async fn status(&self) -> Option<Value> {
        let answer = TestClient::new(self.at).send(self.question()).await.ok()?;
        serde_json::from_str(&answer.text()).ok().filter(|_| answer.status == 200)
    }

    /// Asks it to begin a release of a version; the error is its refusal.
    pub(super) async fn release(&self, version: &str) -> Result<(), String> {
        let body = json!({"canary_version": version}).to_string();
        let ask = ClientRequest::new(Method::POST, "/api/v1/rollouts/demo/start").body(body);
        let ask = ask.header("content-type", "application/json").authority(&self.at.to_string());
        let answer = TestClient::new(self.at).send(ask).await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    }

    /// A command for it, not for its Envoys.
    pub(super) fn canaryctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(artifacts::canaryctl());
        command.args(arguments).env_remove("CANARYCTL_ENVOYS").kill_on_drop(true);
        command.env("CANARYCTL_CONTROLLER", format!("http://{}", self.at));
        command
    }

    /// Kills it, and waits until it's gone.
    pub(super) async fn end(mut self) {
        self.process.kill().await.expect("the controller can be killed");
    }
}

fn command() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(artifacts::canaryctl());
    command
}
