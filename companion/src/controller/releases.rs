//! The seam between a served rollout and whatever outside starts its releases, such as a model registry.
//!
//! A source of releases is a task beside the rollout's own, so that a registry that hangs delays no
//! observation and no lease. It holds a [`ReleaseLink`]: it asks for releases, learns the end of each, and
//! says when that end is written back, which goes into the rollout's journal. An end that was not written
//! back before a restart is told again after it. The rollout holds the other side, the [`ReleaseDesk`].

use std::sync::Arc;

use canary_judge::counts::Pair;
use canary_rollout::state::Phase;
use tokio::sync::{mpsc, oneshot, watch};

use super::orders::{CommandRequest, ReleaseRequest, RolloutCommand};
use super::status::Status;

/// How many write-backs wait at most to be put into the journal.
const QUEUE: usize = 16;

/// How a release ended. It stays the one to be written back until the next one ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseEnd {
    /// The versions that it was about.
    pub versions: Pair<Option<String>>,
    /// Healthy, Measured or Degraded.
    pub phase: Phase,
    /// Why it ended there, in a sentence.
    pub reason: Option<String>,
    /// When: RFC 3339, UTC. It tells one end from another.
    pub ended_at: String,
}

/// A source's side of the seam.
#[derive(Debug)]
pub struct ReleaseLink {
    orders: mpsc::Sender<CommandRequest>,
    /// The rollout as it is now; a release can be asked for while it is idle.
    pub status: watch::Receiver<Arc<Status>>,
    ended: watch::Receiver<Option<ReleaseEnd>>,
    written_back: mpsc::Sender<String>,
    shown: watch::Sender<Option<String>>,
}

/// A served rollout's side of the seam.
#[derive(Debug)]
pub struct ReleaseDesk {
    ended: watch::Sender<Option<ReleaseEnd>>,
    written_back: mpsc::Receiver<String>,
    shown: watch::Receiver<Option<String>>,
}

/// Both sides of the seam, for a rollout that takes orders and shows its status there.
pub fn link(
    orders: mpsc::Sender<CommandRequest>,
    status: watch::Receiver<Arc<Status>>,
) -> (ReleaseLink, ReleaseDesk) {
    let (ended_sender, ended) = watch::channel(None);
    let (written_sender, written_back) = mpsc::channel(QUEUE);
    let (shown_sender, shown) = watch::channel(None);
    let link =
        ReleaseLink { orders, status, ended, written_back: written_sender, shown: shown_sender };
    (link, ReleaseDesk { ended: ended_sender, written_back, shown })
}

impl ReleaseLink {
    /// Asks for a release, as `canaryctl start` does.
    ///
    /// # Errors
    /// Why it is refused, in a sentence: one is under way, the versions are equal, no Envoy answers.
    pub async fn start(&self, release: ReleaseRequest, reason: &str) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let (order, reason) = (RolloutCommand::Start(release), Some(reason.to_owned()));
        let stopping = "the controller is stopping";
        let request = CommandRequest { order, reason, reply };
        self.orders.send(request).await.map_err(|_| stopping.to_owned())?;
        answer.await.unwrap_or_else(|_| Err(stopping.to_owned())).map(drop)
    }

    /// The end that has to be written back, if there is one now.
    pub fn to_write_back(&self) -> Option<ReleaseEnd> {
        self.ended.borrow().clone()
    }

    /// Waits until [`ReleaseLink::to_write_back`] has something else to say.
    ///
    /// # Errors
    /// Where the rollout is gone.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.ended.changed().await
    }

    /// Says that an end is written back: it goes into the journal, and isn't asked for again.
    pub async fn written_back(&self, end: &ReleaseEnd) {
        // A rollout that is gone asks again after the restart; writing back twice does no harm.
        let _ = self.written_back.send(end.ended_at.clone()).await;
    }

    /// Shows operators what the source waits for, such as a registry that can't be reached; `None` if
    /// nothing.
    pub fn show(&self, what: Option<String>) {
        self.shown.send_replace(what);
    }
}

impl ReleaseDesk {
    /// Tells the source of an end that has to be written back; `None` if there is none any more.
    pub fn tell(&self, end: Option<ReleaseEnd>) {
        self.ended.send_if_modified(|told| {
            let new = *told != end;
            *told = end;
            new
        });
    }

    /// Waits for the next end that was written back, and gives its `ended_at`; for ever without a source.
    pub async fn next_written_back(&mut self) -> String {
        match self.written_back.recv().await {
            Some(ended_at) => ended_at,
            None => std::future::pending().await,
        }
    }

    /// What the source waits for, now and later.
    pub fn shown(&self) -> watch::Receiver<Option<String>> {
        self.shown.clone()
    }
}
