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
    /// Requests that were assigned since the step's start and have reached the age `outcome_age`, and
    /// failures among them.
    pub(crate) counts: Pair<Trials>,
    /// Requests of that time that had no answer at that age.
    #[serde(default)]
    pub(crate) unanswered: Pair<u64>,
    /// When the step's weight was set, on the rollout's clock.
    #[serde(default)]
    pub(crate) began: Duration,
    /// Whether what is counted at the age was assigned in this step: from `outcome_age` after its start.
    #[serde(default)]
    pub(crate) counting: bool,
    /// A person said to hold.
    pub(crate) stopped: bool,
    /// The pause's timeout passed.
    pub(crate) timed_out: bool,
}

impl StepProgress {
    /// A step before anything happened in it, whose weight is set at `began`.
    pub(crate) fn new(step: usize, began: Duration) -> Self {
        Self { step, began, ..Self::default() }
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
