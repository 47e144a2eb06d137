//! What is in force for one rollout: the record that all workers share.
//!
//! The leading poller writes into it what Envoy's runtime says, and the guard writes its trip into it.
//! Every worker reads it on each tick, and again before it sends a request to the canary. Times are
//! nanoseconds of one process-wide monotonic clock, so that setting the host's clock can't stretch a
//! lease.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

use canary_model::config::Rollout;
use canary_model::role::Role;
use canary_model::runtime::{self, Reading, RolloutRuntime, Setting, ValueError, WeightValue};
use canary_model::weight::Weight;

use crate::shared::{RecordError, SharedRecord};

/// The shared record of one rollout.
///
/// It lives in Envoy's shared data: it survives a pushed configuration and a VM's death, but not a
/// restart of Envoy. [`Control::apply`] (the leader, on each read of the runtime) and
/// [`Control::trip`] (any worker's guard) write it, always by compare-and-set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// The runtime's weight; `None` means that the configuration's weight holds.
    weight: Option<RuntimeWeight>,
    lease: Option<RunningLease>,
    epoch: Generation,
    window: Generation,
    /// The generation of the epoch in which the guard tripped.
    tripped: Option<u32>,
    /// When anything that decides about the weight last changed.
    changed_ns: u64,
    /// The last unreadable text by key (weight, lease, epoch, window, stable_version, canary_version,
    /// enabled), as a hash.
    unreadable: [Option<u64>; 7],
    /// The runtime's version labels of stable and canary, as `<configured>=<version>`.
    labels: [Option<String>; 2],
    /// The weight that was last noted as in force, in parts per million, and how often it has changed.
    noted: (Option<u32>, u32),
}

/// A weight of the runtime, in parts per million, and the canary version that it is meant for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RuntimeWeight {
    ppm: u32,
    version: Option<String>,
}

/// A lease: the text that granted it, as a hash, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RunningLease {
    granted_by: u64,
    ends_ns: u64,
}

/// A generation number read from the runtime. Any change, including appearing or disappearing,
/// starts a new generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Generation {
    /// The number in the runtime.
    value: Option<u64>,
    /// How often it has changed; wraps.
    count: u32,
}

/// The weight in force, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The share of eligible requests.
    pub weight: Weight,
    /// What decided, by precedence.
    pub reason: WeightReason,
}

/// What decides the weight in force, in the order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightReason {
    /// The shared record is missing or unreadable: zero, because a rollback may be in it.
    NoRecord(RecordError),
    /// The guard has tripped in this epoch: zero.
    GuardTripped,
    /// The lease wasn't renewed in time: zero.
    LeaseExpired,
    /// The runtime's weight is meant for another version of the canary: zero.
    Version,
    /// The weight that the runtime sets.
    Runtime,
    /// The weight that the configuration sets.
    Config,
}

/// A runtime value that can't be read; the last good one stays in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableValue {
    /// Which of the rollout's keys.
    pub setting: Setting,
    /// The text found there.
    pub found: String,
    /// Why it can't be read, and what was expected.
    pub error: ValueError,
}

/// The weight in force by a record that was just read; zero if it can't be read.
pub fn weight_in_force(
    record: Result<&Control, RecordError>,
    rollout: &Rollout,
    now_ns: u64,
) -> InForce {
    match record {
        Ok(control) => control.in_force(rollout, now_ns),
        Err(error) => InForce { weight: Weight::ZERO, reason: WeightReason::NoRecord(error) },
    }
}

impl Control {
    /// The shared record of a rollout.
    pub fn record(rollout: &str) -> SharedRecord<Self> {
        SharedRecord::new("control", rollout)
    }

    /// The weight in force at a moment. Precedence: guard trip, expired lease, the runtime's weight
    /// (zero if it is for another version than the canary runs), the configuration's weight.
    pub fn in_force(&self, rollout: &Rollout, now_ns: u64) -> InForce {
        let zero = |reason| InForce { weight: Weight::ZERO, reason };
        if self.guard_tripped() {
            return zero(WeightReason::GuardTripped);
        }
        if self.lease_expired(now_ns) {
            return zero(WeightReason::LeaseExpired);
        }
        let Some(set) = &self.weight else {
            return InForce { weight: rollout.weight, reason: WeightReason::Config };
        };
        let canary = self.version(rollout, Role::Canary);
        if set.version.as_ref().is_some_and(|version| version != canary) {
            return zero(WeightReason::Version);
        }
        // Only valid weights are stored.
        let weight = Weight::from_ppm(set.ppm).unwrap_or(Weight::ZERO);
        InForce { weight, reason: WeightReason::Runtime }
    }

    /// The version that a role of this rollout runs: the runtime's label if it was set for the
    /// configured version, otherwise the configured one. It is the same for a rollout that is
    /// [labeled](Rollout::labeled) with it already.
    pub fn version<'a>(&'a self, rollout: &'a Rollout, role: Role) -> &'a str {
        let configured = rollout.backend(role).version.as_str();
        let [stable, canary] = &self.labels;
        let label = if role == Role::Stable { stable } else { canary };
        let ours = label.as_deref().and_then(|label| label.strip_prefix(configured));
        ours.and_then(|rest| rest.strip_prefix('=')).unwrap_or(configured)
    }

    /// The generation of the weight in force: times and signals compare only requests that begin and
    /// end under the same one (STATISTICS 2d). Another weight in force starts a new one, even if the
    /// old weight returns. A weight that [`note_weight`](Self::note_weight) hasn't noted yet has the
    /// next generation.
    pub fn weight_generation(&self, rollout: &Rollout, now_ns: u64) -> u32 {
        let (noted, count) = self.noted;
        let in_force = Some(self.in_force(rollout, now_ns).weight.ppm());
        if noted == in_force { count } else { count.wrapping_add(1) }
    }

    /// Whether the weight in force was noted.
    pub(crate) fn weight_is_noted(&self, rollout: &Rollout, now_ns: u64) -> bool {
        self.weight_generation(rollout, now_ns) == self.noted.1
    }

    /// Notes the weight in force, so that the next change starts another generation.
    pub fn note_weight(&mut self, rollout: &Rollout, now_ns: u64) {
        let count = self.weight_generation(rollout, now_ns);
        self.noted = (Some(self.in_force(rollout, now_ns).weight.ppm()), count);
    }

    /// The weight to show as in force, given the one `shown` so far. A lower weight is shown at once,
    /// because this record confirms every request to the canary. A higher one is shown when each
    /// worker has had one and a half of its ticks (`tick_ns`) to read it. So the gauge never claims
    /// more than every worker does.
    pub fn weight_to_show(
        &self,
        rollout: &Rollout,
        shown: Weight,
        now_ns: u64,
        tick_ns: u64,
    ) -> Weight {
        let weight = self.in_force(rollout, now_ns).weight;
        let known_everywhere = now_ns.saturating_sub(self.changed_ns) >= tick_ns + tick_ns / 2;
        if known_everywhere { weight } else { weight.min(shown) }
    }

    /// The canary version that the runtime's weight is meant for, if it names one.
    pub fn weight_version(&self) -> Option<&str> {
        self.weight.as_ref()?.version.as_deref()
    }

    /// Whether the guard has tripped in the current epoch.
    pub fn guard_tripped(&self) -> bool {
        self.tripped == Some(self.epoch.count)
    }

    /// Whether there is a lease and it has run out.
    pub fn lease_expired(&self, now_ns: u64) -> bool {
        self.lease.is_some_and(|lease| now_ns >= lease.ends_ns)
    }

    /// The epoch's number in the runtime; `None` if no number is set.
    pub fn epoch(&self) -> Option<u64> {
        self.epoch.value
    }

    /// How often the epoch has changed: the generation that the guard's score belongs to.
    pub fn epoch_generation(&self) -> u32 {
        self.epoch.count
    }

    /// How often the window has changed: the generation that the memory of clients belongs to.
    pub fn window_generation(&self) -> u32 {
        self.window.count
    }

    /// Trips the guard for an epoch; `false` if it was tripped already or the epoch has passed.
    pub fn trip(&mut self, epoch_generation: u32) -> bool {
        if self.guard_tripped() || self.epoch.count != epoch_generation {
            return false;
        }
        self.tripped = Some(epoch_generation);
        true
    }

    /// Takes over what the runtime says now about this rollout. An unreadable value leaves the last
    /// good one in place and is returned once per change.
    pub fn apply(
        &mut self,
        runtime: &RolloutRuntime,
        rollout: &Rollout,
        now_ns: u64,
    ) -> Vec<UnreadableValue> {
        let mut faults = Vec::new();
        let before = (self.weight.clone(), self.lease, self.epoch, self.labels.clone());
        self.note_weight(rollout, now_ns);
        let [weight, lease, epoch, window, stable, canary, enabled] = &mut self.unreadable;
        if let Some(value) = accept(&runtime.weight, Setting::Weight, weight, &mut faults) {
            self.weight = value.map(RuntimeWeight::from_value);
        }
        if let Some(value) = accept(&runtime.lease, Setting::Lease, lease, &mut faults) {
            self.lease = value.map(|value| RunningLease::renewed(self.lease, value, now_ns));
        }
        if let Some(value) = accept(&runtime.epoch, Setting::Epoch, epoch, &mut faults) {
            self.epoch.set(value.copied());
        }
        if let Some(value) = accept(&runtime.window, Setting::Window, window, &mut faults) {
            self.window.set(value.copied());
        }
        let [stable_label, canary_label] = &mut self.labels;
        for (reading, setting, last_fault, label) in [
            (&runtime.stable_version, Setting::StableVersion, stable, stable_label),
            (&runtime.canary_version, Setting::CanaryVersion, canary, canary_label),
        ] {
            if let Some(value) = accept(reading, setting, last_fault, &mut faults) {
                *label = value.map(ToString::to_string);
            }
        }
        // Envoy itself obeys the kill switch; the filter only reports a value that can't be read.
        let _ = accept(&runtime.enabled, Setting::Enabled, enabled, &mut faults);
        if before != (self.weight.clone(), self.lease, self.epoch, self.labels.clone()) {
            self.changed_ns = now_ns;
        }
        self.note_weight(rollout, now_ns);
        faults
    }
}

/// A readable value (`Some(None)` if none is set), or `None` if the last good one stays.
fn accept<'a, T>(
    reading: &'a Reading<T>,
    setting: Setting,
    last_fault: &mut Option<u64>,
    faults: &mut Vec<UnreadableValue>,
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
        faults.push(UnreadableValue { setting, found: found.clone(), error });
    }
    None
}

impl RuntimeWeight {
    fn from_value(value: &WeightValue) -> Self {
        Self { ppm: value.weight.ppm(), version: value.version.clone() }
    }
}

impl RunningLease {
    /// The lease that a text grants: the running one if it is the same text, else a new one.
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
            *self = Self { value, count: self.count.wrapping_add(1) };
        }
    }
}

#[cfg(test)]
mod tests;
