//! Going on from the state of an older canaryctl.
//!
//! What was decided stays: phase, step, pauses, gates, notifications, the reason of an end. The evidence
//! doesn't, because it was counted by other rules: the judge starts again, in a new epoch, and the step
//! waits for data of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{
    DeployState, Finalization, FinalizingStage, FleetMember, GateState, LeaseState, Outgoing,
    Phase, ResumeStateError, RolloutClock, State, StepProgress, WeightTarget,
};
use crate::pause::PauseReason;
use crate::spec::Spec;
use crate::termination::TerminationReason;
use canary_judge::counts::{Pair, Trials};
use canary_model::weight::Weight;

/// The fields that decisions are kept in, under the names that every version has written them.
#[derive(Deserialize)]
struct OlderState {
    owner: String,
    takeover: bool,
    #[serde(default)]
    predecessor: Option<String>,
    #[serde(default)]
    canary_version: Option<String>,
    #[serde(default)]
    stable_version: Option<String>,
    #[serde(default)]
    named: Pair<Option<String>>,
    #[serde(default)]
    labels: Pair<Option<String>>,
    #[serde(default)]
    deploy: DeployState,
    #[serde(default)]
    finalizing: Option<OlderFinalization>,
    #[serde(default)]
    finished: bool,
    #[serde(default)]
    untouched: bool,
    attempt: u32,
    phase: Phase,
    clock: RolloutClock,
    epoch: u64,
    shown_epoch: u64,
    window: u64,
    target: Option<WeightTarget>,
    lease: LeaseState,
    members: BTreeMap<String, OlderMember>,
    progress: StepProgress,
    totals: Pair<Trials>,
    due: BTreeMap<String, Duration>,
    gates: BTreeMap<usize, GateState>,
    outbox: Vec<Outgoing>,
    notices: u64,
    ending: Option<TerminationReason>,
    aborting_since: Duration,
    #[serde(default)]
    kept: Option<Weight>,
    #[serde(default)]
    warned: BTreeSet<String>,
    /// Of which only what operators decided is kept.
    #[serde(default)]
    judge: Value,
}

/// Finalizing without its evidence, which is collected again.
#[derive(Deserialize)]
struct OlderFinalization {
    stage: FinalizingStage,
    deployed: bool,
    paused: Option<PauseReason>,
    #[serde(default)]
    overruled: BTreeSet<String>,
}

#[derive(Deserialize)]
struct OlderMember {
    lost: Option<String>,
    took: Option<u64>,
    free: bool,
    stable: bool,
}

impl State {
    /// Goes on from the state that an older version wrote, of a rollout of the same file, which the
    /// caller has checked. A rollout under way gets a new epoch; one that has ended stays ended. `version` is
    /// the canary's, if the state doesn't say it: states before weights named it don't.
    ///
    /// # Errors
    /// [`ResumeStateError::Unreadable`] if it isn't the state of a rollout.
    pub fn resume_older(
        state: &Value,
        spec: &Spec,
        version: Option<String>,
    ) -> Result<Self, ResumeStateError> {
        let older = OlderState::deserialize(state)
            .map_err(|error| ResumeStateError::Unreadable(error.to_string()))?;
        let mut state = Self::new(spec, &older.owner, older.takeover)
            .with_predecessor(older.predecessor)
            .with_canary_version(older.canary_version.or(version));
        state.stable_version = older.stable_version;
        state.named = older.named;
        state.labels = older.labels;
        state.deploy = older.deploy;
        state.finished = older.finished;
        state.untouched = older.untouched;
        let finalization = |older: OlderFinalization| {
            let OlderFinalization { stage, deployed, paused, overruled } = older;
            Finalization { stage, deployed, paused, overruled, handover: None }
        };
        state.finalizing = older.finalizing.map(finalization);
        let member = |(name, older): (String, OlderMember)| {
            let OlderMember { lost, took, free, stable } = older;
            (name, FleetMember { lost, took, free, stable, ..FleetMember::default() })
        };
        state.members = older.members.into_iter().map(member).collect();
        state.attempt = older.attempt;
        state.phase = older.phase;
        state.clock = older.clock;
        state.epoch = older.epoch;
        state.shown_epoch = older.shown_epoch;
        state.window = older.window;
        state.window_began = state.clock.passed;
        state.counted = state.clock.passed;
        state.lease = older.lease;
        state.progress = older.progress;
        state.totals = older.totals;
        state.due = older.due;
        state.gates = older.gates;
        state.outbox = older.outbox;
        state.notices = older.notices;
        state.ending = older.ending;
        state.aborting_since = older.aborting_since;
        state.kept = older.kept;
        state.warned = older.warned;
        state.judge.keep_decisions(&older.judge);
        if let Some(target) = older.target {
            let version = target.version.or_else(|| state.canary_version.clone());
            state.renew(spec, WeightTarget { version, ..target });
        }
        Ok(state)
    }

    /// The judge starts again, in a new epoch; a rollback goes on in its own.
    fn renew(&mut self, spec: &Spec, target: WeightTarget) {
        let under_way = matches!(self.phase, Phase::Progressing | Phase::Paused | Phase::Promoting);
        if !under_way {
            return self.set_target(target);
        }
        self.epoch = self.next_epoch(0);
        self.window = self.window.saturating_add(1);
        self.judge.begin_step(spec.certificate_margin(self.progress.step));
        // What was counted by other rules isn't a count at the age.
        self.progress.began = self.clock.passed;
        self.progress.counts = Pair::default();
        self.set_target(self.driven(spec, target.weight));
        self.epoch_renewed = true;
    }
}
