//! What connects a rollout's loop with everybody else: where orders come from, where the status goes, and who
//! is told what happens.

use std::sync::Arc;
use std::time::Duration;

use canary_rollout::action::Notification;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;
use tokio::sync::{mpsc, watch};

use super::orders::CommandRequest;
use super::releases::ReleaseDesk;
use super::status::Status;
use crate::error::Error;

/// Where the controller reports what happens. It renders: the controller itself only has data.
pub trait Reporter {
    /// An event as a sentence, for the notifications that carry one.
    fn describe(&self, event: &RolloutEvent, spec: &Spec) -> String;

    /// Reports new events.
    ///
    /// # Errors
    /// If the report can't be written any more.
    fn happened(
        &mut self,
        events: &[RolloutEvent],
        spec: &Spec,
        status: &Status,
    ) -> Result<(), Error>;

    /// Reports the status after a scrape.
    ///
    /// # Errors
    /// If the report can't be written any more.
    fn looked(&mut self, status: &Status) -> Result<(), Error>;

    /// Whether the report shows why a rollout ended, so that the closing message needn't say it again.
    fn shows_reason(&self) -> bool;

    /// Reports a notification that was given up `within` after the rollout's end.
    fn undelivered(&mut self, notice: &Notification, spec: &Spec, within: Duration);

    /// Reports what isn't an event of the rollout and is nothing to worry about.
    fn inform(&mut self, text: &str);

    /// Reports a warning outside of the events.
    fn remark(&mut self, text: &str);
}

/// What else operators should know about a rollout, as it is at the moment.
pub type Notes = Arc<dyn Fn() -> Vec<String>>;

/// Where commands come from, and where the status goes.
pub struct Channels {
    /// Operators' commands, from the API to the loop.
    pub orders: mpsc::Receiver<CommandRequest>,
    /// The current status, from the loop to the API.
    pub status: watch::Sender<Arc<Status>>,
    /// Turns true when the process has to stop.
    pub stop: watch::Receiver<bool>,
    /// What else operators should know about the rollout, such as a file that is broken.
    pub notes: Notes,
    /// Turns true when nobody wants the rollout any more once it is idle: its file was removed.
    pub removed: watch::Receiver<bool>,
    /// Where a registry learns how a release ended.
    pub desk: ReleaseDesk,
}

/// Whether a rollout is the only one of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceMode {
    /// It is: the process ends with it, and what keeps it from going on is the process' failure.
    Alone,
    /// The same, but the process stays after the end.
    Stays,
    /// It is one of many, stays after its end, and begins again when it is asked to.
    Served,
}

/// How the loop came to its end.
#[derive(Debug)]
pub enum Finished {
    /// The rollout is over.
    Over,
    /// The rollout is over, and another release is asked for.
    Release(CommandRequest),
    /// The process has to stop.
    Stopped,
}

/// Waits until something is true; for ever if nobody can say so any more.
pub async fn turned_true(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|flag| *flag).await.is_err() {
        std::future::pending::<()>().await;
    }
}
