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

use std::io::Read;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{command, run};
use crate::fake::{Fake, Traffic};
use crate::process::{Process, listen, patience};

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
        crate::process::records(&self.journal())
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

/// A `canaryctl run` that is running.
struct Controller(Process);

impl Deref for Controller {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Controller {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}

impl Controller {
    /// Starts one and waits for its interface.
    fn start(place: &Place, file: &Path, args: &[&str]) -> Self {
        Self(Self::spawn(place, file, args).0.with_interface())
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
        Self(Process::spawn(command))
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
