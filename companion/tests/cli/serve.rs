//! `canaryctl serve` as a process, against fake Envoys: many rollouts, their files, and what goes wrong in
//! one of them.

mod access;
mod faults;
mod files;
mod handover;
mod kills;
mod load;
mod mlflow;
mod proxies;
mod registry;
mod releases;

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{command, run};
use crate::fake::Fake;
use crate::process::{Process, patience};

/// A folder of rollout files, and one of journals.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("files")).unwrap();
        Self { folder }
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn journal(&self, rollout: &str) -> PathBuf {
        self.state().join(format!("{rollout}.jsonl"))
    }

    /// Writes a rollout file: JSON is YAML.
    fn file(&self, name: &str, rollout: &Value) {
        std::fs::write(self.files().join(name), rollout.to_string()).unwrap();
    }

    fn records(&self, rollout: &str) -> Vec<Value> {
        crate::process::records(&self.journal(rollout))
    }
}

/// A rollout that takes a good version to 100 % in some seconds.
fn quick(name: &str, envoys: &[&Fake]) -> Value {
    let envoys: Vec<&str> = envoys.iter().map(|envoy| envoy.url.as_str()).collect();
    json!({
        "rollout": name,
        "envoys": envoys,
        "lease": "3s",
        "steps": [{"setWeight": 5}, {"pause": {"duration": "1s"}}],
        "analysis": {"metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}]},
    })
}

/// A rollout that stays at 5 % until somebody says more.
fn patient(name: &str, envoys: &[&Fake]) -> Value {
    let mut rollout = quick(name, envoys);
    rollout["steps"] = json!([{"setWeight": 5}, {"pause": {}}]);
    rollout
}

/// A fake with these rollouts on it, each with traffic, all good.
fn busy(rollouts: &[&str]) -> Fake {
    Fake::start().with(|envoy| {
        rollouts.iter().for_each(|name| envoy.busy_rollout(name, 400.0, 0));
    })
}

/// A `canaryctl serve` that is running.
struct Server(Process);

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}

impl Server {
    fn start(place: &Place, args: &[&str]) -> Self {
        Self::spawn(place, args, |command| command)
    }

    fn spawn(place: &Place, args: &[&str], by: impl FnOnce(Command) -> Command) -> Self {
        let (files, state) = (place.files(), place.state());
        let mut command = command(&["serve", files.to_str().unwrap()]);
        if !args.contains(&"--tick") {
            command.args(["--tick", "100ms"]);
        }
        command.args(["--listen", "127.0.0.1:0", "--state", state.to_str().unwrap()]).args(args);
        Self(Process::spawn(by(command)).with_interface())
    }

    /// The same, with files that grow to so many KiB at most.
    fn limited(place: &Place, kib: u32) -> Self {
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
        Self::spawn(place, &[], |ctl| {
            let mut limited = Command::new("sh");
            limited.args(["-c", &script]).arg(ctl.get_program()).args(ctl.get_args());
            limited.env_clear().env("PATH", "/usr/bin:/bin").env("USER", "ann");
            limited
        })
    }

    /// Waits until a rollout is as asked for; one that isn't there yet is waited for, too.
    #[track_caller]
    fn comes_to(&self, rollout: &str, what: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + patience();
        loop {
            let got = self.ctl(&["get", "rollout", rollout, "-o", "json"]);
            if got.code == 0 && what(&got.json()) {
                return got.json();
            }
            assert!(Instant::now() < end, "{got:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The names that `list` shows.
    fn names(&self) -> Vec<String> {
        let list = self.ctl(&["list", "-o", "json"]).exits(0).json();
        let name = |one: &Value| one["rollout"].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(name).collect()
    }
}

fn is(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |status| status["phase"] == phase
}
