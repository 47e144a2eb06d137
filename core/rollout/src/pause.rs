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

impl PauseReason {
    /// The reason in words.
    pub fn sentence(&self) -> String {
        let text = match self {
            Self::Inconclusive { metric } => {
                return format!(
                    "an operator: more measurements of {metric} were neither good nor bad than its \
                     inconclusiveLimit allows"
                );
            }
            Self::Sentence(text) => text,
            Self::File => "a person to promote it, as the file says",
            Self::Command => "a person to resume it",
            Self::Timeout => "a person: the timeout passed before the pause's conditions held",
        };
        text.to_owned()
    }
}
