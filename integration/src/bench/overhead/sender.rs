//! The load: wrk, or h2load for HTTP/2, whose requests cost next to nothing to send, on fixed
//! connections.

use std::net::SocketAddr;
use std::process::{Output, Stdio};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::workload::{Sender, Workload};

const CONNECTIONS: u32 = 32;
/// Each of h2load's connections has this many requests at a time.
const STREAMS: u32 = 4;
/// One gRPC message of five bytes, with its length before it.
const GRPC_MESSAGE: &[u8] = b"\0\0\0\0\x05\x0a\x03abc";

/// The programs that send, and what they send.
pub(super) struct LoadSender {
    directory: TempDir,
}

impl LoadSender {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let put = |name, bytes: &[u8]| {
            std::fs::write(directory.path().join(name), bytes).expect("the file can be written");
        };
        put("requests.lua", include_str!("requests.lua").as_bytes());
        put("message", GRPC_MESSAGE);
        Self { directory }
    }

    /// Sends requests for this many seconds.
    pub(super) fn send(&self, to: SocketAddr, workload: Workload, seconds: u32) -> Sending {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        let url = format!("http://{to}");
        match workload.sender {
            Sender::Wrk(kind) => {
                command.args(["wrk", "--threads", "1", "--timeout", "10s"]);
                command.args(["--connections", &CONNECTIONS.to_string()]);
                command.args(["--duration", &format!("{seconds}s"), "--script"]);
                command.arg(self.directory.path().join("requests.lua"));
                command.args([&format!("{url}/"), "--", workload.path, kind]);
            }
            Sender::H2 | Sender::Grpc => {
                command.args(["h2load", "--threads", "1", "--header", "x-user-id: user-1"]);
                command.args(["--clients", &CONNECTIONS.to_string()]);
                command.args(["--max-concurrent-streams", &STREAMS.to_string()]);
                command.args(["--duration", &seconds.to_string()]);
                if workload.sender == Sender::Grpc {
                    command.args(["--header", "content-type: application/grpc"]);
                    command.args(["--header", "te: trailers", "--data"]);
                    command.arg(self.directory.path().join("message"));
                }
                command.arg(format!("{url}{}", workload.path));
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Sending(command.kill_on_drop(true).spawn().expect("setpriv (util-linux) starts the load"))
    }
}

/// A running wrk or h2load process.
pub(super) struct Sending(Child);

impl Sending {
    /// Waits for the end.
    ///
    /// # Panics
    /// When a request failed: such a measurement has no meaning.
    pub(super) async fn finish(self) {
        let Output { status, stdout, stderr } = self.0.wait_with_output().await.expect("it ends");
        let said =
            format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let failed = ["Non-2xx", "Socket errors"].iter().any(|sign| said.contains(sign));
        // h2load counts what its end cut off as neither failed nor errored.
        let h2 = said.lines().find_map(|line| line.strip_prefix("requests: "));
        let sound = h2.is_none_or(|line| line.contains(" 0 failed, 0 errored, 0 timeout"));
        assert!(status.success() && !failed && sound, "the load: {said}");
    }
}
