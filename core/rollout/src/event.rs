//! What happened in a step that a person wants to know, and the decisions among it.

use serde::{Deserialize, Serialize};

use super::inputs::OperatorCommand;
use super::spec::Topic;
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
        /// Why, in a sentence.
        why: String,
    },
    /// It goes on.
    Resumed,
    /// All traffic goes to the canary now; it is not confirmed yet.
    Promoting,
    /// The canary has all traffic, confirmed.
    Completed {
        /// Why.
        reason: TerminationReason,
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
    /// A notification was given up after many tries.
    NoticeLost {
        /// Its number.
        notice: u64,
    },
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReply {
    /// The command.
    pub command: OperatorCommand,
    /// Why it was refused; `None`: it was obeyed.
    pub refused: Option<String>,
}

impl RolloutEvent {
    /// Under what the event is told to web hooks, if at all.
    pub const fn topic(&self) -> Option<Topic> {
        match self {
            Self::Started { .. } => Some(Topic::Started),
            Self::Step { .. } => Some(Topic::Step),
            Self::Paused { .. } => Some(Topic::Paused),
            Self::Resumed => Some(Topic::Resumed),
            Self::Completed { .. } => Some(Topic::Completed),
            Self::Aborting { .. } => Some(Topic::Aborted),
            // A rollback was told when it began; a takeover has no such beginning.
            Self::Degraded { reason: TerminationReason::OtherOwner { .. } } => Some(Topic::Aborted),
            _ => None,
        }
    }
}
