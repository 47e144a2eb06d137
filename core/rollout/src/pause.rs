//! Why a rollout is paused.

use serde::{Deserialize, Serialize};

use super::termination::{FailedVerdict, TerminationReason};

/// Why a rollout is paused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PauseReason {
    /// The file says so: `pause: {}`.
    File,
    /// A person said so.
    Command,
    /// The pause's timeout passed.
    Timeout,
    /// More of an external metric's measurements were neither good nor bad than its
    /// `inconclusiveLimit` allows.
    Inconclusive {
        /// The metric's name, as in the file.
        metric: String,
    },
    /// In Finalizing: the hook could not put the new version into stable's place.
    DeployFailed {
        /// What the hook said.
        why: String,
    },
    /// In Finalizing: the new version is worse in stable's place than in the canary's.
    WorseInStablesPlace {
        /// What the test found; its roles are swapped, so `canary` is stable's place.
        verdict: FailedVerdict,
    },
    /// In Finalizing there is no stable to go back to, so an abort holds at 100 %.
    AbortedAtFull {
        /// Why it would have been rolled back.
        reason: Box<TerminationReason>,
    },
    /// A metric with `onFailure: pause` found the canary worse than tolerated.
    Metric {
        /// The metric's name, as in the file.
        metric: String,
    },
    /// A sentence of an older version's journal.
    #[serde(untagged)]
    Sentence(String),
}
