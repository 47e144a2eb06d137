//! What a controller's journal costs when it has become long: a day with an observation a second is made
//! of a few seconds that a real controller wrote, and every command that reads it is timed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::bench::BenchReport;
use crate::bench::BenchTarget::{self, AtMost};
use crate::bench::process;
use crate::bench::running_controller::RunningController;
use crate::{Rig, Running, TestClient, artifacts, eventually};

/// The observations of a day.
const OBSERVATIONS: u64 = 86_400;
/// Between two snapshots of a controller's state, as the controller writes them.
const SNAPSHOT_EVERY: u64 = 600;
/// How many observations a real controller writes first.
const TEMPLATE: usize = 20;
const REPEATS: usize = 5;
const API_REPEATS: usize = 40;

const ROLLOUT: &str = "\
rollout: demo
lease: 30s
steps:
  - setWeight: 5
  - pause: {}
analysis:
  metrics:
    - {name: failures, kind: failureRate, margin: 0.1%}
    - {name: latency, kind: latency, quantiles: {p50: 1.1, p95: 1.2, p99: 1.5}}
";

/// A rollout's file and journal, and its Envoy.
struct GrownRollout {
    envoy: String,
    folder: TempDir,
}

/// Times everything that reads a day's journal.
pub(super) async fn measure(report: &mut BenchReport) {
    let rig = Rig::new().start().await;
    let rollout = GrownRollout::new(&rig);
    let template = rollout.recorded(&rig).await;
    let day = a_day(&template);
    report.note(format!("controller: a day's journal of {} MB.", day.len() / 1_000_000));
    fs::write(rollout.journal(), day).expect("the journal can be written");

    let (mut restarts, mut answers, mut commands) =
        (Measured::default(), Vec::new(), Measured::default());
    for _ in 0..REPEATS {
        let start = Instant::now();
        let controller = rollout.controller("1s");
        eventually("the controller answers", || controller.status(), Option::is_some).await;
        restarts.add(start.elapsed(), process::peak_bytes(controller.pid()).unwrap_or(0));
        answers.extend(api(&controller).await);
        commands.take(controller.canaryctl(&["get", "rollout", "demo", "-o", "json"])).await;
        controller.end().await;
    }
    restarts.tell("restart from a day's journal", Some(AtMost(1_000.0)), None, report);
    let target = Some(AtMost(10.0));
    report.cell("GET /api/v1/rollouts/NAME after a day", "ms", answers, target);
    commands.tell("get after a day, from the controller", target, None, report);

    // A replay counts `pause: {}` as promoted: it would end with the first lines, and read no more.
    let replayed = rollout.folder.path().join("replayed.yaml");
    fs::write(&replayed, ROLLOUT.replace("pause: {}", "pause: {duration: 100h}"))
        .expect("the rollout file can be written");
    let (journal, file) = (text(&rollout.journal()), text(&replayed));
    let page = text(&rollout.folder.path().join("report.html"));
    let readers: [(&str, Vec<&str>, Option<BenchTarget>); 2] = [
        ("replay", vec!["replay", &journal, "-f", &file, "-o", "json"], Some(AtMost(32.0))),
        ("report", vec!["report", "demo", "--journal", &journal, "--write", &page], None),
    ];
    for (name, arguments, memory) in readers {
        let mut measured = Measured::default();
        for _ in 0..REPEATS {
            measured.take(reader(&arguments)).await;
        }
        measured.tell(&format!("{name} of a day"), Some(AtMost(1_000.0)), memory, report);
    }
}

/// Times and peaks of memory of processes.
#[derive(Default)]
struct Measured {
    milliseconds: Vec<f64>,
    megabytes: Vec<f64>,
}

impl Measured {
    #[allow(clippy::cast_precision_loss)]
    fn add(&mut self, time: Duration, peak_bytes: u64) {
        self.milliseconds.push(time.as_secs_f64() * 1e3);
        self.megabytes.push(peak_bytes as f64 / 1e6);
    }

    /// Runs a command to its end. Its memory is looked at every millisecond.
    async fn take(&mut self, mut command: Command) {
        let (start, mut peak) = (Instant::now(), 0);
        let mut child = command.stdout(Stdio::null()).spawn().expect("canaryctl runs");
        let pid = pid(&child);
        let status = loop {
            if let Some(status) = child.try_wait().expect("canaryctl runs") {
                break status;
            }
            peak = process::peak_bytes(pid).unwrap_or(peak);
            sleep(Duration::from_millis(1)).await;
        };
        assert!(status.success(), "{command:?}: {status}");
        self.add(start.elapsed(), peak);
    }

    fn tell(
        self,
        name: &str,
        time: Option<BenchTarget>,
        memory: Option<BenchTarget>,
        report: &mut BenchReport,
    ) {
        report.cell(name, "ms", self.milliseconds, time);
        report.cell(format!("{name}, peak memory"), "MB", self.megabytes, memory);
    }
}

impl GrownRollout {
    fn new(rig: &Running) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let rollout = Self { envoy: rig.admin().address().to_string(), folder };
        fs::write(rollout.file(), ROLLOUT).expect("the rollout file can be written");
        rollout
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("rollout.yaml")
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("demo.jsonl")
    }

    fn controller(&self, tick: &str) -> RunningController {
        RunningController::start(&self.file(), &self.journal(), &self.envoy, &["--tick", tick])
    }

    /// The journal of a few seconds under load.
    async fn recorded(&self, rig: &Running) -> String {
        let load = rig.load(100_000).rate(500.0).spawn();
        let controller = self.controller("100ms");
        let read = async || fs::read_to_string(self.journal()).unwrap_or_default();
        let enough = |journal: &String| template(journal).2.len() >= TEMPLATE;
        let journal = eventually("enough observations", read, enough).await;
        controller.end().await;
        load.stop().await;
        journal
    }
}

/// Milliseconds until each of the API's answers, on one connection.
async fn api(controller: &RunningController) -> Vec<f64> {
    let mut client = TestClient::new(controller.at());
    let mut milliseconds = Vec::new();
    for _ in 0..API_REPEATS {
        let start = Instant::now();
        let answer = client.send(controller.question()).await;
        assert!(answer.is_ok_and(|answer| answer.status == 200), "the API answers");
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds
}

/// A command that reads files alone.
fn reader(arguments: &[&str]) -> Command {
    let mut command = Command::new(artifacts::canaryctl());
    command.args(arguments).env_remove("CANARYCTL_ENVOYS").kill_on_drop(true);
    command
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn pid(child: &Child) -> u32 {
    child.id().expect("the process runs")
}

/// A journal's start, its last snapshot, and its observations with the steps behind them in which nothing
/// happened.
fn template(journal: &str) -> (&str, &str, Vec<(&str, &str)>) {
    let is = |line: &str, record: &str| line.starts_with(&format!("{{\"record\":\"{record}\""));
    let whole = journal.rfind('\n').map_or("", |end| &journal[..end]);
    let lines: Vec<&str> = whole.lines().collect();
    let start = lines.first().copied().unwrap_or_default();
    let snapshot = lines.iter().rfind(|line| is(line, "state")).copied().unwrap_or_default();
    let quiet = |step: &str| {
        is(step, "step") && step.contains("\"counted\":true") && !step.contains("\"events\"")
    };
    let pairs = lines.windows(2).filter(|pair| is(pair[0], "observation") && quiet(pair[1]));
    (start, snapshot, pairs.map(|pair| (pair[0], pair[1])).collect())
}

/// A day's journal, an observation a second, made of a few.
fn a_day(journal: &str) -> String {
    let (start, snapshot, pairs) = template(journal);
    let mut day = format!("{start}\n");
    for (second, (observation, step)) in (1..=OBSERVATIONS).zip(pairs.iter().cycle()) {
        if second % SNAPSHOT_EVERY == 1 {
            day += snapshot;
            day.push('\n');
        }
        day += &replaced(observation, "\"t\":", ",", &format!("{}", second + 1_000));
        day.push('\n');
        let clocks = format!(
            "{{\"monotonic\":{{\"secs\":{},\"nanos\":0}},\"unix\":{}",
            1_000_000 + second,
            1_800_000_000 + second
        );
        day += &replaced(step, "\"now\":", "},\"seen\"", &clocks);
        day.push('\n');
    }
    day
}

/// A line with another text between two others.
fn replaced(line: &str, after: &str, before: &str, new: &str) -> String {
    let (head, rest) = line.split_once(after).expect("a record has this field");
    let (_, tail) = rest.split_once(before).expect("a record's fields have an order");
    format!("{head}{after}{new}{before}{tail}")
}
