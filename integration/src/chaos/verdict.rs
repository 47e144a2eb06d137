//! What a run left, held against what must hold.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use super::clients::{AnswerEnd, ChaosRequest, ChaosRollout, by_kind};
use super::excuses::{Excuse, excuse};
use super::journals::{JournalHistory, RuntimeView};
use super::leftovers;
use super::plan::ChaosPlan;
use super::reconcile::{CounterReading, Disagreement, LifeLog, Reconciliation, fallen};
use super::report::{ChaosCheck, ChaosReport, kinds};
use super::stage::{ChaosStage, OUTCOME_AGE};
use super::timeline::{ChaosTimeline, Span};
use super::upstreams::UpstreamNote;
use super::watchers::EnvoyRecord;
use crate::wait_limit;

/// How long counters and runtime may take to come to rest after the traffic.
const SETTLES: Duration = Duration::from_secs(15);
/// What may be missing in the last reading before a kill.
const LAG: Duration = Duration::from_secs(1);

/// How long a process that is killed may still answer, in seconds; none serves this soon after its start.
const DIES: f64 = 0.25;
/// How long after a full disk has space a controller writes what it has done meanwhile, in seconds.
const RETRIED: f64 = 2.0;

/// Everything that a run left, and what was found in it.
pub(super) struct ChaosEvidence {
    plan: ChaosPlan,
    requests: Vec<ChaosRequest>,
    notes: HashMap<u64, UpstreamNote>,
    timeline: ChaosTimeline,
    watched: EnvoyRecord,
    state: PathBuf,
    history: JournalHistory,
    own_ends: Vec<String>,
    weights: u64,
    checks: Vec<ChaosCheck>,
}

impl ChaosEvidence {
    /// What there is once the last request is over.
    pub(super) fn new(
        plan: &ChaosPlan,
        requests: Vec<ChaosRequest>,
        stage: &ChaosStage,
        weights: u64,
    ) -> Self {
        Self {
            plan: plan.clone(),
            requests,
            notes: stage.upstreams.notes(),
            timeline: stage.timeline.clone(),
            watched: stage.watcher.take(),
            state: stage.controller.state(),
            history: JournalHistory::default(),
            own_ends: stage.controller.own_ends.clone(),
            weights,
            checks: Vec::new(),
        }
    }

    /// Waits until counters and runtime are what they must be, or no longer.
    pub(super) async fn at_rest(&mut self, stage: &ChaosStage) {
        let lives = self.timeline.lives();
        let last = lives[lives.len() - 1];
        let mut result = Reconciliation::default();
        let mut read = async || {
            let reading = stage.watcher.read_counters().await?;
            result = self.log_of(last).check(&reading, 0.0);
            result.disagreements.is_empty().then_some(reading)
        };
        let begin = std::time::Instant::now();
        // No request is younger than this.
        tokio::time::sleep(OUTCOME_AGE).await;
        while read().await.is_none() && begin.elapsed() < wait_limit(SETTLES) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // A log that leaves counters open would show nothing.
        let (exact, compared) = (result.exact, result.compared);
        if exact * 2 < compared {
            let text = format!("the log leaves only {exact} of {compared} counters one value");
            result.disagreements.push(Disagreement(text));
        }
        self.check("at rest, counters are the clients' log", result);
        let mut differs = self.differs(stage).await;
        while differs.is_some() && begin.elapsed() < wait_limit(SETTLES) * 2 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            differs = self.differs(stage).await;
        }
        let wrong = differs.into_iter().collect();
        let name = "at rest, the runtime is the journal's last write";
        self.checks.push(ChaosCheck { name, compared: 1, wrong });
        if !self.checks.iter().all(ChaosCheck::holds) {
            eprintln!("--- the end of Envoy's log\n{}\n---", stage.end_of_log());
        }
    }

    /// In what Envoy's runtime and weight in force differ from the journal's last write.
    async fn differs(&mut self, stage: &ChaosStage) -> Option<String> {
        let Some(shown) = stage.watcher.read_runtime().await else {
            return Some("Envoy's admin doesn't answer".to_owned());
        };
        let reading = stage.watcher.read_counters().await;
        self.history = JournalHistory::read(&self.state, ChaosRollout::Demo.name());
        let written = self.history.last().cloned().unwrap_or_default();
        if written == RuntimeView::default() || shown != written {
            return Some(format!("the runtime has {shown:?}, the journal {written:?}"));
        }
        let value = |name: &str| {
            let values = reading.as_ref().map(|reading| &reading.values);
            values.and_then(|values| values.get(name).copied())
        };
        let in_force = value("demo.weight_ppm");
        // After a trip of the guard, the controller sets 0 as well.
        let set = shown.weight.as_deref().and_then(ppm);
        (in_force != set).then(|| format!("{in_force:?} ppm in force, {set:?} by the journal"))
    }

    /// Ends everything, and looks for what stays.
    pub(super) async fn end(&mut self, mut stage: ChaosStage) {
        let mut wrong: Vec<String> = stage.controller.end().await.into_iter().collect();
        wrong.extend(leftovers::journal_files(&self.state));
        self.history = JournalHistory::read(&self.state, ChaosRollout::Demo.name());
        let folders = stage.folders.clone();
        drop(stage);
        // A process that was killed is gone once the kernel and its parent are done with it.
        let gone = async || leftovers::processes(&folders);
        let begin = std::time::Instant::now();
        let mut left = gone().await;
        while !left.is_empty() && begin.elapsed() < wait_limit(Duration::from_secs(5)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            left = gone().await;
        }
        wrong.extend(left);
        wrong.extend(leftovers::folders(&folders));
        let name = "no process and no file is left";
        self.checks.push(ChaosCheck { name, compared: folders.len() as u64, wrong });
    }

    /// All checks, those that need no running system among them.
    pub(super) fn report(mut self, started: u64) -> ChaosReport {
        let failures = self.excuses();
        self.reconcile_lives();
        self.hold_against_journal();
        let mut releases = BTreeMap::from([("releases started".to_owned(), started)]);
        releases.insert("weights set in the runtime".to_owned(), self.weights);
        for end in &self.history.ends {
            *releases.entry(format!("releases that ended {end}")).or_default() += 1;
        }
        ChaosReport {
            seed: self.plan.seed,
            seconds: self.plan.length.as_secs(),
            faults: kinds(&self.plan),
            requests: by_kind(&self.requests),
            failures,
            releases,
            checks: self.checks,
        }
    }

    fn excuses(&mut self) -> BTreeMap<(ChaosRollout, bool, Excuse), u64> {
        let (mut failures, mut wrong) = (BTreeMap::new(), Vec::new());
        for request in &self.requests {
            let note = self.notes.get(&request.id).copied();
            let Some(excuse) = excuse(request, note, &self.timeline) else { continue };
            *failures.entry((request.rollout, request.stream, excuse)).or_default() += 1;
            if excuse == Excuse::Nothing {
                wrong.push(format!("{request:?}; the upstream: {note:?}"));
            }
        }
        let name = "no failure that neither upstream nor kill caused";
        let compared = self.requests.len() as u64;
        self.checks.insert(0, ChaosCheck { name, compared, wrong });
        failures
    }

    /// Every reading of each life: none falls, none has what no client sent, and the last one before the
    /// kill is the clients' log but for the last second.
    fn reconcile_lives(&mut self) {
        let mut results: [Reconciliation; 3] = Default::default();
        let add = |sum: &mut Reconciliation, more: Reconciliation| {
            sum.compared += more.compared;
            sum.disagreements.extend(more.disagreements);
        };
        for life in self.timeline.lives() {
            let of_life = |reading: &&CounterReading| {
                reading.span.begin >= life.begin && reading.span.end <= life.end
            };
            let readings: Vec<&CounterReading> =
                self.watched.readings.iter().filter(of_life).collect();
            let log = self.log_of(life);
            add(&mut results[0], fallen(&readings));
            for reading in &readings {
                add(&mut results[1], log.check(reading, f64::INFINITY));
            }
            if let Some(last) = readings.last().filter(|_| life.end.is_finite()) {
                add(&mut results[2], log.check(last, LAG.as_secs_f64()));
            }
        }
        let [growing, every_second, killed] = results;
        self.check("counters of a process never fall", growing);
        self.check("every second, no counter has what no client sent", every_second);
        self.check("before each kill, counters are the clients' log", killed);
    }

    fn hold_against_journal(&mut self) {
        let shown = &self.watched.runtime;
        // A rollback doesn't wait for a disk: it is written down once there is space.
        let unwritten = |seconds: f64, view: &RuntimeView| {
            let look = Span { begin: seconds - RETRIED, end: seconds };
            view.is_rolled_back() && self.timeline.disk_full.iter().any(|span| span.overlaps(look))
        };
        let denied = shown.iter().filter(|(seconds, at, view)| {
            !self.history.allows(at, view) && !unwritten(*seconds, view)
        });
        let wrong = denied.map(|(_, at, view)| format!("at {at}: {view:?} isn't in the journal"));
        let (compared, wrong) = (shown.len() as u64, wrong.collect());
        let name = "what the runtime shows was in the journal before";
        self.checks.push(ChaosCheck { name, compared, wrong });
        let wrong: Vec<String> = [&self.history.faults[..], &self.own_ends[..]].concat();
        let compared = self.history.writes.len() as u64;
        let name = "journals are whole, and no controller ended by itself";
        self.checks.push(ChaosCheck { name, compared, wrong });
    }

    fn log_of(&self, life: Span) -> LifeLog<'_> {
        let down = self.timeline.envoy_down.iter().find(|down| down.begin == life.begin);
        // What broke before this process served was on a connection to the one before it.
        let earlier = |request: &ChaosRequest| {
            let broke = matches!(request.end, AnswerEnd::NoHeaders(_));
            broke && down.is_some_and(|down| request.ended <= down.end)
        };
        let seen = |request: &&ChaosRequest| {
            request.begun >= life.begin && request.begun < life.end && !earlier(request)
        };
        LifeLog {
            // A process that is killed is dead before the next one can serve.
            shared_until: down.map_or(life.begin, |down| down.begin + DIES),
            requests: self.requests.iter().filter(seen).collect(),
            notes: &self.notes,
            outcome_age: OUTCOME_AGE.as_secs_f64(),
        }
    }

    fn check(&mut self, name: &'static str, result: Reconciliation) {
        let wrong = result.disagreements.into_iter().map(|Disagreement(text)| text).collect();
        self.checks.push(ChaosCheck { name, compared: result.compared, wrong });
    }
}

/// The weight of a runtime's value like `20@1.2.0` in parts per million.
fn ppm(value: &str) -> Option<u64> {
    let percent = value.split('@').next()?.parse::<u64>().ok()?;
    Some(percent * 10_000)
}
