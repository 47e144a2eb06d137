//! `canaryctl` as a process, with its files.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::chromium::{Browser, patience};
use crate::fake::{Fake, Traffic};

/// The canaryctl that is tested.
pub(crate) fn canaryctl() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/canaryctl");
    let path = std::env::var_os("CANARYCTL").map_or(built, PathBuf::from);
    assert!(path.is_file(), "no {}: ./scripts/build makes it", path.display());
    path
}

/// A fake with so many requests a second on `scorer`, of whose canary's so many in a hundred fail.
pub(crate) fn busy(canary_fails: u64) -> Fake {
    Fake::start().with(|envoy| envoy.traffic = Some(Traffic::new(400.0, canary_fails)))
}

/// A rollout that takes a good version to 100 % in some seconds.
pub(crate) fn quick(envoys: &[&Fake]) -> Value {
    let envoys: Vec<&str> = envoys.iter().map(|envoy| envoy.url.as_str()).collect();
    json!({
        "rollout": "scorer",
        "envoys": envoys,
        "lease": "10s",
        "steps": [
            {"setWeight": 5}, {"pause": {"duration": "3s", "minRequests": 40}},
            {"setWeight": 50}, {"pause": {"duration": "3s"}},
        ],
        "analysis": {"metrics": [
            {"name": "failures", "kind": "failureRate", "margin": "1%"},
            {"name": "latency", "kind": "latency", "tolerance": 1.5},
        ]},
    })
}

/// A rollout that stays at 5 % until an operator says more.
pub(crate) fn patient(envoys: &[&Fake]) -> Value {
    let mut rollout = quick(envoys);
    rollout["steps"] =
        json!([{"setWeight": 5}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "1h"}}]);
    rollout
}

/// A folder for rollout files and journals.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file; a rollout as JSON is YAML.
    pub(crate) fn write(&self, name: &str, text: impl ToString) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    /// The records of a journal so far, without a last one that is being written.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("journal.jsonl")).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A controller that is running; it is killed when it is dropped.
pub(crate) struct Controller {
    child: Child,
    /// Where its page is.
    pub(crate) url: String,
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Controller {
    /// `canaryctl run` of a file, which stays after the end, with more arguments.
    pub(crate) fn run(place: &Place, file: &Path, arguments: &[&str]) -> Self {
        Self::run_at(place, file, "127.0.0.1:0", arguments)
    }

    /// The same on an address.
    pub(crate) fn run_at(place: &Place, file: &Path, listen: &str, arguments: &[&str]) -> Self {
        let journal = place.path("journal.jsonl");
        let (file, journal) = (file.to_str().unwrap(), journal.to_str().unwrap());
        let all = ["run", file, "--journal", journal, "--listen", listen, "--stay"];
        let often: &[&str] = if arguments.contains(&"--tick") { &[] } else { &["--tick", "250ms"] };
        Self::start(&[&all, often, arguments].concat())
    }

    /// `canaryctl serve` of the folder `files`.
    pub(crate) fn serve(place: &Place, arguments: &[&str]) -> Self {
        let (files, state) = (place.path("files"), place.path("state"));
        let (files, state) = (files.to_str().unwrap(), state.to_str().unwrap());
        let all = ["serve", files, "--state", state, "--listen", "127.0.0.1:0"];
        Self::start(&[&all, arguments].concat())
    }

    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(canaryctl())
            .args(arguments)
            .env_clear()
            .env("USER", "ann")
            .env("CANARYCTL_OWNER", "ann@desk")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        listen(child.stdout.take().unwrap(), sender.clone());
        listen(child.stderr.take().unwrap(), sender);
        let mut controller = Self { child, url: String::new() };
        let mut said = Vec::new();
        while controller.url.is_empty() {
            let Ok(line) = lines.recv_timeout(patience()) else {
                panic!("no interface: {said:#?}")
            };
            if let Some((_, rest)) = line.split_once("interface: http") {
                let address = rest.split_whitespace().next().unwrap();
                controller.url = format!("http{address}").replace("0.0.0.0", "127.0.0.1");
            }
            said.push(line);
        }
        controller
    }

    /// The page of `scorer`.
    pub(crate) fn page(&self) -> String {
        format!("{}/rollouts/scorer", self.url)
    }

    /// Its address without the scheme.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// As `kill -9` does it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The processor time that it has used, in seconds.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // In the process, and in the kernel for it; counted from the process's state.
        let ticks: f64 =
            fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
        ticks / rustix::param::clock_ticks_per_second() as f64
    }
}

/// A rollout of one fake Envoy, with its controller, and a browser on its page.
pub(crate) struct OpenedPage {
    pub(crate) browser: Browser,
    pub(crate) place: Place,
    _controller: Controller,
    _envoy: Fake,
}

impl OpenedPage {
    /// Of an Envoy of whose canary's requests so many in a hundred fail, the rollout that `rollout` makes of it.
    pub(crate) fn new(canary_fails: u64, rollout: impl FnOnce(&Fake) -> Value) -> Self {
        let (place, envoy) = (Place::new(), busy(canary_fails));
        let file = place.write("rollout.yaml", rollout(&envoy));
        let controller = Controller::run(&place, &file, &[]);
        let browser = Browser::new(1200, 900);
        browser.goto(&controller.page());
        Self { browser, place, _controller: controller, _envoy: envoy }
    }

    /// The page of a good version at 5 %, which waits for an operator.
    pub(crate) fn paused() -> Self {
        let page = Self::new(0, |envoy| patient(&[envoy]));
        page.browser.reads("#head h1", "Paused");
        page
    }
}

fn listen(from: impl Read + Send + 'static, to: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    });
}
