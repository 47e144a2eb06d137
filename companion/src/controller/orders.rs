//! What is asked of a rollout, on its way from the API to the rollout's loop.

use std::sync::Arc;

use canary_judge::counts::Pair;
use canary_rollout::inputs::OperatorCommand;
use tokio::sync::oneshot;

use super::deploy::RegistrySource;
use super::status::Status;

/// How many commands wait at most.
pub const QUEUE: usize = 16;

/// A command on its way to the controller.
#[derive(Debug)]
pub struct CommandRequest {
    /// What is asked for.
    pub order: RolloutCommand,
    /// Why, in the words of whoever asks; it goes into the journal.
    pub reason: Option<String>,
    /// Where the answer goes: the rollout's status after the command, or why it was refused.
    pub reply: oneshot::Sender<Result<Arc<Status>, String>>,
}

/// What can be asked of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutCommand {
    /// Steer the rollout that is under way.
    Steer(OperatorCommand),
    /// Begin a release; only a served rollout does.
    Start(ReleaseRequest),
}

/// A release that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseRequest {
    /// The versions that are named; a role without one is known otherwise (DESIGN 9.1).
    pub versions: Pair<Option<String>>,
    /// Where the version comes from, for deploy hooks; only a registry knows it.
    pub source: Option<RegistrySource>,
}

impl CommandRequest {
    /// Answers that the order is refused.
    pub fn refuse(self, why: &str) {
        // Who asked may have gone away.
        let _ = self.reply.send(Err(why.to_owned()));
    }
}
