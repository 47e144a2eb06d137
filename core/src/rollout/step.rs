//! One step of the controller: what was seen goes in, what to do comes out. Pure and total.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::event::{Event, Reply};
use super::seen::Seen;
use super::spec::Spec;
use super::state::State;
use super::waits::Waits;
use crate::judge::observation::Observation;
use crate::judge::verdict::Verdict;

/// The host's clocks at a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Now {
    /// A clock that nobody sets, in time since any moment; best the same for all processes since the
    /// host's start (`CLOCK_BOOTTIME`). Backwards, it counts as no time.
    pub monotonic: Duration,
    /// Seconds since 1970. Nothing but an epoch's number is made of it.
    pub unix: u64,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Stepped {
    /// The new state.
    pub state: State,
    /// What to do, in order, after all of this is journaled.
    pub actions: Vec<Action>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What became of the commands, in their order.
    pub replies: Vec<Reply>,
    /// The line as it was judged, with its time, weight and window; `None` where there was none.
    pub line: Option<Observation>,
    /// Every metric's verdict on that line, in the file's order; empty where there was none.
    pub verdicts: Vec<Verdict>,
    /// What the rollout waits for now.
    pub waits: Waits,
}

/// Takes a rollout one step further. To be called every second or so, at least every third of the
/// lease, for as long as [`State::is_over`] says no.
pub fn step(spec: &Spec, state: State, seen: Seen, now: Now) -> Stepped {
    // The types come first, so that the shell can be built around them.
    let _ = (spec, seen, now);
    Stepped {
        state,
        actions: Vec::new(),
        events: Vec::new(),
        replies: Vec::new(),
        line: None,
        verdicts: Vec::new(),
        waits: Waits::default(),
    }
}
