//! Which clients were counted and which failed in this window: this makes the client the unit of
//! counting in a sticky rollout.

use std::cell::RefCell;
use std::rc::Rc;

use crate::assign::Assignment;
use crate::clients::ClientSet;
use crate::cohort::KeyHash;
use crate::control::Control;
use crate::host::Host;
use crate::outcome::{CountingUnit, Outcome, RequestResult};
use crate::shared::SharedRecord;
use crate::vm::{SeenClients, Vm};
use canary_model::config::Rollout;

/// One rollout's memory of clients in one VM; empty in a rollout without affinity.
#[derive(Debug)]
pub(crate) struct ClientTracker(Option<StickyClients>);

#[derive(Debug)]
struct StickyClients {
    /// This VM's memory, which passes on to the next configuration's worker.
    seen: Rc<RefCell<SeenClients>>,
    /// The clients that failed, for the whole process.
    failed: SharedRecord<ClientSet>,
}

/// What a finished request adds to the client counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientIncrements {
    /// A client that wasn't counted yet in the window.
    pub(crate) new_client: bool,
    /// This request is that client's first observation.
    pub(crate) first: bool,
    /// A client's first failure in the window.
    pub(crate) newly_failed: bool,
}

impl ClientTracker {
    /// The memory of a rollout's clients.
    pub(crate) fn new(rollout: &Rollout, vm: &mut Vm, host: &impl Host) -> Self {
        Self(rollout.sticky().then(|| {
            let failed = ClientSet::failed_record(&rollout.name);
            failed.create(host, ClientSet::default);
            StickyClients { seen: vm.seen_clients(&rollout.name), failed }
        }))
    }

    /// What a request that begins now counts as. A client's first request is the first that it sends,
    /// not the first that is answered; otherwise, fast responses would be preferred.
    pub(crate) fn unit(&self, assignment: &Assignment, control: &Control) -> CountingUnit {
        let Some(sticky) = &self.0 else {
            return CountingUnit::Request;
        };
        let (key, window) = (assignment.client(), control.window_generation());
        let insert = |client| sticky.seen.borrow_mut().counted.insert(window, client);
        let first = !assignment.is_override() && key.is_none_or(insert);
        CountingUnit::Client { key, first, window }
    }

    /// What a finished request adds to the client counters; `None` in a rollout without affinity. A
    /// request that was sent in an earlier window adds nothing.
    ///
    /// A request that was abandoned or diverted is not an observation, so its client stays unseen: the
    /// client's next request is its first. But if another request of the client has failed meanwhile,
    /// the client counts, or there would be more failed clients than clients.
    pub(crate) fn count(
        &self,
        outcome: &Outcome,
        control: &Control,
        host: &impl Host,
    ) -> Option<ClientIncrements> {
        let sticky = self.0.as_ref()?;
        let (unit, result) = match outcome {
            Outcome::Overridden(_) => return None,
            Outcome::Diverted(unit) => (unit, RequestResult::Abandoned),
            Outcome::Compared(request) => (&request.unit, request.result),
        };
        let CountingUnit::Client { key, first, window } = *unit else {
            return None;
        };
        if window != control.window_generation() {
            return Some(ClientIncrements::default());
        }
        Some(match result {
            RequestResult::Abandoned => {
                let new_client = first && key.is_some_and(|client| sticky.forget(window, client));
                ClientIncrements { new_client, ..ClientIncrements::default() }
            }
            RequestResult::Success => {
                ClientIncrements { new_client: first, first, newly_failed: false }
            }
            RequestResult::Failure => {
                let newly_failed =
                    key.is_none_or(|client| sticky.newly_failed(window, client, host));
                ClientIncrements { new_client: first, first, newly_failed }
            }
        })
    }
}

impl StickyClients {
    /// Forgets that a client was seen, unless it has failed. Returns whether it has.
    fn forget(&self, window: u32, client: KeyHash) -> bool {
        let mut seen = self.seen.borrow_mut();
        let has_failed = seen.failed.contains(window, client);
        if !has_failed {
            seen.counted.remove(window, client);
        }
        has_failed
    }

    fn newly_failed(&self, window: u32, client: KeyHash, host: &impl Host) -> bool {
        if !self.seen.borrow_mut().failed.insert(window, client) {
            return false;
        }
        // A failure that can't be stored counts: rather twice, by two workers, than never.
        let stored = self.failed.update(host, |failed| failed.insert(window, client));
        stored.is_none_or(|(_, new)| new)
    }
}
