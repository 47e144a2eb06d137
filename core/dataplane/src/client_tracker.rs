//! Which clients were observed in this window: times and signals of a sticky rollout are tested on each
//! client's first observation.
//!
//! How many clients there are, and how many of them fail, is counted by
//! [`judged_counters`](crate::judged_counters).

use std::cell::RefCell;
use std::rc::Rc;

use crate::assign::Assignment;
use crate::clients::SeenClients;
use crate::control::Control;
use crate::outcome::{CountingUnit, Outcome, RequestResult};

/// One rollout's memory of clients in one VM, which passes on to the next configuration's worker;
/// empty in a rollout without affinity.
#[derive(Debug)]
pub(crate) struct ClientTracker(Option<Rc<RefCell<SeenClients>>>);

impl ClientTracker {
    /// The memory of a rollout's clients: those that this VM has seen, in a sticky rollout.
    pub(crate) fn new(seen: Option<Rc<RefCell<SeenClients>>>) -> Self {
        Self(seen)
    }

    /// What a request that begins now counts as. A client's first request is the first that it sends,
    /// not the first that is answered; otherwise, fast responses would be preferred.
    pub(crate) fn unit(&self, assignment: &Assignment, control: &Control) -> CountingUnit {
        let Some(seen) = &self.0 else {
            return CountingUnit::Request;
        };
        let (key, window) = (assignment.client(), control.window_generation());
        let insert = |client| seen.borrow_mut().observed.insert(window, client);
        let first = !assignment.is_override() && key.is_none_or(insert);
        CountingUnit::Client { key, first, window }
    }

    /// Whether a finished request is its client's first observation in the present window. A request
    /// that was abandoned or diverted is no observation: the client's next request is its first.
    pub(crate) fn is_first(&self, outcome: &Outcome, control: &Control) -> bool {
        let (unit, result) = match outcome {
            Outcome::Overridden(_) => return false,
            Outcome::Diverted(unit) => (unit, RequestResult::Abandoned),
            Outcome::Compared(request) => (&request.unit, request.result),
        };
        let CountingUnit::Client { key, first: true, window } = *unit else {
            return false;
        };
        if result == RequestResult::Abandoned {
            if let (Some(seen), Some(client)) = (&self.0, key) {
                seen.borrow_mut().observed.remove(window, client);
            }
            return false;
        }
        window == control.window_generation()
    }
}
