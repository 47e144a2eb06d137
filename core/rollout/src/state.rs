//! Everything that a rollout knows while it runs.
//!
//! Written as JSON and resumed it goes on exactly as if it had never stopped.

mod finalization;
mod fleet_member;
mod older;
mod progress;
mod release;
mod transitions;
mod weight_history;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::Notification;
use super::fingerprint::fingerprint;
use super::spec::Spec;
use super::termination::TerminationReason;
use canary_judge::Judge;
use canary_judge::counts::{Pair, Trials};
use canary_judge::observation::Measurement;
use canary_judge::verdict::NoAnswer;
use canary_model::weight::Weight;

pub use super::phase::Phase;
pub use super::target::WeightTarget;
pub(crate) use finalization::{DeployCall, DeployState, Finalization, FinalizingStage, Handover};
pub(crate) use fleet_member::FleetMember;
pub(crate) use progress::StepProgress;
pub(crate) use weight_history::WeightHistory;

/// A rollout's whole state: everything that survives a restart of the controller.
///
/// [`step`](super::step()) alone changes it, and each change goes into the journal before it takes effect. Three
/// groups of fields:
/// - what was decided: `phase`, `attempt`, `epoch`, `window`, `target`, `progress`, `gates`, `outbox`,
///   `ending`, `kept`, `named`, `labels`, `deploy`, `finalizing`, `finished`. A state of an older canaryctl keeps these ([`State::resume_older`]).
/// - the evidence: `judge`, `totals`, `measured`, `due`, `outage`. It starts again in each epoch.
/// - the Envoys as they were last seen: `members`, `tripped`, `shown_epoch`. The next look replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The fingerprint of the file that the rollout began with.
    fingerprint: String,
    /// As whom it writes.
    pub(crate) owner: String,
    /// Whether it takes the rollout from another owner.
    pub(crate) takeover: bool,
    /// An owner whose controller has ended: its name on an Envoy is a leftover, not a competitor.
    #[serde(default)]
    pub(crate) predecessor: Option<String>,
    /// The canary version that this rollout is about; every weight names it.
    #[serde(default)]
    pub(crate) canary_version: Option<String>,
    /// Stable's version before the rollout, as far as it is known.
    #[serde(default)]
    pub(crate) stable_version: Option<String>,
    /// The versions that somebody named: the file, the command line, the registry.
    #[serde(default)]
    pub(crate) named: Pair<Option<String>>,
    /// The version labels that the rollout has set in Envoy's runtime, as they are written there.
    #[serde(default)]
    pub(crate) labels: Pair<Option<String>>,
    /// The calls of the deploy hook.
    #[serde(default)]
    pub(crate) deploy: DeployState,
    /// How far the handover to the new stable has come, in Finalizing.
    #[serde(default)]
    pub(crate) finalizing: Option<Finalization>,
    /// Whether both places run the new version: there is nothing to go back to.
    #[serde(default)]
    pub(crate) finished: bool,
    /// Whether it ended before anything was written to an Envoy.
    #[serde(default)]
    pub(crate) untouched: bool,
    pub(crate) attempt: u32,
    pub(crate) phase: Phase,
    pub(crate) clock: RolloutClock,
    pub(crate) epoch: u64,
    /// The largest epoch that any Envoy showed.
    pub(crate) shown_epoch: u64,
    pub(crate) window: u64,
    /// When the window began, on the rollout's clock.
    pub(crate) window_began: Duration,
    pub(crate) target: Option<WeightTarget>,
    /// The weights that were set in this epoch.
    #[serde(default)]
    pub(crate) weights: WeightHistory,
    /// The age at which the filters count outcomes, in seconds, as far as one said it.
    #[serde(default)]
    pub(crate) outcome_age: Option<u64>,
    pub(crate) lease: LeaseState,
    pub(crate) members: BTreeMap<String, FleetMember>,
    /// On which Envoys the guard has tripped in this epoch.
    pub(crate) tripped: BTreeSet<String>,
    pub(crate) progress: StepProgress,
    pub(crate) judge: Judge,
    /// Whether clients are judged, as soon as a line said so.
    #[serde(rename = "keyed")]
    pub(crate) sticky: Option<bool>,
    /// Requests and failures since the epoch's start.
    pub(crate) totals: Pair<Trials>,
    /// Until when counts were taken, on the rollout's clock.
    #[serde(default)]
    pub(crate) counted: Duration,
    /// Since when there have been no counts, on the rollout's clock.
    pub(crate) outage: Option<Duration>,
    /// The external metrics whose last measurement says nothing, and why.
    #[serde(default)]
    pub(crate) metric_outages: BTreeMap<String, NoAnswer>,
    /// When each external metric is due, by name, on the rollout's clock.
    pub(crate) due: BTreeMap<String, Duration>,
    /// Measurements that wait for a line of counts.
    pub(crate) measured: BTreeMap<String, Measurement>,
    /// The gates that were asked, by index.
    pub(crate) gates: BTreeMap<usize, GateState>,
    /// Notifications on their way.
    pub(crate) outbox: Vec<Outgoing>,
    pub(crate) notices: u64,
    /// Whether the split's mismatch was told in this step.
    pub(crate) mismatch: bool,
    /// The metrics of which a warning was told.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) warned: BTreeSet<String>,
    pub(crate) ending: Option<TerminationReason>,
    /// When the rollback began, on the rollout's clock.
    pub(crate) aborting_since: Duration,
    /// Whether the promotion's lease is being given up, or a measurement's.
    pub(crate) releasing: bool,
    /// The weight that stays after a measurement, if the file keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<Weight>,
    /// Whether the next step has to tell that an older state goes on in a new epoch.
    #[serde(default)]
    pub(crate) epoch_renewed: bool,
}

/// The rollout's own clock: it only adds what a step may add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RolloutClock {
    /// What has passed since the rollout's start.
    pub(crate) passed: Duration,
    /// The host's clock at the last step.
    pub(crate) last: Option<Duration>,
}

/// Which lease was given last, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseState {
    pub(crate) given: u64,
    /// On the host's clock.
    pub(crate) at: Option<Duration>,
}

/// What is known of a gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GateState {
    pub(crate) attempts: u32,
    pub(crate) passed: bool,
    pub(crate) said: Option<String>,
    /// When to ask again, on the rollout's clock.
    pub(crate) again: Duration,
}

/// A notification and when to send it again, on the rollout's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outgoing {
    pub(crate) notice: Notification,
    pub(crate) again: Duration,
}

/// Why a state can't be resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumeStateError {
    /// It is no state of a rollout; what the reader says.
    Unreadable(String),
    /// It belongs to another rollout file.
    OtherFile,
}

impl fmt::Display for ResumeStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "not a rollout's state: {error}"),
            Self::OtherFile => f.write_str(
                "the rollout was begun with another rollout file; finish it with that file, or abort \
                 it and begin anew",
            ),
        }
    }
}

impl std::error::Error for ResumeStateError {}

impl State {
    /// A rollout before its first step. `owner` is what the Envoys' owner keys will say, in the
    /// grammar of [`canary_model::runtime::check_owner`] and unique to this controller; with `takeover` it
    /// takes the rollout from whoever drives it now.
    pub fn new(spec: &Spec, owner: &str, takeover: bool) -> Self {
        Self {
            fingerprint: fingerprint(spec),
            owner: owner.to_owned(),
            takeover,
            predecessor: None,
            canary_version: None,
            stable_version: None,
            named: Pair::default(),
            labels: Pair::default(),
            deploy: DeployState::default(),
            finalizing: None,
            finished: false,
            untouched: false,
            attempt: 1,
            phase: Phase::Pending,
            clock: RolloutClock::default(),
            epoch: 0,
            shown_epoch: 0,
            window: 0,
            window_began: Duration::ZERO,
            target: None,
            weights: WeightHistory::default(),
            outcome_age: None,
            lease: LeaseState::default(),
            members: BTreeMap::new(),
            tripped: BTreeSet::new(),
            progress: StepProgress::default(),
            judge: Judge::new(&spec.analysis, spec.planned_seconds()),
            sticky: None,
            totals: Pair::default(),
            counted: Duration::ZERO,
            outage: None,
            metric_outages: BTreeMap::new(),
            due: BTreeMap::new(),
            measured: BTreeMap::new(),
            gates: BTreeMap::new(),
            outbox: Vec::new(),
            notices: 0,
            mismatch: false,
            warned: BTreeSet::new(),
            ending: None,
            aborting_since: Duration::ZERO,
            releasing: false,
            kept: None,
            epoch_renewed: false,
        }
    }

    /// Goes on from a state that was written as JSON, with the same file.
    ///
    /// # Errors
    /// [`ResumeStateError`] where the text is no state, or another file's.
    pub fn resume(state: &str, spec: &Spec) -> Result<Self, ResumeStateError> {
        let state: Self =
            serde_json::from_str(state).map_err(|e| ResumeStateError::Unreadable(e.to_string()))?;
        if state.fingerprint != fingerprint(spec) {
            return Err(ResumeStateError::OtherFile);
        }
        Ok(state)
    }

    /// For a canary version that the caller knows; otherwise the first Envoys that are
    /// looked at say which it is.
    #[must_use]
    pub fn with_canary_version(self, version: Option<String>) -> Self {
        Self { canary_version: version, ..self }
    }

    /// Following an owner whose controller has ended: Envoys that still show that owner
    /// are taken over without `takeover`.
    #[must_use]
    pub fn with_predecessor(self, owner: Option<String>) -> Self {
        Self { predecessor: owner, ..self }
    }

    /// The canary version that the rollout is about, as far as it is known.
    pub fn canary_version(&self) -> Option<&str> {
        self.canary_version.as_deref()
    }

    /// Notifications that have not been delivered.
    pub fn undelivered(&self) -> impl Iterator<Item = &Notification> {
        self.outbox.iter().map(|out| &out.notice)
    }

    /// Envoys that could not be reached at the last look, each with what went wrong.
    pub fn unreachable(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().filter_map(move |(name, member)| {
            member.lost.as_deref().map(|why| (name.as_str(), why))
        })
    }

    /// Where the rollout stands. In Finalizing it may be Paused, too.
    pub const fn phase(&self) -> Phase {
        match &self.finalizing {
            Some(Finalization { paused: Some(_), .. }) => Phase::Paused,
            _ => self.phase,
        }
    }

    /// The index of the step it is in, from 0; `None` before the first and behind the last.
    pub const fn step(&self) -> Option<usize> {
        match self.phase {
            Phase::Progressing | Phase::Paused => Some(self.progress.step),
            _ => None,
        }
    }

    /// The index of the step that began last, from 0, whatever has become of the rollout since.
    pub const fn last_step(&self) -> usize {
        self.progress.step
    }

    /// The age at which the filters count outcomes for the judge; zero as long as none has said it. If
    /// they differ, which holds the rollout, the largest.
    pub fn outcome_age(&self) -> Duration {
        Duration::from_secs(self.outcome_age.unwrap_or_default())
    }

    /// The weight that was set `outcome_age` ago, under which requests were assigned that reach that age
    /// now; `None` if that is before the epoch's first weight.
    pub fn weight_at_age(&self) -> Option<Weight> {
        self.weights.before(self.clock.passed, self.outcome_age())
    }

    /// What every Envoy should show; `None` where nothing is to be written: before the start, at the
    /// end, and where somebody else drives.
    pub const fn target(&self) -> Option<&WeightTarget> {
        self.target.as_ref()
    }

    /// The guard's epoch; 0 before the start.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// 1 at first, one more at each retry.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long the rollout has run: the clock of its observations, which leaves out what passed
    /// while nobody looked.
    pub const fn clock(&self) -> Duration {
        self.clock.passed
    }

    /// The judge, with every metric's verdict and the split check.
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Both versions' requests and failures since the epoch's start.
    pub const fn totals(&self) -> Pair<Trials> {
        self.totals
    }

    /// Why it ended or is being rolled back.
    pub const fn ending(&self) -> Option<&TerminationReason> {
        self.ending.as_ref()
    }

    /// Whether there is nothing more to do: it has ended, and every notification is delivered or
    /// given up. Commands are still heard.
    pub fn is_over(&self) -> bool {
        self.phase.is_end() && self.outbox.is_empty()
    }
}
