//! The difference of two shares, failures or conversions: canary − stable, in points.
//!
//! **Source.** STATISTICS 1.9. For each direction (the canary has more, stable has more) the centered bets of
//! [`crate::centered_bets`] gather S and X; the evidence against "the difference is at most d" is the mean of
//! exp(S − d·X), for every d at once, because the logarithm of each bet is linear in d. The interval's end
//! is the d at which it reaches ln(2/α), found by bisection on [−1, 1]. No start mixture.
//!
//! The point estimate is that of Mantel and Haenszel (1959), Σ (e_c n_s − e_s n_c)/n ÷ Σ n_c n_s/n over
//! blocks, which a drifting baseline and a changing weight don't mix up.
//!
//! **What it estimates.** Of a difference that moves, the average over the canary's requests. So intervals
//! must not be intersected over time, and none follows a regression that began a minute ago.
//!
//! **What voids it.** As for the failure test; with affinity, a client that several workers count once each.

use serde::{Deserialize, Serialize};

use super::{EffectReading, EffectUnit, Gathered, Stretches};
use crate::blocks::{Block, Change};
use crate::centered_bets::{Center, CenteredBets};
use crate::counts::{Pair, Trials};
use crate::numerics::{bisect, exact, exact_array, log_mean_exp};

/// Halving the interval from −1 to 1 this often leaves less than a float shows of a share.
const BISECTIONS: u32 = 45;

/// Both stretches of a metric of shares, with the block that they share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShareEffect {
    center: Center,
    block: Block<Pair<Trials>>,
    stretches: Stretches<ShareStretch>,
}

impl ShareEffect {
    /// Clients are judged, in windows. Before the first line.
    pub(crate) const fn count_clients(&mut self) {
        self.stretches.count_clients();
    }

    /// A step begins with the next line.
    pub(crate) fn begin_step(&mut self) {
        self.stretches.begin_step(self.block.size() > 0);
    }

    /// One line. `counts` are requests and failures (or conversions), with affinity clients at their first
    /// request; `None` where a part is missing or there is no stable request. `size` is how many requests
    /// it has. `change` is what it changes that discards the open block: nothing without affinity.
    pub(crate) fn observe(
        &mut self,
        counts: Option<Pair<Trials>>,
        size: u64,
        change: Option<Change>,
    ) {
        if change.is_some() {
            self.block.discard();
            self.stretches.change(change);
            if change == Some(Change::Window) {
                self.center = Center::default();
            }
            return;
        }
        let Some(counts) = counts else { return };
        let Some(counts) = self.block.add(&counts, size) else { return };
        if let Some(block) = ShareBlock::new(counts, self.center) {
            self.stretches.add(&block);
        }
        self.center.learn(&counts.stable);
    }

    /// The difference since the start and since the step; `tolerated` is the one that is.
    pub(crate) fn effects(
        &self,
        metric: &str,
        tolerated: Option<f64>,
    ) -> Vec<super::EffectEstimate> {
        let mut effects = self.stretches.effects(metric);
        for effect in &mut effects {
            effect.tolerated = tolerated.map(|share| share * 100.0);
        }
        effects
    }
}

/// What one block brings: the bets of both directions, and its part of the estimate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShareBlock {
    more: CenteredBets,
    less: CenteredBets,
    difference: f64,
    weight: f64,
    canary: u64,
}

impl ShareBlock {
    fn new(counts: Pair<Trials>, center: Center) -> Option<Self> {
        let more = CenteredBets::on(counts.sides(), center)?;
        let less = CenteredBets::on(counts.swapped(), center)?;
        let (nc, ns) = (counts.canary.trials as f64, counts.stable.trials as f64);
        let (ec, es) = (counts.canary.events as f64, counts.stable.events as f64);
        let difference = (ec * ns - es * nc) / (nc + ns);
        let canary = counts.canary.trials;
        Some(Self { more, less, difference, weight: nc * ns / (nc + ns), canary })
    }
}

/// What is known over one stretch: nothing but sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShareStretch {
    /// The canary as the treatment: the interval's lower end.
    more: DirectionSums,
    /// Stable as the treatment: its upper end.
    less: DirectionSums,
    #[serde(with = "exact")]
    difference: f64,
    #[serde(with = "exact")]
    weight: f64,
    canary: u64,
}

/// S and X of one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct DirectionSums {
    #[serde(with = "exact_array")]
    logs: [f64; 15],
    #[serde(with = "exact_array")]
    exposure: [f64; 15],
}

impl DirectionSums {
    fn add(&mut self, bets: &CenteredBets) {
        for (sum, log) in self.logs.iter_mut().zip(bets.logs) {
            *sum += log;
        }
        for (sum, exposure) in self.exposure.iter_mut().zip(bets.exposure) {
            *sum += exposure;
        }
    }

    /// ln of the evidence against a difference of at most d.
    fn log_e(&self, difference: f64) -> f64 {
        let bets = self.logs.iter().zip(&self.exposure);
        log_mean_exp(bets.map(|(log, exposure)| log - difference * exposure))
    }

    /// The largest d against which the evidence suffices; `None` if it doesn't even against −1.
    fn bound(&self, log_limit: f64) -> Option<f64> {
        if self.log_e(-1.0) < log_limit {
            return None;
        }
        Some(bisect(1.0, -1.0, BISECTIONS, |middle| self.log_e(middle) >= log_limit))
    }
}

impl Gathered for ShareStretch {
    type Block = ShareBlock;
    const UNIT: EffectUnit = EffectUnit::Points;

    fn add(&mut self, block: &ShareBlock) {
        self.more.add(&block.more);
        self.less.add(&block.less);
        self.difference += block.difference;
        self.weight += block.weight;
        self.canary = self.canary.saturating_add(block.canary);
    }

    fn readings(&self, log_limit: f64) -> Vec<EffectReading> {
        let points = |share: f64| share * 100.0;
        vec![EffectReading {
            quantile: None,
            estimate: (self.weight > 0.0).then(|| points(self.difference / self.weight)),
            lower: self.more.bound(log_limit).map(points),
            upper: self.less.bound(log_limit).map(|bound| points(-bound)),
        }]
    }

    fn canary(&self) -> u64 {
        self.canary
    }
}

#[cfg(test)]
mod tests;
