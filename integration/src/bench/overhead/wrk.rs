//! The load: wrk, whose requests cost next to nothing to send, on fixed connections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use tempfile::TempDir;
use tokio::process::{Child, Command};

const CONNECTIONS: u32 = 32;

/// wrk and what it sends.
pub(super) struct Wrk {
    directory: TempDir,
}

impl Wrk {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let script = directory.path().join("requests.lua");
        std::fs::write(script, include_str!("requests.lua")).expect("the script can be written");
        Self { directory }
    }

    /// Sends requests for this many seconds.
    pub(super) fn send(&self, to: SocketAddr, path: &str, seconds: u32) -> Sending {
        let script: PathBuf = self.directory.path().join("requests.lua");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "wrk", "--threads", "1"]);
        command.args(["--connections", &CONNECTIONS.to_string()]);
        command.args(["--duration", &format!("{seconds}s")]).arg("--script").arg(script);
        command.args([format!("http://{to}/"), "--".to_owned(), path.to_owned()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Sending(command.kill_on_drop(true).spawn().expect("setpriv (util-linux) starts wrk"))
    }
}

/// A running wrk process.
pub(super) struct Sending(Child);

impl Sending {
    /// Waits for the end.
    ///
    /// # Panics
    /// When a request failed: such a measurement has no meaning.
    pub(super) async fn finish(self) {
        let Output { status, stdout, stderr } = self.0.wait_with_output().await.expect("wrk ends");
        let said =
            format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let failed = ["Non-2xx", "Socket errors"].iter().any(|sign| said.contains(sign));
        assert!(status.success() && !failed, "wrk: {said}");
    }
}
