//! `canaryctl run` as a process, against fake Envoys with traffic, and the verbs that steer it.

mod budgets;
mod fleet;
mod hooks;
mod interface;
mod measure;
mod prometheus_access;
mod releases;
mod restart;
mod rollout;
mod steering;
mod terminal;
mod tls;

pub(crate) use interface::{events, http, http_with, raw};

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Run, command, run};
use crate::fake::{Fake, Traffic};

/// The longest that a test waits for anything: 30 s, scaled by `CANARY_TEST_WAIT_FACTOR` as in the
/// integration tests.
pub(crate) fn patience() -> Duration {
    let factor = std::env::var("CANARY_TEST_WAIT_FACTOR").ok();
    Duration::from_secs(30).mul_f64(factor.map_or(1.0, |factor| factor.parse().unwrap()))
}

/// A folder for a rollout file and its journal.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.jsonl")
    }

    /// Every record of the journal.
    fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.journal()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes the rollout file: JSON is YAML.
    fn file(&self, rollout: &Value) -> PathBuf {
        let path = self.folder.path().join("rollout.yaml");
        std::fs::write(&path, rollout.to_string()).unwrap();
        path
    }
}

/// A rollout that takes a good version to 100 % in some seconds.
fn quick(envoys: &[&Fake]) -> Value {
    let envoys: Vec<&str> = envoys.iter().map(|envoy| envoy.url.as_str()).collect();
    json!({
        "rollout": "scorer",
        "envoys": envoys,
        "lease": "3s",
        "steps": [
            {"setWeight": 5}, {"pause": {"duration": "1s", "minRequests": 40}},
            {"setWeight": 50}, {"pause": {"duration": "1s"}},
        ],
        "analysis": {
            "falseAbort": "1%",
            "metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}],
        },
    })
}

/// A rollout that stays at 5 % until somebody says more.
fn patient(envoys: &[&Fake]) -> Value {
    let mut rollout = quick(envoys);
    rollout["steps"] = json!([{"setWeight": 5}, {"pause": {}}]);
    rollout
}

/// A fake with so many requests a second, of whose canary's so many in a hundred fail.
fn busy(canary_fails: u64) -> Fake {
    Fake::start().with(|envoy| envoy.traffic = Some(Traffic::new(400.0, canary_fails)))
}

/// A controller that is running; it is killed when it is dropped.
struct Controller {
    child: Child,
    url: String,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Controller {
    /// Starts one and waits for its interface.
    fn start(place: &Place, file: &Path, args: &[&str]) -> Self {
        let mut controller = Self::spawn(place, file, args);
        let interface = controller.line("interface: http");
        let url = interface.split_whitespace().nth(1).unwrap().to_owned();
        controller.url = url;
        controller
    }

    /// Starts one that may end at once.
    fn spawn(place: &Place, file: &Path, args: &[&str]) -> Self {
        Self::spawn_with(place, file, args, &[])
    }

    /// The same with more in its environment.
    fn spawn_with(place: &Place, file: &Path, args: &[&str], set: &[(&str, &str)]) -> Self {
        let (file, journal) = (file.to_str().unwrap(), place.journal());
        let mut command = command(&["run", file, "--tick", "100ms", "--listen", "127.0.0.1:0"]);
        command.args(["--journal", journal.to_str().unwrap()]).args(args);
        command.envs(set.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        listen(child.stdout.take().unwrap(), sender.clone());
        listen(child.stderr.take().unwrap(), sender);
        Self { child, url: String::new(), lines, said: Vec::new() }
    }

    /// Waits until a line is said; fails where none comes.
    #[track_caller]
    fn hears(&mut self, text: &str) {
        let _ = self.line(text);
    }

    /// The next line that says something, on stdout or stderr; waits for it.
    #[track_caller]
    #[must_use = "`hears` waits for a line that nobody needs"]
    fn line(&mut self, text: &str) -> String {
        let end = Instant::now() + patience();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("no \"{text}\" in {:#?}", self.said),
            }
        }
    }

    /// Waits for its end; gives the exit code.
    #[track_caller]
    fn ends(&mut self) -> i32 {
        let end = Instant::now() + patience();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.said.extend(self.lines.iter());
                return status.code().unwrap();
            }
            assert!(Instant::now() < end, "still running: {:#?}", self.said);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether a line was heard until now. It neither waits nor fails.
    #[must_use = "it only tells: `hears` waits and fails"]
    fn said(&self, text: &str) -> bool {
        self.said.iter().any(|line| line.contains(text))
    }

    /// Runs a verb against it.
    fn ctl(&self, args: &[&str]) -> Run {
        run(command(args).args(["--controller", &self.url]))
    }

    /// As `kill -9` does it.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the status is as asked for.
    #[track_caller]
    fn comes_to(&self, what: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + patience();
        loop {
            let status = self.ctl(&["get", "rollout", "scorer", "-o", "json"]).exits(0).json();
            if what(&status) {
                return status;
            }
            assert!(Instant::now() < end, "{status:#}");
        }
    }
}

pub(crate) fn listen(from: impl Read + Send + 'static, to: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    });
}
