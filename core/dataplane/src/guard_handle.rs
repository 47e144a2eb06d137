//! One worker's side of the guard: it feeds each outcome into the score that all workers share.

use crate::clients::RecentFailures;
use crate::control::Control;
use crate::guard::{Guard, GuardEvent};
use crate::host::Host;
use crate::outcome::Outcome;
use crate::shared::{LastWrite, SharedRecord};
use canary_model::config::Rollout;
use canary_model::weight::Weight;

/// How many events are kept that could not be stored: far more than one tick brings.
const MAX_PENDING: usize = 4_096;

/// One rollout's guard in one worker.
#[derive(Debug)]
pub(crate) struct GuardHandle {
    score: SharedRecord<Guard>,
    /// The score as this worker wrote it last.
    last: LastWrite<Guard>,
    recent: SharedRecord<RecentFailures>,
    /// Events that are not in the shared score yet, in order.
    pending: Vec<GuardEvent>,
    /// Stable successes since the score was last written. They only count toward the shares, so they
    /// may come late.
    stable_successes: u64,
}

impl GuardHandle {
    /// The guard of a rollout, which continues with the score that the workers share.
    pub(crate) fn new(rollout: &Rollout, control: &Control, host: &impl Host) -> Self {
        let handle = Self {
            score: Guard::record(&rollout.name),
            last: LastWrite::default(),
            recent: RecentFailures::record(&rollout.name),
            pending: Vec::new(),
            stable_successes: 0,
        };
        handle.score.create(host, || Guard::new(control.epoch_generation()));
        if rollout.sticky() {
            handle.recent.create(host, RecentFailures::default);
        }
        handle
    }

    /// Takes a finished request. Returns whether the guard trips.
    pub(crate) fn observe(
        &mut self,
        outcome: &Outcome,
        control: &Control,
        weight: Weight,
        now_ns: u64,
        host: &impl Host,
    ) -> bool {
        let Some(event) = GuardEvent::from_outcome(outcome) else {
            return false;
        };
        if let GuardEvent::StableSuccesses(count) = event {
            self.stable_successes += count;
            return false;
        }
        if event.is_failure() && !self.counts(outcome, now_ns, host) {
            return false;
        }
        self.apply(Some(event), control, weight, host)
    }

    /// Brings the events since the last tick into the shared score. Returns whether the guard trips.
    pub(crate) fn flush(&mut self, control: &Control, weight: Weight, host: &impl Host) -> bool {
        if self.stable_successes == 0 && self.pending.is_empty() {
            return false;
        }
        self.apply(None, control, weight, host)
    }

    /// The shared score, for the log.
    pub(crate) fn score(&self, host: &impl Host) -> Option<Guard> {
        self.score.read(host).ok()
    }

    /// Whether a failure counts: a client's failures within ten seconds of one that counted don't.
    fn counts(&self, outcome: &Outcome, now_ns: u64, host: &impl Host) -> bool {
        let Some(client) = outcome.client() else {
            return true;
        };
        let counted = self.recent.update(host, |recent| recent.counts(client, now_ns));
        counted.is_none_or(|(_, counts)| counts)
    }

    fn apply(
        &mut self,
        event: Option<GuardEvent>,
        control: &Control,
        weight: Weight,
        host: &impl Host,
    ) -> bool {
        if self.pending.len() < MAX_PENDING {
            // Each write takes the successes along; otherwise, stable's failure share is overrated.
            let successes = std::mem::take(&mut self.stable_successes);
            self.pending.push(GuardEvent::StableSuccesses(successes));
            self.pending.extend(event);
        }
        let epoch = control.epoch_generation();
        let pending = &self.pending;
        let observe = |score: &mut Guard| score.observe(epoch, weight, pending);
        let stored = self.score.update_own(host, &mut self.last, observe);
        let Some((_, trips)) = stored else {
            return false;
        };
        self.pending.clear();
        trips
    }
}
