//! The guard: a tripwire in the proxy for a canary that fails catastrophically compared with stable.
//!
//! It keeps one integer score, in thousandths of a nat, for the whole process. Each canary outcome and
//! each stable failure adds the logarithm of a likelihood ratio between "the canary fails half of its
//! requests and stable `q0` of them" and "both fail alike". The score never falls below zero, and the
//! guard trips at a threshold. If both versions fail alike, however often and however that changes,
//! each factor's mean is at most one (the 2×2 e-variable of Turner, Ly and Grünwald 2024), and the
//! score is below the e-detector of Shin, Ramdas and Rinaldo (2022). So a million requests trip it
//! falsely with a probability of at most two in a million. It starts half way up (Lucas and Crosier
//! 1982: a head start), because a new version is most suspect when it is new.
//!
//! Three things void that: a canary whose true share is above the weight used here (hence the larger
//! of nominal and 1.1 times measured), one client whose failures count many times (hence ten seconds
//! without counting), and traffic that differs between the versions for another reason.

use serde::{Deserialize, Serialize};

use crate::clients::is_newer;
use crate::cohort::KeyHash;
use crate::deadlines::Deadline;
use crate::outcome::{Outcome, RequestResult, ResponseFault};
use crate::shared::SharedRecord;
use canary_model::role::Role;
use canary_model::weight::Weight;

/// The assumed failure share of a broken canary.
const Q1: f64 = 0.5;
/// The smallest and the largest failure share that is granted to stable.
const Q0: (f64, f64) = (0.01, 0.25);
/// The score at which the guard trips, in thousandths of a nat: ln(10⁶ requests ÷ 10⁻⁶), rounded up.
pub const THRESHOLD: i64 = 27_632;
/// The score at which a new epoch begins: ln(1 ÷ 10⁻⁶), rounded up, below the threshold.
pub const HEAD_START: i64 = THRESHOLD - 13_816;
/// From this many requests of the epoch on, the measured share counts as well.
const MEASURED_FROM: u64 = 1_000;
/// The run that trips must contain failures of this many clients.
const CLIENTS: usize = 3;

/// The score of one rollout, as all workers share it: it survives a pushed configuration and a VM's
/// death, and starts again in a new epoch or when Envoy restarts. Any worker writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    epoch: u32,
    score: i64,
    /// Canary clients with a failure in the run, that is, since the score was last zero. At most three
    /// are kept.
    run: Vec<u64>,
    stable: GuardCounts,
    canary: GuardCounts,
}

/// One role's requests in the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardCounts {
    /// Requests that are over.
    pub total: u64,
    /// Failed ones, each client at most once in ten seconds.
    pub failure: u64,
}

/// What one or more finished requests are to the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardEvent {
    /// A canary request succeeded.
    CanarySuccess,
    /// A canary request failed; one without a key is a client of its own.
    CanaryFailure(Option<KeyHash>),
    /// A stable request failed.
    StableFailure,
    /// This many stable requests succeeded. They only count toward the shares, so they may come late.
    StableSuccesses(u64),
}

impl GuardEvent {
    /// What a finished request is to the guard; `None` if it isn't compared, its client left, or it
    /// stalled, which a client that stops reading looks like.
    pub fn from_outcome(outcome: &Outcome) -> Option<Self> {
        let Outcome::Compared(request) = outcome else {
            return None;
        };
        Some(match (request.role, request.result) {
            (_, RequestResult::Abandoned) => return None,
            _ if request.fault == Some(ResponseFault::Overdue(Deadline::Idle)) => return None,
            (Role::Stable, RequestResult::Success) => Self::StableSuccesses(1),
            (Role::Canary, RequestResult::Success) => Self::CanarySuccess,
            (Role::Stable, RequestResult::Failure) => Self::StableFailure,
            (Role::Canary, RequestResult::Failure) => Self::CanaryFailure(request.unit.key()),
        })
    }

    /// Whether it is a failure, of which each client's counts at most once in ten seconds.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::StableFailure | Self::CanaryFailure(_))
    }
}

/// What each outcome adds to the score, in thousandths of a nat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// A canary failure; positive.
    pub canary_failure: i64,
    /// A canary success; negative.
    pub canary_success: i64,
    /// A stable failure; negative. A stable success adds nothing: with the positive step that theory
    /// has for it, healthy traffic alone would drive the score up if the canary gets less than its
    /// nominal share.
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
    /// The shared record of a rollout.
    pub fn record(rollout: &str) -> SharedRecord<Self> {
        SharedRecord::new("guard", rollout)
    }

    /// The guard at the beginning of an epoch.
    pub fn new(epoch: u32) -> Self {
        let (stable, canary) = (GuardCounts::default(), GuardCounts::default());
        Self { epoch, score: HEAD_START, run: Vec::new(), stable, canary }
    }

    /// Takes events in order, under a weight, and returns whether the guard trips. An epoch newer than
    /// the score's starts a new score; events of an older epoch are dropped. At weight 0 there is
    /// nothing left to guard, and requests still in flight were assigned under another weight.
    pub fn observe(&mut self, epoch: u32, weight: Weight, events: &[GuardEvent]) -> bool {
        if is_newer(epoch, self.epoch) {
            *self = Self::new(epoch);
        }
        if epoch != self.epoch || weight == Weight::ZERO {
            return false;
        }
        for event in events {
            self.step(self.steps(weight), *event);
        }
        self.trips()
    }

    /// Both roles' counts in the epoch, for the log.
    pub fn counts(&self, role: Role) -> GuardCounts {
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
        // A request without a key gets its number as a client, because no two have the same.
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

impl GuardCounts {
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
