//! The guard at work: feeds each outcome into the score that all workers share, and trips.

use std::cell::{Cell, RefCell};

use canary_dataplane::clients::RecentFailures;
use canary_dataplane::control::Control;
use canary_dataplane::exchange::{Compared, Outcome, Unit};
use canary_dataplane::guard::{Guard, GuardEvent};
use canary_model::config::Rollout;
use canary_model::role::Role;
use canary_model::weight::Weight;
use log::warn;

use crate::shared::Record;

/// How many outcomes are kept that could not be stored: far more than one tick brings.
const MAX_PENDING: usize = 4_096;

/// One rollout's guard in one VM.
pub(crate) struct Watch {
    score: Record<Guard>,
    recent: Record<RecentFailures>,
    /// Outcomes that are not in the shared score yet, in their order.
    pending: RefCell<Vec<GuardEvent>>,
    /// Stable successes since the score was last written: they only count, so they may come late.
    stable_successes: Cell<u64>,
}

impl Watch {
    /// The guard of a rollout, which goes on with the score that the workers share.
    pub(crate) fn new(rollout: &Rollout, control: &Control) -> Self {
        let watch = Self {
            score: Record::guard(&rollout.name),
            recent: Record::recent(&rollout.name),
            pending: RefCell::default(),
            stable_successes: Cell::new(0),
        };
        watch.score.create(|| Guard::new(control.epoch_turn()));
        if rollout.keyed() {
            watch.recent.create(RecentFailures::default);
        }
        watch
    }

    /// Takes a finished request. True: the score says that the guard trips.
    pub(crate) fn observe(
        &self,
        compared: &Compared,
        now_ns: u64,
        control: &Control,
        weight: Weight,
    ) -> bool {
        let Some(event) = self.event(compared, now_ns) else {
            return false;
        };
        if let GuardEvent::StableSuccesses(count) = event {
            self.stable_successes.set(self.stable_successes.get() + count);
            return false;
        }
        self.apply(Some(event), control, weight)
    }

    /// Brings what has gathered since the last tick into the shared score.
    pub(crate) fn flush(&self, control: &Control, weight: Weight) -> bool {
        if self.stable_successes.get() == 0 && self.pending.borrow().is_empty() {
            return false;
        }
        self.apply(None, control, weight)
    }

    /// What a finished request is to the guard. A keyed client's failures within ten seconds of one
    /// that counted are nothing, and neither is a request whose client left.
    fn event(&self, compared: &Compared, now_ns: u64) -> Option<GuardEvent> {
        let key = match compared.unit {
            Unit::Client { key, .. } => key,
            Unit::Request => None,
        };
        let counts = |client| match client {
            Some(client) => self
                .recent
                .update(|recent| recent.counts(client, now_ns))
                .is_none_or(|(_, counts)| counts),
            None => true,
        };
        match (compared.role, compared.outcome) {
            (_, Outcome::Unanswered) => None,
            (Role::Stable, Outcome::Success) => Some(GuardEvent::StableSuccesses(1)),
            (Role::Canary, Outcome::Success) => Some(GuardEvent::CanarySuccess),
            (Role::Stable, Outcome::Failure) => counts(key).then_some(GuardEvent::StableFailure),
            (Role::Canary, Outcome::Failure) => {
                counts(key).then_some(GuardEvent::CanaryFailure(key))
            }
        }
    }

    fn apply(&self, event: Option<GuardEvent>, control: &Control, weight: Weight) -> bool {
        let mut pending = self.pending.borrow_mut();
        if pending.len() < MAX_PENDING {
            // Whatever is written takes them along, so that stable's failure share isn't overrated.
            pending.push(GuardEvent::StableSuccesses(self.stable_successes.take()));
            pending.extend(event);
        }
        let epoch_turn = control.epoch_turn();
        let Some((_, trips)) =
            self.score.update(|score| score.observe(epoch_turn, weight, &pending))
        else {
            return false;
        };
        pending.clear();
        trips
    }

    /// Says in one line what made the guard trip.
    pub(crate) fn report(&self, rollout: &Rollout, weight: Weight) {
        let Some(score) = self.score.read() else {
            return;
        };
        let (canary, stable) = (score.counts(Role::Canary), score.counts(Role::Stable));
        warn!(
            "canary: guard tripped for rollout {}: canary {} failed {} of {} requests, stable {} failed {} of {}, \
             at a weight of {weight} %; everything goes to stable until canary.{}.epoch changes",
            rollout.name,
            rollout.canary.version,
            canary.failure,
            canary.total,
            rollout.stable.version,
            stable.failure,
            stable.total,
            rollout.name,
        );
    }
}
