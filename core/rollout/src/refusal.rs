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
    /// A sentence of an older version's journal.
    #[serde(untagged)]
    Sentence(String),
}
