//! Does the canary get the share of traffic that its weight says?
//!
//! **Source.** A mixture of bets on a share of Bernoulli trials (Robbins 1970; the growth per request
//! is the relative entropy, Wald 1945). Each request, or with affinity each client at its first request in
//! the window, goes to the canary with the weight's probability, and is counted at that moment (`assigned`):
//! durations, streams, timeouts and retries behind the filter don't touch the split. H0: the true share is
//! the weight, give or take a hundredth of it, for lines that get lost. Seven odds ratios to either side.
//! Lines without `assigned` don't enter; older filters don't count it.
//!
//! **Without affinity** it is one e-process over the whole epoch, with a start mixture: each block is held
//! against its own weight, so a change of weight starts nothing again. The line in which the weight changed
//! is left out, because the proxies of a fleet follow a fraction of a second apart; so is the first line, in
//! which the first weight was set.
//!
//! **With affinity** each window is a test of its own, with 1/(j(j+1)) of the error and no start mixture.
//! The same clients return in the next window, and at the same weight to the same version, so several
//! windows are one draw that is seen repeatedly: in one e-process over the epoch its chance deviation would
//! add up to a false alarm. What the window before ended with stays until the present one ends. The filter
//! counts a client once per process, however many workers it reaches, so the evidence isn't divided by
//! anything.
//!
//! A mismatch isn't a reason to roll back, it is reported as its own problem: the tests without
//! affinity go by the measured split and stay valid; the non-inferiority test with affinity does not.
//!
//! **What voids it.** Clients that reach several processes in a window and are few (each process counts them
//! once); a weight other than the one in force.

use serde::{Deserialize, Serialize};

use super::blocks::{Block, Change, TickContext, window_share};
use super::counts::{Merge, Pair, Trials};
use super::mixture::Mixture;
use super::numerics::exact;
use super::observation::Observation;
use super::two_by_two::tilt;
use canary_model::weight::Weight;

/// The alternatives: the odds of the canary, in those of the tolerated bound.
const ODDS: [f64; 7] = [1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0];
/// How far the share may lie from the weight, as a part of the weight (above 50 %, of stable's share).
const SLACK: f64 = 0.01;

/// The sample ratio test; all of it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SampleRatio {
    /// ln(1/falseSplit), which the evidence must reach.
    #[serde(with = "exact")]
    log_limit: f64,
    mixture: Mixture<14>,
    block: Block<Pair<u64>>,
    /// The weight in force, in parts per million; `None` before the first line.
    weight_ppm: Option<u32>,
    /// What was compared at that weight, for people.
    counts: Trials,
    /// The window's number, in rollouts with affinity.
    window: Option<u64>,
    /// Whether the window before ended with a mismatch.
    mismatch_before: bool,
}

/// What the split check says.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct SampleRatioVerdict {
    /// Whether the measured share contradicts the weight.
    pub mismatch: bool,
    /// The weight as a fraction.
    pub weight: f64,
    /// The canary's measured share of requests (with affinity: of clients first seen) since the weight
    /// was set; `None` without any.
    pub measured: Option<f64>,
    /// All of them, and those that went to the canary.
    pub counts: Trials,
    /// ln of the evidence against the weights of the epoch (with affinity: of the window).
    pub log_e: f64,
    /// What it must reach to be a mismatch.
    pub log_limit: f64,
}

impl SampleRatio {
    /// A test that raises a false alarm with a probability of at most `false_split`, its start mixture
    /// spread over `planned_blocks`.
    pub(crate) fn new(false_split: f64, planned_blocks: u64) -> Self {
        Self {
            log_limit: -false_split.ln(),
            mixture: Mixture::new(Some(planned_blocks)),
            block: Block::default(),
            weight_ppm: None,
            counts: Trials::default(),
            window: None,
            mismatch_before: false,
        }
    }

    /// Count clients, window by window and without a start mixture. Before the first line.
    pub(crate) fn count_clients(&mut self) {
        self.mixture = Mixture::new(None);
        self.window = Some(1);
    }

    /// Takes the next line into the open block, and tests the block when that closes it.
    pub(crate) fn observe(&mut self, tick: &TickContext, line: &Observation) {
        let first = self.weight_ppm.is_none();
        if first || tick.change.is_some() {
            self.weight_ppm = Some(tick.in_force.ppm());
            self.counts = Trials::default();
            self.block.discard();
        }
        if tick.change == Some(Change::Window) {
            self.mismatch_before = self.mixture.log_mean() >= self.limit();
            self.mixture = Mixture::new(None);
            self.window = Some(tick.window);
        }
        let assigned = Pair { stable: &line.roles.stable, canary: &line.roles.canary };
        let Some(assigned) = assigned.map(|role| role.assigned).both() else { return };
        if first || tick.change.is_some() {
            return;
        }
        let Some(block) = self.block.add(&assigned, assigned.sum()) else { return };
        self.counts.merge(&Trials { trials: block.sum(), events: block.canary });
        self.update(block);
    }

    fn update(&mut self, block: Pair<u64>) {
        let weight = self.weight();
        // At 0 and 100 % the split is exact, and there is nothing to bet on.
        if weight <= 0.0 || weight >= 1.0 {
            return;
        }
        let slack = SLACK * weight.min(1.0 - weight);
        let (nc, ns) = (block.canary as f64, block.stable as f64);
        let factor = |bound: f64, bet: f64| {
            nc * (bet / bound).ln() + ns * ((1.0 - bet) / (1.0 - bound)).ln()
        };
        let mut factors = [0.0; 14];
        let (above, below) = factors.split_at_mut(ODDS.len());
        for ((above, below), odds) in above.iter_mut().zip(below).zip(ODDS) {
            *above = factor(weight + slack, tilt(weight + slack, odds));
            *below = factor(weight - slack, tilt(weight - slack, 1.0 / odds));
        }
        self.mixture.bet(factors);
    }

    fn weight(&self) -> f64 {
        self.weight_ppm.and_then(Weight::from_ppm).unwrap_or_default().fraction()
    }

    fn limit(&self) -> f64 {
        self.log_limit - self.window.map_or(1.0, window_share).ln()
    }

    /// The figures as they stand after the last line.
    pub(crate) fn verdict(&self) -> SampleRatioVerdict {
        let (log_e, log_limit) = (self.mixture.log_mean(), self.limit());
        SampleRatioVerdict {
            mismatch: self.mismatch_before || log_e >= log_limit,
            weight: self.weight(),
            measured: self.counts.share(),
            counts: self.counts,
            log_e,
            log_limit,
        }
    }
}

#[cfg(test)]
mod tests;
