//! What a report shows, folded out of a journal's records. Pure.
//!
//! The judge is a pure function of the lines, so the evidence at any moment is had by judging them once
//! more.

use std::collections::BTreeMap;

use canary_judge::counts::Pair;
use canary_judge::observation::{ClassCounts, Observation};
use canary_judge::verdict::Verdict;
use canary_judge::{EffectEstimate, Judge};
use canary_model::role::Role;
use canary_model::weight::Weight;
use canary_rollout::action::Action;
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::EnvoyInput;
use canary_rollout::spec::Spec;
use canary_rollout::state::Phase;
use serde::Serialize;

use super::history::{History, Point};
use super::sample::VersionSample;
use crate::controller::record::{JournalRecord, Start, StepRecord};
use crate::controller::status::{self, MetricProgress, Side};
use crate::observe::totals::RequestCounts;
use crate::rollout_file;
use crate::sentences;

/// The most events that are kept; of more, the oldest are only counted.
const MAX_DECISIONS: usize = 2_000;

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
    /// What happened, in order; the oldest are missing where there are more than 2,000.
    #[serde(skip)]
    pub decisions: Vec<DecisionRow>,
    /// How many events were dropped before the first of [`Self::decisions`].
    #[serde(skip)]
    pub earlier: usize,
    /// The points of the charts, at most 720.
    #[serde(rename = "points")]
    pub(crate) history: History,
    /// How often each value of a signal was seen, by signal.
    #[serde(skip)]
    pub(crate) signals: BTreeMap<String, Pair<ClassCounts>>,
    /// The file, as it was, without the secrets in its URLs.
    pub file: String,
    #[serde(skip)]
    spec: Spec,
    /// The index of the step that it is in.
    #[serde(skip)]
    step: usize,
    /// Whether stable's place began to be replaced, and hasn't been.
    #[serde(skip)]
    finalizing: bool,
    #[serde(skip)]
    judge: Judge,
    /// The judge's last verdicts.
    #[serde(skip)]
    verdicts: Vec<Verdict>,
    #[serde(skip)]
    labels: Pair<Option<String>>,
    #[serde(skip)]
    totals: Pair<VersionSample>,
    /// The weight that was written last.
    #[serde(skip)]
    set: Option<Weight>,
    /// The weight in force as all Envoys showed it last.
    #[serde(skip)]
    in_force: Option<Weight>,
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
    /// The words of the operator who asked for it, if one did and said why.
    pub reason: Option<String>,
    /// Every metric's verdict at that moment, as the journal has it.
    pub verdicts: Vec<String>,
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
            earlier: 0,
            history: History::default(),
            signals: BTreeMap::new(),
            step: 0,
            finalizing: false,
            judge: Judge::new(&spec.analysis, spec.planned_seconds()),
            verdicts: Vec::new(),
            file: rollout_file::without_secrets(&start.file),
            spec,
            labels: start.versions,
            totals: Pair::default(),
            set: None,
            in_force: None,
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

    /// The index of the step that it is in, or was in last.
    pub(crate) const fn step(&self) -> usize {
        self.step
    }

    /// Whether stable's place is being replaced: the rollout is Finalizing, or paused in it.
    pub(crate) const fn is_finalizing(&self) -> bool {
        self.finalizing && matches!(self.phase, Phase::Finalizing | Phase::Paused)
    }

    /// Adds the next record of the journal. [`Self::summarize`] has to follow the last one.
    pub fn take(&mut self, record: JournalRecord) {
        match record {
            JournalRecord::Observation(line) => self.observe(&line),
            JournalRecord::Step(step) => self.take_step(&step),
            JournalRecord::End(end) => {
                self.ended = Some(end.at);
                self.phase = end.phase;
                self.reason = end.reason.as_ref().map(sentences::termination);
            }
            JournalRecord::Start(_) | JournalRecord::State(_) | JournalRecord::WrittenBack(_) => {}
        }
    }

    fn observe(&mut self, line: &Observation) {
        self.verdicts = self.judge.observe(line);
        let counts = Pair::ROLES.map(|role| VersionSample::from_line(line, role));
        for role in Role::ALL {
            self.totals.get_mut(role).merge(counts.get(role));
        }
        let (evidence, certified) = self.verdicts.iter().map(status::shares).unzip();
        self.seconds = line.t;
        self.count_signals(line);
        self.history.add(Point {
            t: line.t,
            weight: line.assigned_weight.unwrap_or(line.weight).percent(),
            set: self.set.map(Weight::percent),
            in_force: self.in_force.map(Weight::percent),
            counts,
            evidence,
            certified,
        });
    }

    /// Brings what only the last record decides up to date: [`Self::metrics`], which have sentences, and
    /// [`Self::versions`], which have quantiles. For every line of a long journal that would be slow.
    pub fn summarize(&mut self) {
        self.metrics = self.verdicts.iter().map(status::metric).collect();
        for role in Role::ALL {
            let VersionSample { requests, unanswered, recorded } = self.totals.get(role);
            let label = self.labels.get(role).clone();
            let counts = RequestCounts {
                requests: requests.trials,
                failures: requests.events,
                unanswered: *unanswered,
            };
            *self.versions.get_mut(role) = status::side(label, counts, recorded);
        }
    }

    fn count_signals(&mut self, line: &Observation) {
        for (signal, counts) in &line.signals {
            let sums = self.signals.entry(signal.clone()).or_default();
            for role in Role::ALL {
                for (class, count) in counts.get(role).iter().flatten() {
                    let sum = sums.get_mut(role).entry(class.clone()).or_default();
                    *sum = sum.saturating_add(*count);
                }
            }
        }
    }

    /// The weights as the step's record shows them.
    fn weights(&mut self, step: &StepRecord) {
        let mut written = step.actions.iter().rev().filter_map(|action| match action {
            Action::Write { target, .. } => Some(target.weight),
            _ => None,
        });
        self.set = written.next().or(self.set);
        let shown = |envoy: &EnvoyInput| match envoy {
            EnvoyInput::Reached(shown) => Some(shown.in_force),
            EnvoyInput::Unreachable(_) => None,
        };
        let mut shown = step.seen.envoys.values().filter_map(shown);
        if let Some(first) = shown.next() {
            self.in_force = first.filter(|_| shown.all(|other| other == first));
        }
    }

    fn take_step(&mut self, step: &StepRecord) {
        self.phase = step.phase;
        self.weights(step);
        let sentence =
            |verdict: &serde_json::Value| verdict.get("reason")?.as_str().map(str::to_owned);
        for event in &step.events {
            match event {
                RolloutEvent::Finalizing { .. } => self.finalizing = true,
                RolloutEvent::Started { .. } => {
                    self.finalizing = false;
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
                    self.finalizing = false;
                    self.labels.stable = Some(version.clone());
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
                reason: step.reason.clone(),
                verdicts: step.verdicts.iter().filter_map(sentence).collect(),
            });
        }
        if self.decisions.len() > MAX_DECISIONS {
            let dropped = MAX_DECISIONS / 2;
            self.decisions.drain(..dropped);
            self.earlier += dropped;
        }
    }
}
