//! The running containers, as the scenarios use them: by the compose command line, and by the ports that
//! are published on this host's loopback.

use std::env;
use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::Duration;

use canary_integration::{AdminAddress, EnvoyAdmin, FilterStats, Load, within};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// The longest that any command may take.
const COMMAND: Duration = Duration::from_secs(60);
/// The longest that a rollout may take.
const ROLLOUT: Duration = Duration::from_secs(120);
/// The longest that anything else that is waited for may take: a lease of 5 s, an Envoy's start.
const CONDITION: Duration = Duration::from_secs(40);

const TOKEN: [&str; 2] = ["--token-file", "/run/secrets/canaryctl-token"];

/// The compose project that the environment names (`COMPOSE_PROJECT_NAME`, `COMPOSE_FILE`), driven by
/// `$COMPOSE`: `docker compose` or `docker-compose`.
#[derive(Debug)]
pub(crate) struct System {
    compose: Vec<String>,
}

/// A container of the controller's.
#[derive(Debug)]
pub(crate) struct ComposeController {
    id: String,
}

/// How a controller ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: String,
    pub(crate) log: String,
}

impl System {
    pub(crate) fn from_environment() -> Self {
        let compose = env::var("COMPOSE").unwrap_or_else(|_| "docker compose".to_owned());
        let project = env::var("COMPOSE_PROJECT_NAME");
        assert!(project.is_ok(), "no COMPOSE_PROJECT_NAME: run ./scripts/integration");
        Self { compose: compose.split_whitespace().map(str::to_owned).collect() }
    }

    /// Waits until Envoy answers, with the filter alive and both versions behind it.
    pub(crate) async fn is_up(&self) {
        let probe = async || self.control().await.get("/ready").await.map(|(code, _)| code);
        let ready = self.within("Envoy is ready", probe, |code| *code == Ok(200)).await;
        assert_eq!(ready, Ok(200));
        let alive = async || self.stat("filter.heartbeat").await;
        self.within("the filter's heartbeat", alive, |heartbeat| *heartbeat > 0).await;
        let whole = async || self.load(32).await.await.with_status(200);
        self.within("the service answers", whole, |good| *good == 32).await;
    }

    /// The door to Envoy's admin. Nobody listens on port 0: that is one that isn't published yet.
    pub(crate) async fn control(&self) -> EnvoyAdmin {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        let at = self.published("envoy", 9901).await.unwrap_or(nobody);
        EnvoyAdmin::new(AdminAddress::Tcp(at))
    }

    pub(crate) async fn within<T: std::fmt::Debug>(
        &self,
        what: &str,
        probe: impl AsyncFnMut() -> T,
        holds: impl Fn(&T) -> bool,
    ) -> T {
        within(CONDITION, what, probe, holds).await
    }

    /// This many requests to Envoy.
    pub(crate) async fn load(&self, requests: u64) -> Load {
        let at = self.published("envoy", 10_000).await.expect("Envoy's port is published");
        Load::to(at, requests).concurrency(16)
    }

    /// Waits until all requests go to this version.
    pub(crate) async fn all_go_to(&self, version: &str) {
        let load = self.load(64).await;
        let probe = async || load.clone().await.of_version(version);
        self.within(&format!("all requests go to {version}"), probe, |all| *all == 64).await;
    }

    /// Waits until the filters have this weight in force, in percent.
    pub(crate) async fn weight_in_force(&self, percent: u64) {
        let probe = async || self.stat("demo.weight_ppm").await;
        let what = format!("{percent} % in force");
        self.within(&what, probe, |ppm| *ppm == percent * 10_000).await;
    }

    /// A statistic of the filter; 0 where Envoy doesn't know it or doesn't answer.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        let admin = self.control().await;
        if !admin.get("/ready").await.is_ok_and(|(code, _)| code == 200) {
            return 0;
        }
        FilterStats::read(&admin).await.value(name)
    }

    /// The values of a query that Prometheus has now.
    pub(crate) async fn prometheus(&self, promql: &str) -> usize {
        let Some(at) = self.published("prometheus", 9090).await else { return 0 };
        let path = format!("/api/v1/query?query={}", utf8_percent_encode(promql, NON_ALPHANUMERIC));
        let answer = EnvoyAdmin::new(AdminAddress::Tcp(at)).json(&path).await;
        answer["data"]["result"].as_array().map_or(0, Vec::len)
    }

    /// Runs canaryctl in a container of its own in the control network, and expects it to succeed.
    pub(crate) async fn canaryctl(&self, arguments: &[&str]) {
        let run = ["run", "--rm", "--no-deps", "-T", "canaryctl"];
        self.compose(&[&run, arguments].concat(), &[]).await;
    }

    /// Starts the controller with one of the rollout files.
    pub(crate) async fn controller(&self, rollout: &str) -> ComposeController {
        let up = ["up", "-d", "--no-deps", "--force-recreate", "canaryctl"];
        self.compose(&up, &[("ROLLOUT", rollout)]).await;
        let id = self.compose(&["ps", "-a", "-q", "canaryctl"], &[]).await;
        ComposeController {
            id: id.lines().last().expect("the controller's container").trim().to_owned(),
        }
    }

    /// Restarts a service's container.
    pub(crate) async fn restart(&self, service: &str) {
        self.compose(&["restart", "-t", "2", service], &[]).await;
    }

    /// Where a service's port is published. It may be another one after a restart.
    async fn published(&self, service: &str, port: u16) -> Option<SocketAddr> {
        let output = self.try_compose(&["port", service, &port.to_string()], &[]).await;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    }

    async fn compose(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        said(arguments, &self.try_compose(arguments, environment).await)
    }

    async fn try_compose(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let (program, first) = self.compose.split_first().expect("a compose command");
        let mut command = Command::new(program);
        command.args(first).args(arguments).envs(environment.iter().copied());
        output(command, COMMAND).await
    }
}

impl ComposeController {
    /// The rollout as the controller shows it, asked in its own container; null while it can't.
    pub(crate) async fn shows(&self) -> Value {
        let get = ["get", "rollout", "demo", "-o", "json"];
        let output = self.exec(&[&get[..], &TOKEN].concat()).await;
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Runs a canaryctl command against the rollout.
    pub(crate) async fn steer(&self, verb: &str) {
        let arguments = [&[verb, "demo"], &TOKEN[..]].concat();
        said(&arguments, &self.exec(&arguments).await);
    }

    /// The controller alone is asked, whether it reaches an Envoy or not.
    async fn exec(&self, arguments: &[&str]) -> Output {
        let into = ["exec", "-e", "CANARYCTL_ENVOYS=", &self.id, "canaryctl"];
        docker(&[&into, arguments].concat(), COMMAND).await
    }

    /// Waits for its end.
    pub(crate) async fn ends(&self) -> Ended {
        let code = said(&["wait"], &docker(&["wait", &self.id], ROLLOUT).await);
        let logs = docker(&["logs", &self.id], COMMAND).await;
        Ended { code: code.trim().to_owned(), log: text(&logs) }
    }

    /// Takes it off all networks, or puts it back.
    pub(crate) async fn disconnect(&self) -> Cut<'_> {
        let of = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}";
        let network = said(&["inspect"], &docker(&["inspect", "-f", of, &self.id], COMMAND).await);
        let cut = Cut { network: network.trim().to_owned(), controller: self };
        let arguments = ["network", "disconnect", &cut.network, &self.id];
        said(&arguments, &docker(&arguments, COMMAND).await);
        cut
    }
}

/// A controller without its network.
#[derive(Debug)]
#[must_use]
pub(crate) struct Cut<'a> {
    network: String,
    controller: &'a ComposeController,
}

impl Cut<'_> {
    /// Puts it back, under the name that others know it by.
    pub(crate) async fn mend(self) {
        let alias = ["network", "connect", "--alias", "canaryctl"];
        let arguments = [&alias, &[self.network.as_str(), &self.controller.id][..]].concat();
        said(&arguments, &docker(&arguments, COMMAND).await);
    }
}

async fn docker(arguments: &[&str], within: Duration) -> Output {
    let mut command = Command::new("docker");
    command.args(arguments);
    output(command, within).await
}

async fn output(mut command: Command, within: Duration) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    match timeout(within, command.output()).await {
        Ok(output) => output.unwrap_or_else(|error| panic!("{command:?}: {error}")),
        Err(_) => panic!("not within {within:?}: {command:?}"),
    }
}

/// What a command said that must succeed.
fn said(arguments: &[&str], output: &Output) -> String {
    assert!(output.status.success(), "{arguments:?}: {}", text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}
