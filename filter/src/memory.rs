//! Who was seen and who failed in this window: what makes the client the unit of counting.

use std::cell::RefCell;

use canary_core::{
    assign::Assignment,
    clients::ClientSet,
    cohort::KeyHash,
    config::Rollout,
    control::Control,
    exchange::{Compared, Outcome, Unit},
};

use crate::shared::Record;

/// One rollout's memory of clients in one VM; empty in a rollout without affinity.
pub(crate) struct Memory {
    keyed: Option<Keyed>,
}

struct Keyed {
    /// Clients that this VM has seen. Each VM counts a client once, which errs on the side of waiting.
    seen: RefCell<ClientSet>,
    /// Clients that this VM knows to have failed: it need not ask again.
    known_failed: RefCell<ClientSet>,
    /// Clients that have failed, process-wide.
    failed: Record<ClientSet>,
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
            Keyed { seen: RefCell::default(), known_failed: RefCell::default(), failed }
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
        let insert = |client| keyed.seen.borrow_mut().insert(window_turn, client);
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

impl Keyed {
    fn newly_failed(&self, window_turn: u32, client: KeyHash) -> bool {
        if !self.known_failed.borrow_mut().insert(window_turn, client) {
            return false;
        }
        // What can't be stored counts: rather twice, by two workers, than never.
        self.failed.update(|failed| failed.insert(window_turn, client)).is_none_or(|(_, new)| new)
    }
}
