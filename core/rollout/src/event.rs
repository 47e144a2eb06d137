//! What happened in a step that a person wants to know, and the decisions among it.

use canary_judge::EffectEstimate;
use canary_judge::verdict::NoAnswer;
use serde::{Deserialize, Serialize};

use super::inputs::OperatorCommand;
use super::pause::PauseReason;
use super::refusal::CommandRefusal;
use super::spec::Topic;
use super::termination::TerminationReason;
use canary_model::role::Role;
use canary_model::weight::Weight;

/// Something that happened in a rollout, as the journal, notifications and reports get it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum RolloutEvent {
    /// The rollout began, or began again.
    Started {
        /// The guard's epoch from now on.
        epoch: u64,
        /// 1 at first, one more at each retry.
        attempt: u32,
    },
    /// A step of the file began.
    Step {
        /// Its index, from 0.
        step: usize,
        /// The weight that the step sets.
        weight: Weight,
    },
    /// It waits for a person.
    Paused {
        /// Why the rollout is paused.
        why: PauseReason,
    },
    /// It goes on after a pause.
    Resumed,
    /// All traffic goes to the canary now; it is not confirmed yet.
    Promoting,
    /// The canary has all traffic, confirmed.
    Completed {
        /// Why the rollout ended there.
        reason: TerminationReason,
        /// Envoys that couldn't be reached then: they may serve something else.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unreachable: Vec<String>,
    },
    /// The deploy hook was called.
    Deploying {
        /// Whose place gets the version.
        #[serde(with = "super::role_text")]
        role: Role,
        /// The version that should serve there.
        version: String,
        /// Which call of the hook it is in this rollout.
        attempt: u32,
    },
    /// The deploy hook says that the version serves.
    Deployed {
        /// Whose place has the version now.
        #[serde(with = "super::role_text")]
        role: Role,
        /// The version that serves there.
        version: String,
    },
    /// It ended before any weight moved.
    Abandoned {
        /// Why nothing more is done.
        reason: TerminationReason,
    },
    /// Stable's place is about to be replaced: from here on an abort can't go back to it.
    Finalizing {
        /// The version that takes over.
        version: String,
    },
    /// Both places get half of the traffic, and the new stable is judged.
    HandingOver {
        /// The weight while it is judged.
        weight: Weight,
    },
    /// The new version has taken over stable's place, and the weight is 0, confirmed.
    Finished {
        /// The version that both places run.
        version: String,
        /// Why the rollout ended there.
        reason: TerminationReason,
        /// Envoys that couldn't be reached then: they may still use the canary's place.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unreachable: Vec<String>,
    },
    /// The steps of a rollout that only measures are over, and the weight that stays is confirmed.
    Measured {
        /// The weight that stays: 0, or with `afterwards: keep` the last step's.
        weight: Weight,
        /// The result: how far the canary differs from stable, with intervals.
        effects: Vec<EffectEstimate>,
        /// Envoys that couldn't be reached then; their leases bring them back to stable.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unreachable: Vec<String>,
    },
    /// It is being rolled back.
    Aborting {
        /// Why it is being rolled back.
        reason: TerminationReason,
    },
    /// All traffic is back on stable, or the rollout is no longer ours.
    Degraded {
        /// Why it was rolled back or given up.
        reason: TerminationReason,
        /// Envoys that couldn't be reached then; their leases have brought them back to stable.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unreachable: Vec<String>,
    },
    /// The guard tripped on an Envoy.
    GuardTripped {
        /// The Envoy's name, as it is listed.
        envoy: String,
    },
    /// An Envoy can't be reached.
    EnvoyLost {
        /// The Envoy's name, as it is listed.
        envoy: String,
        /// What the connection or Envoy said.
        why: String,
    },
    /// An Envoy that could not be reached answers again.
    EnvoyBack {
        /// The Envoy's name, as it is listed.
        envoy: String,
    },
    /// No counts could be read.
    Outage,
    /// There are counts again.
    OutageOver,
    /// An external metric has no usable measurement; the rollout holds.
    MetricOutage {
        /// The metric's name, as in the file.
        metric: String,
        /// Why there is no measurement.
        why: NoAnswer,
    },
    /// An external metric has a usable measurement again.
    MetricOutageOver {
        /// The metric's name, as in the file.
        metric: String,
    },
    /// An Envoy refuses a configuration that was pushed to it; the rollout holds.
    ConfigurationRefused {
        /// The Envoy's name, as it is listed.
        envoy: String,
        /// Envoy's own words for the refusal.
        why: String,
    },
    /// An Envoy no longer refuses a configuration.
    ConfigurationAccepted {
        /// The Envoy's name, as it is listed.
        envoy: String,
    },
    /// An Envoy's canary is of another version than the rollout's; the rollout holds.
    OtherVersion {
        /// The Envoy's name, as it is listed.
        envoy: String,
        /// The canary version that this Envoy runs.
        version: String,
    },
    /// A rollout of an older canaryctl goes on: the judge starts again, in a new epoch.
    EpochRenewed {
        /// The guard's epoch from now on.
        epoch: u64,
    },
    /// The canary does not get the share of requests that its weight says.
    SplitMismatch {
        /// The weight, as a fraction.
        weight: f64,
        /// The share that was measured.
        measured: f64,
    },
    /// A metric with `onFailure: warn` found the canary worse than tolerated; the rollout goes on.
    Warned {
        /// The metric's name, as in the file.
        metric: String,
    },
    /// An operator promoted in spite of a metric that had paused the rollout: it counts as passed from now on.
    Overruled {
        /// The metric's name, as in the file.
        metric: String,
    },
    /// An operator resumed after a metric had paused the rollout: it asks again.
    AsksAgain {
        /// The metric's name, as in the file.
        metric: String,
    },
    /// A gate let the rollout pass.
    GatePassed {
        /// Its index in the file.
        gate: usize,
    },
    /// A gate did not.
    GateHeld {
        /// Its index in the file.
        gate: usize,
        /// What the gate answered, or why it didn't.
        said: String,
    },
    /// A notification was given up.
    NoticeLost {
        /// The number of the notification.
        notice: u64,
        /// What it was about; `None` in journals of older versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<Topic>,
        /// The index of the file's `notify` entry, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hook: Option<usize>,
    },
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReply {
    /// The command that was given.
    pub command: OperatorCommand,
    /// Why it was refused; `None` if it was obeyed.
    pub refused: Option<CommandRefusal>,
}

impl RolloutEvent {
    /// Under what the event is told to web hooks, if at all.
    pub const fn topic(&self) -> Option<Topic> {
        match self {
            Self::Started { .. } => Some(Topic::Started),
            Self::Step { .. } => Some(Topic::Step),
            Self::Paused { .. } => Some(Topic::Paused),
            Self::Resumed => Some(Topic::Resumed),
            Self::Outage | Self::MetricOutage { .. } => Some(Topic::Outage),
            Self::Completed { .. } | Self::Finished { .. } => Some(Topic::Completed),
            Self::Measured { .. } => Some(Topic::Measured),
            Self::Aborting { .. } | Self::Abandoned { .. } => Some(Topic::Aborted),
            // A rollback was told when it began; a takeover has no such beginning.
            Self::Degraded { reason: TerminationReason::OtherOwner { .. }, .. } => {
                Some(Topic::Aborted)
            }
            _ => None,
        }
    }
}
