//! kill -9 with real processes: controllers and Envoys die at random points of a rollout, in every
//! step of it. No decision is lost or made twice, no Envoy's weight is ever above the journal's,
//! and where nothing returns all is stable within the lease.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use canary_integration::{
    EnvoyAdmin, Load, Rig, Running, RunningLoad, free_port, read_journal, wait_limit, within,
};
use fastrand::Rng;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{ControllerFolder, artifacts};

const LEASE: Duration = Duration::from_secs(2);
/// How much later than the lease's end a busy machine's poll may see it.
const LATE: Duration = Duration::from_secs(3);

const ROLLOUT: &str = "\
rollout: demo
lease: 2s
steps:
  - setWeight: 10
  - pause: {duration: 2s}
  - setWeight: 30
  - pause: {duration: 2s}
  - setWeight: 60
  - pause: {duration: 2s}
analysis:
  metrics:
    - {name: failures, kind: failureRate, margin: 1%}
";

/// When the next kill comes: some time after this is in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Started,
    Step(u64),
    Promoting,
    Aborting,
}

/// Which of the processes is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Controller,
    Envoy,
    Both,
}

/// The decisions in a journal, in order; none while there is no journal.
fn decisions(journal: &Path) -> Vec<(String, Option<u64>)> {
    let records = if journal.exists() { read_journal(journal) } else { Vec::new() };
    let events = records
        .into_iter()
        .flat_map(|record| record["events"].as_array().cloned().unwrap_or_default());
    let decision = |event: Value| {
        let name = event["event"].as_str().unwrap().to_owned();
        let decided = ["started", "step", "promoting", "completed", "aborting", "degraded"];
        decided.contains(&name.as_str()).then(|| (name, event["step"].as_u64()))
    };
    events.filter_map(decision).collect()
}

/// The largest weight that was decided, in percent.
fn allowed(journal: &Path) -> f64 {
    let weight = |(name, step): (String, Option<u64>)| match (name.as_str(), step) {
        ("step", Some(step)) => [10.0, 30.0, 60.0][usize::try_from(step).unwrap()],
        ("promoting", _) => 100.0,
        _ => 0.0,
    };
    decisions(journal).into_iter().map(weight).fold(0.0, f64::max)
}

/// Compares, as fast as it can, what Envoy was told and what it does with what the journal allows.
async fn sentinel(
    admin: EnvoyAdmin,
    journal: std::path::PathBuf,
    mut over: watch::Receiver<bool>,
) -> u32 {
    let mut looks = 0;
    while !*over.borrow_and_update() {
        // Envoy first: what it shows must have been written down before.
        let runtime = json(&admin, "/runtime").await;
        let stats = json(&admin, "/stats?filter=weight_ppm&format=json").await;
        let allowed = allowed(&journal);
        let told = runtime.and_then(|runtime| {
            runtime["entries"]["canary.demo.weight"]["final_value"].as_str()?.parse::<f64>().ok()
        });
        let in_force = stats.and_then(|stats| stats["stats"][0]["value"].as_f64());
        for shown in [told, in_force.map(|ppm| ppm / 1e4)].into_iter().flatten() {
            assert!(shown <= allowed, "Envoy at {shown} %, the journal at {allowed} %");
            looks += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    looks
}

async fn json(admin: &EnvoyAdmin, path: &str) -> Option<Value> {
    serde_json::from_slice(&admin.get(path).await.ok()?.1).ok()
}

/// One rollout under fire.
struct KillTrial {
    rig: Running,
    place: ControllerFolder,
    dice: Rng,
    controller: Child,
    _traffic: RunningLoad,
    kills: u32,
    /// During which decisions it was killed.
    places: BTreeSet<Moment>,
}

impl KillTrial {
    async fn start(seed: u64) -> Self {
        let rig = Rig::new().unguarded().listen(free_port()).start().await;
        let place = ControllerFolder::with(ROLLOUT);
        let traffic = rig.load(Load::ENDLESS).rate(150.0).spawn();
        let controller = controller(&rig, &place);
        let (dice, places) = (Rng::with_seed(seed), BTreeSet::new());
        Self { rig, place, dice, controller, _traffic: traffic, kills: 0, places }
    }

    fn journal(&self) -> std::path::PathBuf {
        self.place.path("journal.jsonl")
    }

    fn has_come(&self, moment: Moment) -> bool {
        let is = |(name, step): &(String, Option<u64>)| match moment {
            Moment::Started => name == "started",
            Moment::Step(n) => name == "step" && *step == Some(n),
            Moment::Promoting => name == "promoting",
            Moment::Aborting => name == "aborting",
        };
        decisions(&self.journal()).iter().any(is)
    }

    /// Waits for the moment and a little longer, kills the victim, and starts it again.
    async fn strike(&mut self, moment: Moment, at_most: u64, absent: bool) {
        let seconds = Duration::from_secs(30);
        within(seconds, &format!("{moment:?}"), async || self.has_come(moment), |come| *come).await;
        tokio::time::sleep(Duration::from_millis(self.dice.u64(0..=at_most))).await;
        let dice = [Victim::Controller, Victim::Controller, Victim::Envoy, Victim::Both];
        let drawn = dice[self.dice.usize(0..4)];
        // An Envoy that restarts behind the rollout's end has its configured weight again.
        let envoys_too = !absent && moment != Moment::Promoting;
        let victim = if envoys_too { drawn } else { Victim::Controller };
        if self.controller.try_wait().unwrap().is_some() {
            return;
        }
        self.kills += 1;
        self.places.insert(moment);
        if victim != Victim::Envoy {
            self.controller.kill().await.unwrap();
        }
        if victim != Victim::Controller {
            self.rig.restart().await;
        }
        if absent {
            let probe = async || self.rig.stat("demo.weight_ppm").await;
            within(LEASE + LATE, "back on stable", probe, |ppm| *ppm == 0).await;
            self.rig.all_go_to("1.0.0").await;
        }
        if victim != Victim::Envoy {
            self.controller = controller(&self.rig, &self.place);
        }
    }

    /// Lets it come to its end, and gives its exit code.
    async fn ends(&mut self) -> Option<i32> {
        let end =
            tokio::time::timeout(wait_limit(Duration::from_secs(40)), self.controller.wait()).await;
        end.expect("the rollout ends").unwrap().code()
    }
}

/// A controller that the kernel kills with the test.
fn controller(rig: &Running, place: &ControllerFolder) -> Child {
    let [file, journal] = ["rollout.yaml", "journal.jsonl"].map(|name| place.path(name));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(artifacts::canaryctl());
    command.arg("run").arg(file).arg("--journal").arg(journal);
    command.args(["--listen", "127.0.0.1:0", "--tick", "100ms"]);
    command.env("CANARYCTL_ENVOYS", rig.admin().address().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).spawn().unwrap()
}

/// Strikes at each of these moments this many times, after at most this many milliseconds;
/// gives the trial at its end, its exit code, and how often Envoy was compared with the journal.
async fn under_fire(
    seed: u64,
    moments: &[(Moment, u32, u64)],
    breaks_at: Option<Moment>,
) -> (KillTrial, Option<i32>, u32) {
    let mut trial = KillTrial::start(seed).await;
    let (over, ears) = watch::channel(false);
    let admin = EnvoyAdmin::new(trial.rig.admin().address().clone());
    let sentinel = tokio::spawn(sentinel(admin, trial.journal(), ears));
    for &(moment, times, patience) in moments {
        for time in 0..times {
            let absent = time == 0 && matches!(moment, Moment::Step(_));
            trial.strike(moment, patience, absent).await;
        }
        if breaks_at == Some(moment) {
            trial.rig.canary().change(|behavior| behavior.errors = 0.3);
        }
    }
    let code = trial.ends().await;
    over.send_replace(true);
    let looks = sentinel.await.expect("Envoy never stood above the journal");
    (trial, code, looks)
}

fn count(journal: &Path, record: &str) -> usize {
    read_journal(journal).iter().filter(|one| one["record"] == record).count()
}

fn in_words(journal: &Path) -> Vec<String> {
    let word = |(name, step): (String, Option<u64>)| match step {
        Some(step) => format!("{name} {step}"),
        None => name,
    };
    decisions(journal).into_iter().map(word).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step_a_rollout_is_what_its_journal_says() {
    use Moment::{Aborting, Promoting, Started, Step};
    let good = [
        (Started, 2, 60),
        (Step(0), 4, 700),
        (Step(1), 4, 700),
        (Step(2), 4, 700),
        (Promoting, 2, 30),
    ];
    let bad = [(Started, 1, 60), (Step(0), 3, 500), (Step(1), 3, 500), (Aborting, 2, 5)];
    let (good, bad) = tokio::join!(under_fire(1, &good, None), under_fire(2, &bad, Some(Step(1))));

    let (trial, code, looks) = good;
    let journal = trial.journal();
    assert_eq!(code, Some(0), "{:?}", in_words(&journal));
    let whole = ["started", "step 0", "step 1", "step 2", "promoting", "completed"];
    assert_eq!(in_words(&journal), whole);
    assert_eq!([count(&journal, "start"), count(&journal, "end")], [1, 1]);
    assert!(looks > 200, "{looks} looks");
    trial.rig.all_go_to("1.1.0").await;

    let (broken, code, _) = bad;
    let journal = broken.journal();
    assert_eq!(code, Some(1), "{:?}", in_words(&journal));
    assert_eq!(in_words(&journal), ["started", "step 0", "step 1", "aborting", "degraded"]);
    assert_eq!([count(&journal, "start"), count(&journal, "end")], [1, 1]);
    broken.rig.all_go_to("1.0.0").await;

    let kills = trial.kills + broken.kills;
    assert!(kills >= 20, "{kills} kills");
    let places = &trial.places | &broken.places;
    assert!(places.is_superset(&[Started, Step(0), Step(1), Step(2)].into()), "{places:?}");
}
