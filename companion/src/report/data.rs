//! What a report shows, folded out of a journal's records. Pure.
//!
//! The judge is a pure function of the lines, so the evidence at any moment is had by judging them once
//! more.

use canary_judge::counts::{Pair, Trials};
use canary_judge::observation::Observation;
use canary_judge::{EffectEstimate, Judge};
use canary_model::redact::redacted;
use canary_model::role::Role;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;
use canary_rollout::state::Phase;
use serde::Serialize;

use crate::controller::distributions::Distributions;
use crate::controller::record::{JournalRecord, Start, StepRecord};
use crate::controller::status::{self, MetricProgress, Side};
use crate::observe::totals::RequestCounts;
use crate::rollout_file;
use crate::sentences;

/// The most points of a chart; beyond, neighbours are put together.
const MAX_POINTS: usize = 360;

/// A rollout as its journal tells it.
#[derive(Debug, Serialize)]
pub struct RolloutReport {
    /// The name of the rollout.
    pub rollout: String,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// When it ended, if it has.
    pub ended: Option<String>,
    /// The phase that it is in.
    pub phase: Phase,
    /// Why it ended, in a sentence.
    pub reason: Option<String>,
    /// Whether the new version has taken over stable's place.
    pub finished: bool,
    /// As whom the controller wrote.
    pub owner: String,
    /// The version of canaryctl that ran it.
    pub canaryctl: String,
    /// How long it was watched, in seconds.
    pub seconds: f64,
    /// Both versions over the whole rollout.
    pub versions: Pair<Side>,
    /// Every metric as it stands.
    pub metrics: Vec<MetricProgress>,
    /// Everything that happened, in order.
    #[serde(skip)]
    pub decisions: Vec<DecisionRow>,
    /// The points of the charts, at most 360.
    pub points: Vec<Point>,
    /// The file, as it was, without the secrets in its URLs.
    pub file: String,
    #[serde(skip)]
    spec: Spec,
    /// The index of the step that it is in.
    #[serde(skip)]
    step: usize,
    #[serde(skip)]
    judge: Judge,
    #[serde(skip)]
    labels: Pair<Option<String>>,
    #[serde(skip)]
    totals: Pair<VersionSample>,
    /// How many seconds a point spans.
    #[serde(skip)]
    span: f64,
}

/// An event of the rollout.
#[derive(Debug)]
pub struct DecisionRow {
    /// When: RFC 3339, UTC.
    pub at: String,
    /// On the rollout's clock, in seconds.
    pub t: f64,
    /// What happened, as data.
    pub event: RolloutEvent,
    /// Every metric's verdict at that moment, as the journal has it.
    pub verdicts: Vec<String>,
}

/// A stretch of time.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// Its end on the rollout's clock, in seconds.
    pub t: f64,
    /// The weight that was set, in percent.
    pub weight: f64,
    /// What was counted of each version.
    pub counts: Pair<VersionSample>,
    /// The evidence of each metric, as a part of what rolls the canary back.
    pub evidence: Vec<f64>,
}

/// What was counted of one version.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VersionSample {
    /// Requests, and those that failed.
    pub requests: Trials,
    /// Those without an answer at the age `outcome_age`.
    #[serde(skip)]
    pub unanswered: Option<u64>,
    /// The histograms of times and of signals with values.
    #[serde(skip)]
    pub recorded: Distributions,
}

impl VersionSample {
    fn merge(&mut self, other: &Self) {
        self.requests.trials = self.requests.trials.saturating_add(other.requests.trials);
        self.requests.events = self.requests.events.saturating_add(other.requests.events);
        let both = self.unanswered.zip(other.unanswered);
        self.unanswered = both
            .map(|(one, more)| one.saturating_add(more))
            .or(self.unanswered)
            .or(other.unanswered);
        self.recorded.merge(&other.recorded);
    }

    fn from_line(line: &Observation, role: Role) -> Self {
        let counts = line.roles.get(role);
        let requests =
            Trials { trials: counts.total.unwrap_or(0), events: counts.failure.unwrap_or(0) };
        let recorded = Distributions::from_line(line, role);
        Self { requests, unanswered: counts.unanswered, recorded }
    }

    /// A quantile of the durations, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        self.recorded.time_us.quantile(share).map(|us| us / 1_000.0)
    }

    /// The share of requests that failed, in percent.
    pub fn failing(&self) -> Option<f64> {
        let Trials { trials, events } = self.requests;
        (trials > 0).then(|| 100.0 * events as f64 / trials as f64)
    }
}

impl RolloutReport {
    /// A rollout before its first step; `None` where its file can't be read any more.
    pub fn begin(start: Start) -> Option<Self> {
        let spec = rollout_file::recorded(&start.file)?;
        Some(Self {
            rollout: start.rollout,
            started: start.at,
            ended: None,
            phase: Phase::Pending,
            reason: None,
            finished: false,
            owner: start.owner,
            canaryctl: start.canaryctl,
            seconds: 0.0,
            versions: Pair::default(),
            metrics: Vec::new(),
            decisions: Vec::new(),
            points: Vec::new(),
            step: 0,
            judge: Judge::new(&spec.analysis, spec.planned_seconds()),
            file: redacted(&start.file),
            spec,
            labels: start.versions,
            totals: Pair::default(),
            span: 1.0,
        })
    }

    /// How far the canary differs from stable, since the epoch's start and the last step's.
    pub fn effects(&self) -> Vec<EffectEstimate> {
        self.judge.effects()
    }

    /// The rollout file, read.
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Adds the next record of the journal.
    pub fn take(&mut self, record: JournalRecord) {
        match record {
            JournalRecord::Observation(line) => self.observe(&line),
            JournalRecord::Step(step) => self.step(&step),
            JournalRecord::End(end) => {
                self.ended = Some(end.at);
                self.phase = end.phase;
                self.reason = end.reason.as_ref().map(sentences::termination);
            }
            JournalRecord::Start(_) | JournalRecord::State(_) | JournalRecord::WrittenBack(_) => {}
        }
    }

    fn observe(&mut self, line: &Observation) {
        let verdicts = self.judge.observe(line);
        self.metrics = verdicts.iter().map(status::metric).collect();
        let counts = Pair::ROLES.map(|role| VersionSample::from_line(line, role));
        for role in Role::ALL {
            self.totals.get_mut(role).merge(counts.get(role));
            let VersionSample { requests, unanswered, recorded } = self.totals.get(role);
            let label = self.labels.get(role).clone();
            let counts = RequestCounts {
                requests: requests.trials,
                failures: requests.events,
                unanswered: *unanswered,
            };
            *self.versions.get_mut(role) = status::side(label, counts, recorded);
        }
        self.seconds = line.t;
        let evidence = self.metrics.iter().map(|metric| metric.evidence).collect();
        let weight = line.assigned_weight.unwrap_or(line.weight).percent();
        self.plot(Point { t: line.t, weight, counts, evidence });
    }

    /// Adds a point, into the last one where that is still short and of the same weight.
    fn plot(&mut self, point: Point) {
        let begin = self.points.iter().rev().nth(1).map_or(f64::NEG_INFINITY, |before| before.t);
        let span = self.span;
        match self.points.last_mut() {
            Some(last) if last.weight == point.weight && point.t - begin <= span => {
                join(last, point)
            }
            _ => self.points.push(point),
        }
        if self.points.len() > MAX_POINTS {
            self.span *= 2.0;
            for point in std::mem::take(&mut self.points) {
                self.plot(point);
            }
        }
    }

    fn step(&mut self, step: &StepRecord) {
        self.phase = step.phase;
        let sentence =
            |verdict: &serde_json::Value| verdict.get("reason")?.as_str().map(str::to_owned);
        for event in &step.events {
            match event {
                RolloutEvent::Started { .. } => {
                    self.judge = Judge::new(&self.spec.analysis, self.spec.planned_seconds());
                }
                RolloutEvent::EpochRenewed { .. } => {
                    self.judge = Judge::new(&self.spec.analysis, self.spec.planned_seconds());
                    self.judge.begin_step(self.spec.certificate_margin(self.step));
                }
                RolloutEvent::Step { step, .. } => {
                    self.step = *step;
                    self.judge.begin_step(self.spec.certificate_margin(*step));
                }
                RolloutEvent::Finished { version, reason, .. } => {
                    self.reason = Some(sentences::termination(reason));
                    self.finished = true;
                    self.labels.stable = Some(version.clone());
                    self.versions.stable.version = Some(version.clone());
                }
                RolloutEvent::Aborting { reason }
                | RolloutEvent::Abandoned { reason }
                | RolloutEvent::Completed { reason, .. }
                | RolloutEvent::Degraded { reason, .. } => {
                    self.reason = Some(sentences::termination(reason));
                }
                _ => {}
            }
            self.decisions.push(DecisionRow {
                at: step.at.clone(),
                t: self.seconds,
                event: event.clone(),
                verdicts: step.verdicts.iter().filter_map(sentence).collect(),
            });
        }
    }
}

fn join(last: &mut Point, point: Point) {
    for role in Role::ALL {
        last.counts.get_mut(role).merge(point.counts.get(role));
    }
    last.t = point.t;
    for (most, evidence) in last.evidence.iter_mut().zip(point.evidence) {
        *most = most.max(evidence);
    }
}
