//! How far the step has come.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::judge::counts::{Pair, Trials};

/// The step and its pauses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The step's index.
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
    /// A person said to go on: no more pauses.
    pub(crate) promoted: bool,
    /// A person said to hold.
    pub(crate) stopped: bool,
    /// The pause's timeout passed.
    pub(crate) timed_out: bool,
}
