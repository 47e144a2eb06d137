//! How far the step has come.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use canary_judge::counts::{Pair, Trials};

/// The step and its pauses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepProgress {
    /// The step's index in the file, from 0.
    pub(crate) step: usize,
    /// How many of its pauses are over.
    pub(crate) pauses: usize,
    /// Time at this weight in this step: confirmed, and with counts.
    pub(crate) held: Duration,
    /// What of that had passed when the present pause began.
    pub(crate) pause_from: Duration,
    /// What of that had passed when the present pause's timeout began.
    pub(crate) timeout_from: Duration,
    /// Requests and failures since the step's start.
    pub(crate) counts: Pair<Trials>,
    /// A person said to hold.
    pub(crate) stopped: bool,
    /// The pause's timeout passed.
    pub(crate) timed_out: bool,
}

impl StepProgress {
    /// A step before anything happened in it.
    pub(crate) fn new(step: usize) -> Self {
        Self { step, ..Self::default() }
    }

    /// The present pause is over.
    pub(crate) const fn next_pause(&mut self) {
        self.pauses = self.pauses.saturating_add(1);
        self.pause_from = self.held;
        self.timeout_from = self.held;
        self.timed_out = false;
    }

    /// A person says to go on: what was stopped goes on, what timed out has as long again.
    pub(crate) const fn resume(&mut self) {
        self.stopped = false;
        if self.timed_out {
            self.timed_out = false;
            self.timeout_from = self.held;
        }
    }

    /// Time in the present pause.
    pub(crate) const fn in_pause(&self) -> Duration {
        self.held.saturating_sub(self.pause_from)
    }

    /// Time that the present pause's timeout has run.
    pub(crate) const fn in_timeout(&self) -> Duration {
        self.held.saturating_sub(self.timeout_from)
    }
}
