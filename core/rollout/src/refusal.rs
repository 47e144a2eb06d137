//! Why a command was refused, as data and in a sentence.

use std::fmt;

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
    /// A sentence of an older version's journal.
    #[serde(untagged)]
    Sentence(String),
}

impl fmt::Display for CommandRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotInPhase(phase) => return write!(f, "not while {phase}: {}", next(*phase)),
            Self::NotRolledBack(phase) => {
                return write!(
                    f,
                    "only a rollout that was rolled back can be retried; it is {phase}"
                );
            }
            Self::NoPauseLeft => {
                "no pause left to skip in this step, and its remaining conditions cannot be \
                 skipped; use `promote --full` to bypass them"
            }
            Self::PausedByFile => "the rollout file asks for this pause; `promote` ends it",
            Self::NotPaused => "it is not paused",
            Self::RollbackUnfinished => "the rollback is not over yet; try again in a moment",
            Self::Sentence(text) => text,
        };
        f.write_str(text)
    }
}

/// What an operator can do in a phase in which a command has no meaning.
const fn next(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "it has not started; `abort` ends it",
        Phase::Promoting => "all traffic is being sent to the canary; `abort` still works",
        Phase::Healthy => "the canary has all traffic already; `abort` takes it back",
        Phase::Aborting => "it is being rolled back; `retry` starts again after that",
        Phase::Degraded => "it was rolled back; `retry` starts again",
        Phase::Progressing | Phase::Paused => "it can't do that now",
    }
}
