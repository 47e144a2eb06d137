//! Who was seen and who failed in this window: what makes the client the unit of counting.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use canary_dataplane::assign::Assignment;
use canary_dataplane::clients::ClientSet;
use canary_dataplane::cohort::KeyHash;
use canary_dataplane::control::Control;
use canary_dataplane::exchange::{Compared, Outcome, Unit};
use canary_model::config::Rollout;

use crate::shared::Record;

thread_local! {
    /// What this VM remembers, by rollout, as long as a plugin has it: a pushed configuration knows
    /// whom the one before has seen.
    static REMEMBERED: RefCell<Vec<(String, Weak<Local>)>> = const { RefCell::new(Vec::new()) };
}

/// One rollout's memory of clients in one VM; empty in a rollout without affinity.
pub(crate) struct Memory {
    keyed: Option<Keyed>,
}

struct Keyed {
    local: Rc<Local>,
    /// Clients that have failed, process-wide.
    failed: Record<ClientSet>,
}

/// What one VM remembers of a rollout's clients.
#[derive(Default)]
struct Local {
    /// Clients that were seen. Each VM counts a client once, which errs on the side of waiting.
    seen: RefCell<ClientSet>,
    /// Clients that are known to have failed: the VM need not ask again.
    known_failed: RefCell<ClientSet>,
}

/// What a finished request adds to the units of counting.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Units {
    /// A client's first request in the window.
    pub(crate) first: bool,
    /// A client's first failure in the window.
    pub(crate) newly_failed: bool,
}

impl Memory {
    /// The memory of a rollout.
    pub(crate) fn new(rollout: &Rollout) -> Self {
        let keyed = rollout.keyed().then(|| {
            let failed = Record::failed(&rollout.name);
            failed.create(ClientSet::default);
            Keyed { local: Local::of(&rollout.name), failed }
        });
        Self { keyed }
    }

    /// What a request that begins now counts as. A client's first request is the first that it
    /// sends, not the first that is answered: fast answers must not be picked.
    pub(crate) fn unit(&self, assignment: &Assignment, control: &Control) -> Unit {
        let Some(keyed) = &self.keyed else {
            return Unit::Request;
        };
        let (key, window_turn) = (assignment.client, control.window_turn());
        let insert = |client| keyed.local.seen.borrow_mut().insert(window_turn, client);
        let first = !assignment.forced() && key.is_none_or(insert);
        Unit::Client { key, first, window_turn }
    }

    /// What a finished request adds. One that was sent in another window than the present adds
    /// nothing.
    pub(crate) fn units(&self, compared: &Compared, control: &Control) -> Option<Units> {
        let keyed = self.keyed.as_ref()?;
        let Unit::Client { key, first, window_turn } = compared.unit else {
            return None;
        };
        if window_turn != control.window_turn() {
            return Some(Units::default());
        }
        let failed = compared.outcome == Outcome::Failure;
        let newly_failed =
            failed && key.is_none_or(|client| keyed.newly_failed(window_turn, client));
        Some(Units { first, newly_failed })
    }
}

impl Local {
    fn of(rollout: &str) -> Rc<Self> {
        REMEMBERED.with_borrow_mut(|remembered| {
            remembered.retain(|(_, local)| local.strong_count() > 0);
            let known = remembered.iter().find(|(name, _)| name == rollout);
            known.and_then(|(_, local)| local.upgrade()).unwrap_or_else(|| {
                let local = Rc::new(Self::default());
                remembered.push((rollout.to_owned(), Rc::downgrade(&local)));
                local
            })
        })
    }
}

impl Keyed {
    fn newly_failed(&self, window_turn: u32, client: KeyHash) -> bool {
        if !self.local.known_failed.borrow_mut().insert(window_turn, client) {
            return false;
        }
        // What can't be stored counts: rather twice, by two workers, than never.
        self.failed.update(|failed| failed.insert(window_turn, client)).is_none_or(|(_, new)| new)
    }
}
