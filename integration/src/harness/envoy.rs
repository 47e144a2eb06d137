//! An Envoy process: started, awaited, asked for its port, and sure to end.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::harness::admin::{AdminAddress, EnvoyAdmin};
use crate::harness::artifacts;
use crate::harness::eventually::eventually;

/// What an Envoy is started with.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) bootstrap: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) admin: AdminAddress,
    pub(crate) workers: u32,
    /// The one core for all its threads; none: wherever this process may run.
    pub(crate) core: Option<usize>,
    pub(crate) drain_seconds: u32,
    /// What the listener is called that clients connect to.
    pub(crate) listener: String,
}

/// A running Envoy; it's killed when it's dropped, and by the kernel when this thread ends without
/// a drop.
#[derive(Debug)]
pub(crate) struct EnvoyProcess {
    process: Child,
    listener: SocketAddr,
}

impl EnvoyProcess {
    /// Starts Envoy and waits until it serves.
    pub(crate) async fn start(launch: &Launch) -> Result<Self, String> {
        let mut process = spawn(launch);
        let admin = EnvoyAdmin::new(launch.admin.clone());
        let probe = async || match process.try_wait().expect("Envoy's state") {
            Some(status) => Some(Err(format!("Envoy ended with {status}:\n{}", tail(&launch.log)))),
            None => {
                admin.get("/ready").await.is_ok_and(|(status, _)| status == 200).then_some(Ok(()))
            }
        };
        eventually("Envoy is ready", probe, Option::is_some).await.expect("the condition held")?;
        Ok(Self { listener: listener(&admin, &launch.listener).await, process })
    }

    /// Where clients connect to.
    pub(crate) fn listener(&self) -> SocketAddr {
        self.listener
    }

    /// The process's id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Kills it, as a crash would.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.expect("Envoy can be killed");
    }
}

/// `setpriv` asks the kernel to kill Envoy when the thread that started it ends: a test runner that
/// is itself killed leaves nothing behind.
fn spawn(launch: &Launch) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(&launch.log).expect("a log file");
    let mut command = match launch.core {
        Some(core) => {
            let mut pinned = Command::new("taskset");
            pinned.args(["--cpu-list", &core.to_string(), "setpriv"]);
            pinned
        }
        None => Command::new("setpriv"),
    };
    command.args(["--pdeathsig", "KILL", "--"]).arg(artifacts::envoy());
    command.arg("-c").arg(&launch.bootstrap);
    command.args(["--concurrency", &launch.workers.to_string(), "--disable-hot-restart"]);
    // An access log's lines come at once, not after ten seconds.
    command.args(["--file-flush-interval-msec", "50"]);
    command.args(["--drain-time-s", &launch.drain_seconds.to_string()]);
    command.args([
        "--log-level",
        "warning",
        "--component-log-level",
        "wasm:info,config:info,runtime:info",
    ]);
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log file")).stderr(log);
    command.kill_on_drop(true).spawn().expect("setpriv (util-linux) starts Envoy")
}

/// Where the listener of this name listens, or the last one where none is called so.
pub(crate) async fn listener(admin: &EnvoyAdmin, name: &str) -> SocketAddr {
    let listeners = admin.json("/listeners?format=json").await;
    let all = listeners["listener_statuses"].as_array().map_or(&[][..], Vec::as_slice);
    let named = all.iter().rfind(|status| status["name"] == name).or(all.last());
    let address = named.map(|status| &status["local_address"]["socket_address"]);
    let ip = address.and_then(|address| address["address"].as_str()?.parse().ok());
    let port = address.and_then(|address| address["port_value"].as_u64()?.try_into().ok());
    ip.zip(port).map_or_else(|| no_listener(&listeners), |(ip, port)| SocketAddr::new(ip, port))
}

fn no_listener(listeners: &Value) -> SocketAddr {
    panic!("no listener's address in {listeners}")
}

/// The end of a log, enough to see what went wrong.
pub(crate) fn tail(log: &PathBuf) -> String {
    let text =
        fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
