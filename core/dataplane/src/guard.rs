//! The guard: a tripwire in the proxy for a canary that fails catastrophically against stable.
//!
//! One integer score, in thousandths of a nat, for the whole process. Each canary outcome and each
//! stable failure adds the logarithm of a likelihood ratio between "the canary fails half of its
//! requests and stable `q0` of them" and "both fail alike"; the score never falls below zero and the
//! guard trips at a threshold. Where both versions fail alike, however often and however that moves,
//! each factor's mean is at most one (the 2×2 e-variable of Turner, Ly and Grünwald 2024), the score is below the
//! e-detector of Shin, Ramdas and Rinaldo (2022), and so a million requests trip it falsely with a
//! probability of at most two in a million. It begins half way up (Lucas and Crosier 1982: a head
//! start), since a new version is at its most suspect when it is new.
//!
//! What voids that: a canary whose true share is above the weight used here (hence the larger of
//! nominal and 1.1 times measured), one client whose failures count many times (hence ten seconds'
//! quiet), or traffic that differs between the versions for another reason.

use serde::{Deserialize, Serialize};

use crate::clients::is_newer;
use crate::cohort::KeyHash;
use canary_model::role::Role;
use canary_model::weight::Weight;

/// The assumed failure share of a broken canary.
const Q1: f64 = 0.5;
/// The least and the largest failure share that is granted to stable.
const Q0: (f64, f64) = (0.01, 0.25);
/// Where the guard trips, in thousandths of a nat: ln(10⁶ requests ÷ 10⁻⁶), rounded up.
pub const THRESHOLD: i64 = 27_632;
/// Where a new epoch begins: ln(1 ÷ 10⁻⁶), rounded up, below the threshold.
pub const HEAD_START: i64 = THRESHOLD - 13_816;
/// From so many requests of the epoch on, the measured share counts, too.
const MEASURED_FROM: u64 = 1_000;
/// Failures of so many clients must be in the run that trips.
const CLIENTS: usize = 3;

/// The score of one rollout, as all workers share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    epoch_turn: u32,
    score: i64,
    /// Canary clients with a failure in the run, that is since the score was last zero; three suffice.
    run: Vec<u64>,
    stable: Counts,
    canary: Counts,
}

/// What was seen of one role in the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Finished requests.
    pub total: u64,
    /// Those that failed, each client at most once in ten seconds.
    pub failure: u64,
}

/// Something that the guard must know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardEvent {
    /// A canary request succeeded.
    CanarySuccess,
    /// A canary request failed; without a key each is a client of its own.
    CanaryFailure(Option<KeyHash>),
    /// A stable request failed.
    StableFailure,
    /// So many stable requests succeeded. They only count towards the shares, so they may come late.
    StableSuccesses(u64),
}

/// What each outcome adds to the score, in thousandths of a nat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// A canary failure; positive.
    pub canary_failure: i64,
    /// A canary success; negative.
    pub canary_success: i64,
    /// A stable failure; negative. A stable success adds nothing: with the positive step that theory
    /// has for it, healthy traffic alone would drive the score up wherever the canary gets less
    /// than its nominal share.
    pub stable_failure: i64,
}

impl Steps {
    /// The steps for a canary's share of traffic, 0 to 1, and the failure share granted to stable.
    /// Rounded down, which errs on the side of not tripping.
    pub fn new(share: f64, q0: f64) -> Self {
        let p0 = share * Q1 + (1.0 - share) * q0;
        let step = |ratio: f64| (1000.0 * libm::log(ratio)).floor() as i64;
        Self {
            canary_failure: step(Q1 / p0),
            canary_success: step((1.0 - Q1) / (1.0 - p0)),
            stable_failure: step(q0 / p0),
        }
    }
}

impl Guard {
    /// The guard at the beginning of an epoch.
    pub fn new(epoch_turn: u32) -> Self {
        let (stable, canary) = (Counts::default(), Counts::default());
        Self { epoch_turn, score: HEAD_START, run: Vec::new(), stable, canary }
    }

    /// Takes events in their order under a weight, and says whether the guard trips. An epoch that
    /// is newer than the score's begins anew; events of an older one are dropped. At weight 0
    /// nothing is left to guard, and what is still in flight was decided under another weight.
    pub fn observe(&mut self, epoch_turn: u32, weight: Weight, events: &[GuardEvent]) -> bool {
        if is_newer(epoch_turn, self.epoch_turn) {
            *self = Self::new(epoch_turn);
        }
        if epoch_turn != self.epoch_turn || weight == Weight::ZERO {
            return false;
        }
        for event in events {
            self.step(self.steps(weight), *event);
        }
        self.trips()
    }

    /// Both roles' counts in the epoch, for the log.
    pub fn counts(&self, role: Role) -> Counts {
        match role {
            Role::Stable => self.stable,
            Role::Canary => self.canary,
        }
    }

    fn trips(&self) -> bool {
        self.score >= THRESHOLD && self.run.len() >= CLIENTS
    }

    fn step(&mut self, steps: Steps, event: GuardEvent) {
        let step = match event {
            GuardEvent::StableSuccesses(count) => {
                self.stable.total += count;
                return;
            }
            GuardEvent::StableFailure => {
                self.stable.add(true);
                steps.stable_failure
            }
            GuardEvent::CanarySuccess => {
                self.canary.add(false);
                steps.canary_success
            }
            GuardEvent::CanaryFailure(client) => {
                self.canary.add(true);
                self.remember(client);
                steps.canary_failure
            }
        };
        self.score = (self.score + step).max(0);
        if self.score == 0 {
            self.run.clear();
        }
    }

    fn remember(&mut self, client: Option<KeyHash>) {
        // A request without a key is told from all others by its number, which no two have.
        let client = client.map_or(self.canary.failure, KeyHash::value);
        if self.run.len() < CLIENTS && !self.run.contains(&client) {
            self.run.push(client);
        }
    }

    fn steps(&self, weight: Weight) -> Steps {
        let (stable, canary) = (self.stable, self.canary);
        let q0 = 2.0 * share(stable.failure, stable.total);
        let seen = stable.total + canary.total;
        let measured = if seen < MEASURED_FROM { 0.0 } else { 1.1 * share(canary.total, seen) };
        let share = weight.fraction().max(measured).min(1.0);
        Steps::new(share, q0.clamp(Q0.0, Q0.1))
    }
}

impl Counts {
    fn add(&mut self, failed: bool) {
        self.total += 1;
        self.failure += u64::from(failed);
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests;
