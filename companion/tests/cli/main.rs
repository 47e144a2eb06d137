//! `canaryctl` as an operator runs it: the real binary against fake Envoys, for every result, every error
//! and every exit code.

#![deny(unused_must_use, reason = "a check whose result nobody reads checks nothing")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

mod abort;
mod cohort;
mod coming_from;
mod controller;
mod deploy_example;
mod errors;
mod fake;
mod files;
mod get;
mod hints;
mod list;
mod process;
mod proxy;
mod readme;
mod registry;
mod render;
mod report;
mod schema;
mod serve;
mod set_weight;

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fake::Fake;

/// What a run of `canaryctl` left behind.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    /// The result as JSON.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the exit code.
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Asserts that the messages say something.
    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no \"{text}\" in {self:?}");
        self
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\nstdout:\n{}\nstderr:\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The command, with nothing of this environment's that could change what it says.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_canaryctl"));
    command.args(args).env_clear().env("USER", "ann").env("CANARYCTL_OWNER", "ann@desk");
    // As in a container of one file: a system without certificates must do for all but https.
    command.env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
    command
}

fn run(command: &mut Command) -> Run {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}

/// Runs `canaryctl` against some Envoys.
fn ctl(envoys: &[&Fake], args: &[&str]) -> Run {
    let mut command = command(args);
    for envoy in envoys {
        command.args(["--envoy", &envoy.url]);
    }
    run(&mut command)
}

/// A port on which nobody listens, and which nobody else is given as long as this process lives: a socket
/// that is bound and never listens keeps it. A server that sets SO_REUSEADDR can have it.
fn free_port() -> SocketAddr {
    let holder = tokio::net::TcpSocket::new_v4().unwrap();
    holder.set_reuseaddr(true).unwrap();
    holder.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = holder.local_addr().unwrap();
    std::mem::forget(holder);
    at
}

/// An address where nobody is.
fn nobody() -> String {
    format!("http://{}", free_port())
}

/// Waits until something holds.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Text with the addresses of fakes made the same in every run.
fn plain(run: &Run, envoys: &[&Fake]) -> String {
    let mut text =
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", run.code, run.stdout, run.stderr);
    for (number, envoy) in envoys.iter().enumerate() {
        text = text.replace(&envoy.url, &format!("http://envoy-{number}:9901"));
    }
    text
}
