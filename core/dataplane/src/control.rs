//! What is in force for one rollout: the record that all workers share.
//!
//! The poller's leader writes into it what Envoy's runtime says; the guard writes its trip into it;
//! every worker reads it on each tick, and again before it sends a request to the canary. Times are
//! nanoseconds of one process-wide monotonic clock, so that nobody who sets the host's clock can
//! stretch a lease.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

use canary_model::runtime::{self, Reading, RolloutRuntime, Setting, ValueError};
use canary_model::weight::Weight;

/// The shared record of one rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// The runtime's weight in parts per million; `None`: the configuration's holds.
    weight: Option<u32>,
    lease: Option<Lease>,
    epoch: Generation,
    window: Generation,
    /// The turn of the epoch in which the guard tripped.
    tripped: Option<u32>,
    /// When anything that decides about the weight last changed.
    changed_ns: u64,
    /// What could not be read last, by key (weight, lease, epoch, window, enabled), as a hash.
    unreadable: [Option<u64>; 5],
}

/// A lease: the text that granted it, as a hash, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    granted_by: u64,
    ends_ns: u64,
}

/// A number of the runtime whose every change, coming and going included, begins something new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Generation {
    value: Option<u64>,
    turn: u32,
}

/// The weight that holds, and what makes it hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The share of eligible requests.
    pub weight: Weight,
    /// What decided, by precedence.
    pub why: WeightReason,
}

/// What decides the weight in force, in the order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightReason {
    /// The guard has tripped in this epoch: zero.
    GuardTripped,
    /// The lease was not renewed in time: zero.
    LeaseExpired,
    /// The runtime's weight.
    Runtime,
    /// The configuration's weight.
    Config,
}

/// A runtime value that could not be read; the last good one stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which of the rollout's keys.
    pub setting: Setting,
    /// What was found there.
    pub found: String,
    /// What would have been right.
    pub error: ValueError,
}

impl Control {
    /// The weight in force at a moment: guard trip, expired lease, runtime, configuration.
    pub fn in_force(&self, configured: Weight, now_ns: u64) -> InForce {
        if self.guard_tripped() {
            return InForce { weight: Weight::ZERO, why: WeightReason::GuardTripped };
        }
        if self.lease_expired(now_ns) {
            return InForce { weight: Weight::ZERO, why: WeightReason::LeaseExpired };
        }
        match self.weight.and_then(Weight::from_ppm) {
            Some(weight) => InForce { weight, why: WeightReason::Runtime },
            None => InForce { weight: configured, why: WeightReason::Config },
        }
    }

    /// The weight to show as in force, after `shown` was: a lower one at once, since every request
    /// to the canary is confirmed by this record; a higher one when each worker has had one and a
    /// half of its ticks to read it. So whoever reads the gauge can rely on all workers.
    pub fn to_show(&self, configured: Weight, shown: Weight, now_ns: u64, tick_ns: u64) -> Weight {
        let weight = self.in_force(configured, now_ns).weight;
        let settled = now_ns.saturating_sub(self.changed_ns) >= tick_ns + tick_ns / 2;
        if settled { weight } else { weight.min(shown) }
    }

    /// Whether the guard has tripped in the epoch that holds now.
    pub fn guard_tripped(&self) -> bool {
        self.tripped == Some(self.epoch.turn)
    }

    /// Whether there is a lease and it has run out.
    pub fn lease_expired(&self, now_ns: u64) -> bool {
        self.lease.is_some_and(|lease| now_ns >= lease.ends_ns)
    }

    /// The epoch as the runtime has it.
    pub fn epoch(&self) -> Option<u64> {
        self.epoch.value
    }

    /// How often the epoch has changed: what the guard's score belongs to.
    pub fn epoch_turn(&self) -> u32 {
        self.epoch.turn
    }

    /// How often the window has changed: what the memory of clients belongs to.
    pub fn window_turn(&self) -> u32 {
        self.window.turn
    }

    /// Trips the guard for an epoch; `false` if it was tripped already or the epoch has passed.
    pub fn trip(&mut self, epoch_turn: u32) -> bool {
        if self.guard_tripped() || self.epoch.turn != epoch_turn {
            return false;
        }
        self.tripped = Some(epoch_turn);
        true
    }

    /// Takes over what the runtime says now. What can't be read leaves the last good value in place
    /// and is told once each time it changes.
    pub fn apply(&mut self, runtime: &RolloutRuntime, now_ns: u64) -> Vec<Unreadable> {
        let mut faults = Vec::new();
        let before = (self.weight, self.lease, self.epoch);
        let [weight, lease, epoch, window, enabled] = &mut self.unreadable;
        if let Some(value) = accept(&runtime.weight, Setting::Weight, weight, &mut faults) {
            self.weight = value.map(|value| value.weight.ppm());
        }
        if let Some(value) = accept(&runtime.lease, Setting::Lease, lease, &mut faults) {
            self.lease = value.map(|value| Lease::renewed(self.lease, value, now_ns));
        }
        if let Some(value) = accept(&runtime.epoch, Setting::Epoch, epoch, &mut faults) {
            self.epoch.set(value.copied());
        }
        if let Some(value) = accept(&runtime.window, Setting::Window, window, &mut faults) {
            self.window.set(value.copied());
        }
        // The kill switch is Envoy's to obey; here it is only read for faults.
        let _ = accept(&runtime.enabled, Setting::Enabled, enabled, &mut faults);
        if before != (self.weight, self.lease, self.epoch) {
            self.changed_ns = now_ns;
        }
        faults
    }
}

/// A readable value (`Some(None)`: none is set), or `None` where the last good one stays.
fn accept<'a, T>(
    reading: &'a Reading<T>,
    setting: Setting,
    last_fault: &mut Option<u64>,
    faults: &mut Vec<Unreadable>,
) -> Option<Option<&'a T>> {
    let (found, error) = match reading {
        Reading::Unreadable(found, error) => (found, *error),
        Reading::Absent | Reading::Set(_) => {
            *last_fault = None;
            return Some(reading.value());
        }
    };
    let hash = Some(xxh64(found.as_bytes(), 0));
    if *last_fault != hash {
        *last_fault = hash;
        faults.push(Unreadable { setting, found: found.clone(), error });
    }
    None
}

impl Lease {
    /// The lease that a text grants: the one that runs already if it is the same text, else a new one.
    fn renewed(running: Option<Self>, granted: &runtime::Lease, now_ns: u64) -> Self {
        let granted_by = xxh64(granted.to_string().as_bytes(), 0);
        let length_ns = u64::from(granted.seconds()) * 1_000_000_000;
        match running.filter(|lease| lease.granted_by == granted_by) {
            Some(lease) => lease,
            None => Self { granted_by, ends_ns: now_ns.saturating_add(length_ns) },
        }
    }
}

impl Generation {
    fn set(&mut self, value: Option<u64>) {
        if self.value != value {
            *self = Self { value, turn: self.turn.wrapping_add(1) };
        }
    }
}

#[cfg(test)]
mod tests;
