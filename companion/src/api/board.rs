//! The rollouts of this process, as the interface sees them: where each shows its status, and where it
//! takes orders.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::controller::orders::CommandRequest;
use crate::controller::status::Status;
use crate::report::LiveReport;

/// One rollout's place on the board.
#[derive(Clone, Debug)]
pub struct BoardEntry {
    /// The rollout as it is now.
    pub status: watch::Receiver<Arc<Status>>,
    /// Commands to the rollout's loop.
    pub orders: mpsc::Sender<CommandRequest>,
    /// What its page shows.
    pub report: Arc<LiveReport>,
}

/// All rollouts, by name. Copies show the same board.
#[derive(Clone, Debug)]
pub struct Board {
    entries: Arc<Mutex<BTreeMap<String, BoardEntry>>>,
    /// Counts how often a rollout came or went.
    changes: Arc<watch::Sender<u64>>,
}

impl Default for Board {
    fn default() -> Self {
        Self { entries: Arc::default(), changes: Arc::new(watch::Sender::new(0)) }
    }
}

impl Board {
    /// Puts a rollout on the board, or replaces it.
    pub fn put(&self, rollout: &str, entry: BoardEntry) {
        self.lock().insert(rollout.to_owned(), entry);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Takes a rollout off the board.
    pub fn remove(&self, rollout: &str) {
        self.lock().remove(rollout);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// One rollout's place; `None` if there is none of that name.
    pub fn get(&self, rollout: &str) -> Option<BoardEntry> {
        self.lock().get(rollout).cloned()
    }

    /// Every rollout's place, in order of the names.
    pub fn entries(&self) -> Vec<BoardEntry> {
        self.lock().values().cloned().collect()
    }

    /// Every rollout as it is now, in order of the names.
    pub fn statuses(&self) -> Vec<Arc<Status>> {
        self.lock().values().map(|entry| Arc::clone(&entry.status.borrow())).collect()
    }

    /// The names of the rollouts, in order.
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BoardEntry>> {
        // Nothing that holds it can panic between two changes that belong together.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
