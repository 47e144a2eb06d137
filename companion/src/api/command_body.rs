//! What goes with a command over the interface: read by the controller, written by its client.

use canary_judge::counts::Pair;
use canary_model::names::is_version;
use canary_rollout::inputs::OperatorCommand;
use serde::{Deserialize, Serialize};

use crate::controller::orders::{ReleaseRequest, RolloutCommand};

/// The longest reason that is taken, in bytes.
const LONGEST_REASON: usize = 2_000;

/// What goes with a command; nothing of it is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommandBody {
    /// Why, in the words of whoever asks, for the journal.
    pub reason: Option<String>,
    /// Whether `promote` skips everything.
    pub full: bool,
    /// The version under trial, for `start`.
    pub canary_version: Option<String>,
    /// The version that serves by default, for `start`.
    pub stable_version: Option<String>,
}

impl CommandBody {
    /// Reads a body; none at all says nothing.
    ///
    /// # Errors
    /// What can't be read, in a sentence.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let read: Self = serde_json::from_slice(body).map_err(|error| {
            format!(
                "the body can't be read: {error}; expected \
                 {{\"reason\", \"full\", \"canary_version\", \"stable_version\"}}"
            )
        })?;
        if read.reason.as_ref().is_some_and(|reason| reason.len() > LONGEST_REASON) {
            return Err(format!("a reason has at most {LONGEST_REASON} bytes"));
        }
        for version in [&read.canary_version, &read.stable_version].into_iter().flatten() {
            if !is_version(version) {
                return Err(format!("\"{version}\" is no version label"));
            }
        }
        Ok(read)
    }

    /// The command that a verb of the interface stands for; `None` for an unknown verb.
    pub fn command(&self, verb: &str) -> Option<RolloutCommand> {
        let given = |version: &Option<String>| version.clone();
        Some(RolloutCommand::Steer(match verb {
            "promote" if self.full => OperatorCommand::PromoteFull,
            "promote" => OperatorCommand::Promote,
            "pause" => OperatorCommand::Pause,
            "resume" => OperatorCommand::Resume,
            "abort" => OperatorCommand::Abort,
            "retry" => OperatorCommand::Retry,
            "finish" => OperatorCommand::Finish,
            "start" => {
                let (stable, canary) = (given(&self.stable_version), given(&self.canary_version));
                let versions = Pair { stable, canary };
                return Some(RolloutCommand::Start(ReleaseRequest { versions, source: None }));
            }
            _ => return None,
        }))
    }
}
