//! Why a command was refused.

use serde::{Deserialize, Serialize};

use super::phase::Phase;

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CommandRefusal {
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
    /// The journal can't be written, and the command would advance the rollout.
    Unrecorded,
    /// `abort` after the handover: both places run the new version.
    HandedOver {
        /// The rollout's name, for the command that goes back.
        rollout: String,
        /// The version that served before, if it is known.
        old: Option<String>,
    },
    /// `finish` after the handover.
    AlreadyFinished,
    /// `promote --full` in Finalizing before stable's place has the new version.
    StableNotDeployed,
    /// A command that can't end a pause of Finalizing; `finish` can.
    FinishInstead,
    /// `promote --full` of a rollout with `goal: measure`, which never promotes.
    OnlyMeasures,
    /// A sentence of an older version's journal.
    #[serde(untagged)]
    Sentence(String),
}
