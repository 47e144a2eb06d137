//! Why a rollout is paused.

use serde::{Deserialize, Serialize};

/// Why a rollout is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A sentence of an older version's journal.
    #[serde(untagged)]
    Sentence(String),
}
