//! After how many canary requests the abort test rolls a bad canary back, and what a step can find.
//!
//! **Source.** STATISTICS 1.12. Given n canary requests, c*(n) is how many failures of the canary suffice:
//! the c at which ln mean_ρ exp(c·A_ρ + n (1−w)/w p_s B_ρ − n C_ρ) reaches the nats that are needed. A, B and C
//! are what a failure of the canary, one of stable and a canary request bring to the bet on ρ on average over
//! how a block of B requests happens to be split:
//!
//! ```text
//! A_ρ = E[n_c ln a]/(wB)     B_ρ = E[n_s ln b]/((1−w)B)     C_ρ = d·E[n_c (a−1)]/(wB)
//! nats = ln(1/(ω α)) + ln 2                                     for a regression that is there from the start
//! nats = ln(1/(ω α)) + ln(2T) − ln(1 + 2M/ln(1/(ω α)))          for one that begins later, M blocks before
//! N_z  = the smallest n with n p_c − z·s(n) ≥ max(1, c*(n)), in whole blocks
//! ```
//!
//! z is −0.2 for the median and 1.15 for the 90th percentile: the evidence may cross the limit before n and
//! fall back. In simulations of 192 settings the median was 0.83 to 1.35 times the forecast, in 98 % of them
//! 0.75 to 1.3 times. Over several steps the expected evidence of earlier ones adds up.
//!
//! **What voids it.** Sticky clients, of which there are fewer than requests; other rates than those given.

use std::f64::consts::LN_2;

use crate::counts::Sides;
use crate::failure_abort::{RATIOS, Tolerated};
use crate::numerics::{bisect, log_mean_exp};

/// How many requests close a block.
const FULL: f64 = crate::blocks::FULL as f64;
/// Above so many canary requests in a block, how it is split no longer matters.
const SPLIT_MATTERS: f64 = 400.0;
/// Halving an interval this often leaves less than is shown.
const BISECTIONS: u32 = 60;
/// The most blocks that a forecast looks ahead.
const MOST_BLOCKS: f64 = 1e12;

/// Of all rollouts with a bad canary, how many are to be rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percentile {
    /// Half of those rollouts: the median.
    Median,
    /// Nine of ten: the 90th percentile.
    P90,
}

impl Percentile {
    /// How many standard deviations fewer failures than expected must do.
    const fn deviations(self) -> f64 {
        match self {
            Self::Median => -0.2,
            Self::P90 => 1.15,
        }
    }
}

/// When the canary begins to fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RegressionBegins {
    /// With the test: half of the stake is there from the beginning.
    AtStart,
    /// With a later step of a rollout that is planned to take so many blocks.
    Later {
        /// The blocks over which the start mixture is spread.
        planned_blocks: u64,
    },
}

/// One step of a rollout as the planner sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedStep {
    /// The weight, 0 to 1.
    pub weight: f64,
    /// The canary's requests that are judged in it.
    pub canary_requests: f64,
}

/// When a bad canary is rolled back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UntilAbort {
    /// The canary's requests that are judged until then.
    pub canary_requests: f64,
    /// The step in which that happens, as an index from 0.
    pub step: usize,
}

/// An abort test of failures, and the traffic it will see.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbortTest {
    /// What the test tolerates.
    pub tolerated: Tolerated,
    /// Stable's share of failures, 0 to 1.
    pub stable: f64,
    /// Requests a second, of both versions; above 0.
    pub rps: f64,
    /// The tolerated probability of a false abort.
    pub false_abort: f64,
    /// Among how many metrics it is divided.
    pub metrics: usize,
}

/// What each bet gains on average at one weight.
#[derive(Clone, Copy, Debug)]
struct Growth {
    /// For each of the canary's failures.
    canary: [f64; 13],
    /// For each of stable's failures.
    stable: [f64; 13],
    /// For each of the canary's requests: the margin's charge.
    charge: [f64; 13],
    /// Stable's failures for each of the canary's requests.
    stable_failures: f64,
}

/// What earlier steps are expected to have gained.
#[derive(Clone, Copy, Debug, Default)]
struct Gained {
    logs: [f64; 13],
    /// The variance of the canary's failures that a forecast is short of.
    variance: f64,
}

impl AbortTest {
    /// Requests in a block: whole seconds that bring at least 30.
    fn block(&self) -> f64 {
        (self.rps * (FULL / self.rps).ceil().max(1.0)).max(FULL)
    }

    /// ln(1/(ω α)): the evidence without mixtures, in nats.
    fn log_limit(&self) -> f64 {
        (self.metrics.max(1) as f64 / self.false_abort).ln()
    }

    /// The evidence that it takes, `blocks` after the regression began.
    fn nats(&self, begins: RegressionBegins, blocks: f64) -> f64 {
        let limit = self.log_limit();
        match begins {
            RegressionBegins::AtStart => limit + LN_2,
            RegressionBegins::Later { planned_blocks } => {
                let late = (2.0 * planned_blocks.max(1) as f64).ln();
                limit + (late - (2.0 * blocks / limit).ln_1p()).max(0.0)
            }
        }
    }

    /// How many canary requests pass until a canary that fails `canary` of its requests from the first step on
    /// is rolled back, in half or nine of ten rollouts; `None` where the steps end before.
    pub fn requests_until_abort(
        &self,
        steps: &[PlannedStep],
        canary: f64,
        percentile: Percentile,
    ) -> Option<UntilAbort> {
        let nats = self.nats(RegressionBegins::AtStart, 0.0);
        let (mut gained, mut seen) = (Gained::default(), 0.0);
        for (index, step) in steps.iter().enumerate() {
            let growth = self.growth(step.weight)?;
            let per_block = step.weight * self.block();
            let least = if index == 0 { 1.0 } else { 0.0 };
            let found = |n: f64| growth.finds(n, canary, nats, &gained, percentile, least);
            let needed = whole_blocks(per_block, step.canary_requests, found).map(|n| {
                let spread = match percentile {
                    Percentile::Median => 0.0,
                    Percentile::P90 => 1.28 * (per_block / 2.0).sqrt(),
                };
                n + spread
            });
            if let Some(needed) = needed {
                return Some(UntilAbort { canary_requests: seen + needed, step: index });
            }
            gained = growth.after(step.canary_requests, canary, nats, &gained);
            seen += step.canary_requests;
        }
        None
    }

    /// The smallest share of failing canary requests, 0 to 1, that is found with a power of 90 % among so many
    /// canary requests at a weight; `None` where even a canary that always fails isn't.
    pub fn smallest_regression(
        &self,
        weight: f64,
        canary_requests: f64,
        begins: RegressionBegins,
    ) -> Option<f64> {
        let growth = self.growth(weight)?;
        let per_block = weight * self.block();
        let blocks = (canary_requests / per_block).floor();
        let n = blocks * per_block;
        let nats = self.nats(begins, blocks);
        let gained = Gained::default();
        let found = |canary| growth.finds(n, canary, nats, &gained, Percentile::P90, 1.0);
        if !found(1.0) {
            return None;
        }
        Some(bisect(0.0, 1.0, BISECTIONS, found))
    }

    /// What each bet gains at a weight; `None` at 0 and 100 %, where nothing is compared.
    fn growth(&self, weight: f64) -> Option<Growth> {
        if weight <= 0.0 || weight >= 1.0 {
            return None;
        }
        let block = self.block();
        let mut growth = Growth {
            canary: [0.0; 13],
            stable: [0.0; 13],
            charge: [0.0; 13],
            stable_failures: (1.0 - weight) / weight * self.stable,
        };
        for (canary, probability) in splits(block, weight) {
            let exposure = Sides { treatment: canary, control: block - canary };
            let slots = growth.canary.iter_mut().zip(&mut growth.stable).zip(&mut growth.charge);
            for (((of_canary, of_stable), charge), ratio) in slots.zip(RATIOS) {
                let factors = self.tolerated.factors(ratio, exposure);
                let part = probability * canary / (weight * block);
                *of_canary += part * factors.treatment.ln();
                *of_stable += probability * exposure.control * factors.control.ln()
                    / ((1.0 - weight) * block);
                *charge += part * self.tolerated.margin * (factors.treatment - 1.0);
            }
        }
        Some(growth)
    }
}

impl Growth {
    /// Each bet's logarithm after n canary requests, c of which failed.
    fn logs(&self, n: f64, c: f64, gained: &Gained) -> [f64; 13] {
        let mut logs = gained.logs;
        let parts = self.canary.iter().zip(&self.stable).zip(&self.charge);
        for (log, ((canary, stable), charge)) in logs.iter_mut().zip(parts) {
            *log += c * canary + n * (self.stable_failures * stable - charge);
        }
        logs
    }

    /// How many failures among n canary requests suffice: c*(n). At most n and a little more.
    fn failures_needed(&self, n: f64, nats: f64, gained: &Gained) -> f64 {
        let suffice = |c: f64| log_mean_exp(self.logs(n, c, gained).into_iter()) >= nats;
        if suffice(0.0) {
            return 0.0;
        }
        bisect(0.0, n + 1.0, BISECTIONS, suffice)
    }

    /// The variance of the canary's failures among n, stable's weighed by what they take back.
    fn variance(&self, n: f64, canary: f64, logs: &[f64; 13]) -> f64 {
        let bets = logs.iter().zip(&self.canary).zip(&self.stable);
        let best = bets.reduce(|best, next| if next.0.0 > best.0.0 { next } else { best });
        let back = best.map_or(0.0, |((_, canary), stable)| stable / canary);
        n * canary * (1.0 - canary) + n * self.stable_failures * back * back
    }

    /// Whether n canary requests suffice, in half or nine of ten rollouts.
    fn finds(
        &self,
        n: f64,
        canary: f64,
        nats: f64,
        gained: &Gained,
        percentile: Percentile,
        least: f64,
    ) -> bool {
        let needed = self.failures_needed(n, nats, gained);
        let logs = self.logs(n, needed, gained);
        let deviation = (gained.variance + self.variance(n, canary, &logs)).sqrt();
        n * canary - percentile.deviations() * deviation >= needed.max(least)
    }

    /// What is expected to be gained by the end of a step.
    fn after(&self, n: f64, canary: f64, nats: f64, gained: &Gained) -> Gained {
        let needed = self.failures_needed(n, nats, gained);
        let variance = gained.variance + self.variance(n, canary, &self.logs(n, needed, gained));
        Gained { logs: self.logs(n, n * canary, gained), variance }
    }
}

/// How many of a block's requests may go to the canary, with the probability of each.
fn splits(block: f64, weight: f64) -> Vec<(f64, f64)> {
    let mean = weight * block;
    if mean > SPLIT_MATTERS {
        return vec![(mean, 1.0)];
    }
    // From the most probable number outwards, each from its neighbor; then scaled to one.
    let block = block.round();
    let odds = weight / (1.0 - weight);
    let mode = (mean.floor()).min(block);
    let mut splits = vec![(mode, 1.0)];
    let (mut count, mut part) = (mode, 1.0);
    while count < block && part > 1e-12 {
        part *= (block - count) / (count + 1.0) * odds;
        count += 1.0;
        splits.push((count, part));
    }
    (count, part) = (mode, 1.0);
    while count > 0.0 && part > 1e-12 {
        part *= count / (block - count + 1.0) / odds;
        count -= 1.0;
        splits.push((count, part));
    }
    let sum: f64 = splits.iter().map(|(_, part)| part).sum();
    splits.into_iter().map(|(count, part)| (count, part / sum)).collect()
}

/// The smallest number of canary requests, in whole blocks and up to `most`, at which something holds that
/// holds from then on.
fn whole_blocks(per_block: f64, most: f64, holds: impl Fn(f64) -> bool) -> Option<f64> {
    let limit = (most / per_block).floor().min(MOST_BLOCKS);
    let mut enough = 1.0;
    while !holds(enough * per_block) {
        if enough >= limit {
            return None;
        }
        enough = (2.0 * enough).min(limit);
    }
    if limit < 1.0 {
        return None;
    }
    let mut few = (0.5 * enough).floor();
    while enough - few > 1.0 {
        let middle = (0.5 * (few + enough)).floor();
        if holds(middle * per_block) {
            enough = middle;
        } else {
            few = middle;
        }
    }
    Some(enough * per_block)
}

#[cfg(test)]
mod tests;
