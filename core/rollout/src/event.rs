//! What happened in a step that a person wants to know, and the decisions among it.

use serde::{Deserialize, Serialize};

use super::action::Notification;
use super::blockers::PauseReason;
use super::inputs::OperatorCommand;
use super::spec::Topic;
use super::state::Phase;
use super::termination::TerminationReason;
use canary_model::weight::Weight;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum RolloutEvent {
    /// The rollout began, or began again.
    Started {
        /// The guard's epoch.
        epoch: u64,
        /// 1 at first, one more at each retry.
        attempt: u32,
    },
    /// A step began.
    Step {
        /// Its index, from 0.
        step: usize,
        /// The weight.
        weight: Weight,
    },
    /// It waits for a person.
    Paused {
        /// Why.
        why: PauseReason,
    },
    /// It goes on.
    Resumed,
    /// All traffic goes to the canary now; it is not confirmed yet.
    Promoting,
    /// The canary has all traffic, confirmed.
    Completed {
        /// Why.
        reason: TerminationReason,
        /// Envoys that couldn't be reached then: they may serve something else.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unreachable: Vec<String>,
    },
    /// It is being rolled back.
    Aborting {
        /// Why.
        reason: TerminationReason,
    },
    /// All traffic is back on stable, or the rollout is no longer ours.
    Degraded {
        /// Why.
        reason: TerminationReason,
        /// Envoys that couldn't be reached then; their leases have brought them back to stable.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unreachable: Vec<String>,
    },
    /// The guard tripped on an Envoy.
    GuardTripped {
        /// Which.
        envoy: String,
    },
    /// An Envoy can't be reached.
    EnvoyLost {
        /// Which.
        envoy: String,
        /// What was said.
        why: String,
    },
    /// An Envoy that could not be reached answers again.
    EnvoyBack {
        /// Which.
        envoy: String,
    },
    /// No counts could be read.
    Outage,
    /// There are counts again.
    OutageOver,
    /// An external metric has no usable measurement; the rollout holds.
    MetricOutage {
        /// The metric.
        metric: String,
        /// Why.
        why: String,
    },
    /// An external metric has a usable measurement again.
    MetricOutageOver {
        /// The metric.
        metric: String,
    },
    /// An Envoy refuses a configuration that was pushed to it; the rollout holds.
    ConfigurationRefused {
        /// Which.
        envoy: String,
        /// What it says.
        why: String,
    },
    /// An Envoy no longer refuses a configuration.
    ConfigurationAccepted {
        /// Which.
        envoy: String,
    },
    /// An Envoy's canary is of another version than the rollout's; the rollout holds.
    OtherVersion {
        /// Which.
        envoy: String,
        /// The version there.
        version: String,
    },
    /// A rollout of an older canaryctl goes on: the judge starts again, in a new epoch.
    EpochRenewed {
        /// The new epoch.
        epoch: u64,
    },
    /// The canary does not get the share of requests that its weight says.
    SplitMismatch {
        /// The weight, as a fraction.
        weight: f64,
        /// The share that was measured.
        measured: f64,
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
        /// What it said.
        said: String,
    },
    /// A notification was given up.
    NoticeLost {
        /// Its number.
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
    /// The command.
    pub command: OperatorCommand,
    /// Why it was refused; `None` if it was obeyed.
    pub refused: Option<Refusal>,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// The command has no meaning in this phase.
    NotInPhase(Phase),
    /// The step's pauses are over, and its other conditions can't be skipped one by one.
    NoPauseLeft,
    /// `resume` at a pause of the file, which `promote` ends.
    PausedByFile,
    /// `resume` of a rollout that is not paused.
    NotPaused,
    /// `retry` of a rollback that is not over yet.
    RollbackUnfinished,
    /// `retry` of a rollout that was not rolled back.
    NotRolledBack(Phase),
    /// A sentence of an older version's journal.
    #[serde(untagged)]
    Sentence(String),
}

impl RolloutEvent {
    /// A notification was given up.
    pub const fn notice_lost(notice: &Notification) -> Self {
        let (topic, hook) = (Some(notice.topic), Some(notice.hook));
        Self::NoticeLost { notice: notice.number, topic, hook }
    }

    /// Under what the event is told to web hooks, if at all.
    pub const fn topic(&self) -> Option<Topic> {
        match self {
            Self::Started { .. } => Some(Topic::Started),
            Self::Step { .. } => Some(Topic::Step),
            Self::Paused { .. } => Some(Topic::Paused),
            Self::Resumed => Some(Topic::Resumed),
            Self::Outage | Self::MetricOutage { .. } => Some(Topic::Outage),
            Self::Completed { .. } => Some(Topic::Completed),
            Self::Aborting { .. } => Some(Topic::Aborted),
            // A rollback was told when it began; a takeover has no such beginning.
            Self::Degraded { reason: TerminationReason::OtherOwner { .. }, .. } => {
                Some(Topic::Aborted)
            }
            _ => None,
        }
    }
}
