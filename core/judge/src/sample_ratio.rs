//! Does the canary get the share of traffic that its weight says?
//!
//! **Source.** A mixture of bets on a share of Bernoulli trials (Robbins 1970; the growth per request
//! is the relative entropy, Wald 1945). Each request, or with affinity each client first seen, goes
//! to the canary with the weight's probability. H0: the true share is the weight, give or take a
//! twentieth of it: requests are counted when they end, and a version that takes longer lags behind
//! without anything being wrong with the split. Five odds ratios to either side.
//!
//! Every stretch of constant weight (and window) is a test of its own, with 1/(j(j+1)) of the error.
//! A mismatch isn't a reason to roll back, it is reported as its own problem: the tests without
//! affinity go by the measured split and stay valid; the non-inferiority test with affinity does not.
//!
//! **What voids it.** With affinity a proxy's workers each count the same client once, so there the
//! evidence is divided by eight, which is valid for up to eight workers. Retries and connections that
//! stick to one version behind the filter.

use serde::{Deserialize, Serialize};

use super::blocks::{Block, TickContext, window_share};
use super::counts::{Merge, Pair, Trials};
use super::mixture::Mixture;
use super::observation::{Observation, RoleCounts};
use super::two_by_two::tilt;
use canary_model::weight::Weight;

/// The alternatives: the odds of the canary, in those of the tolerated bound.
const ODDS: [f64; 5] = [1.05, 1.2, 1.5, 2.0, 4.0];
/// How far the share may lie from the weight, as a part of the weight.
const SLACK: f64 = 0.05;
/// How often a client may be counted within a window.
const WORKERS: f64 = 8.0;

/// The sample ratio test; all of it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SampleRatio {
    stretch: u64,
    weight_ppm: u32,
    mixture: Mixture<10>,
    counts: Trials,
    block: Block<Pair<u64>>,
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
    /// ln of the evidence against the weight.
    pub log_e: f64,
    /// What it must reach to be a mismatch.
    pub log_limit: f64,
}

impl Default for SampleRatio {
    fn default() -> Self {
        Self {
            stretch: 0,
            weight_ppm: 0,
            mixture: Mixture::new(None),
            counts: Trials::default(),
            block: Block::default(),
        }
    }
}

impl SampleRatio {
    /// Takes the next line into the open block, and tests the block when that closes it.
    pub(crate) fn observe(&mut self, tick: &TickContext, line: &Observation) {
        if tick.change.is_some() || self.stretch == 0 {
            let stretch = self.stretch.saturating_add(1);
            *self = Self { stretch, weight_ppm: tick.weight.ppm(), ..Self::default() };
        }
        let Some(assigned) = assigned(line, tick.sticky) else { return };
        if tick.change.is_some() {
            return;
        }
        let Some(block) = self.block.add(&assigned, assigned.sum()) else { return };
        self.counts.merge(&Trials { trials: block.sum(), events: block.canary });
        self.update(block, if tick.sticky { WORKERS } else { 1.0 });
    }

    fn update(&mut self, block: Pair<u64>, repeats: f64) {
        let weight = self.weight();
        // At 0 and 100 % the split is exact, and what little ends late says nothing about it.
        if weight <= 0.0 || weight >= 1.0 {
            return;
        }
        let slack = SLACK * weight.min(1.0 - weight);
        let (nc, ns) = (block.canary as f64 / repeats, block.stable as f64 / repeats);
        let factor = |bound: f64, bet: f64| {
            nc * (bet / bound).ln() + ns * ((1.0 - bet) / (1.0 - bound)).ln()
        };
        let mut factors = [0.0; 10];
        let (above, below) = factors.split_at_mut(ODDS.len());
        for ((above, below), odds) in above.iter_mut().zip(below).zip(ODDS) {
            *above = factor(weight + slack, tilt(weight + slack, odds));
            *below = factor(weight - slack, tilt(weight - slack, 1.0 / odds));
        }
        self.mixture.bet(factors);
    }

    fn weight(&self) -> f64 {
        Weight::from_ppm(self.weight_ppm).unwrap_or_default().fraction()
    }

    /// The figures now; `alpha` is the probability of a false alarm.
    pub(crate) fn verdict(&self, alpha: f64) -> SampleRatioVerdict {
        let log_e = self.mixture.log_mean();
        let log_limit = -(alpha * window_share(self.stretch)).ln();
        SampleRatioVerdict {
            mismatch: log_e >= log_limit,
            weight: self.weight(),
            measured: self.counts.share(),
            counts: self.counts,
            log_e,
            log_limit,
        }
    }
}

/// Those that were assigned since the line before, by role.
fn assigned(line: &Observation, sticky: bool) -> Option<Pair<u64>> {
    let of = |role: &RoleCounts| {
        if sticky { role.clients.and_then(|clients| clients.total) } else { role.total }
    };
    Pair { stable: of(&line.roles.stable), canary: of(&line.roles.canary) }.both()
}

#[cfg(test)]
mod tests;
