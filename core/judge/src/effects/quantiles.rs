//! The ratio of two quantiles of durations or values: canary ÷ stable, at p50, p95 and p99.
//!
//! **Source.** STATISTICS 1.10. For each ratio f of a grid the two-by-two bets of the latency test (Turner, Ly
//! and Grünwald 2024) compare stable's values at or above an edge e with the canary's at or above f·e, once
//! counting whole bins so that there are never too many (L⁻, odds ψ: the canary's quantile is more than f
//! times stable's) and once never too few (L⁺, odds 1/ψ: less than f times). The interval goes from the
//! largest f with ln mean_ψ exp L⁻ ≥ ln(2/α) to the smallest with the same of L⁺. No start mixture.
//!
//! The point estimate is the ratio of both histograms' quantiles, pooled over blocks of one weight; over
//! several weights the mean of their logarithms, weighted by n_c n_s/(n_c + n_s).
//!
//! **What it can't do.** A bound is no tighter than a bin is wide (1 to 10 % in Envoy's histograms). Of a
//! ratio that moves, it covers only what lies between the smallest and the largest so far.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{EffectReading, EffectUnit, Gathered, Stretches};
use crate::blocks::Change;
use crate::counts::{Merge, Pair};
use crate::numerics::{exact_array, log_mean_exp, packed};
use crate::quantile_edges::{Tails, edges, wholly_below_each};
use crate::two_by_two::{equal_shares_by_yes, tilt};
use canary_model::histogram::{Histogram, MAX_BINS};

/// The quantiles that are compared, with their places among [`crate::spec::QUANTILES`].
const COMPARED: [(&str, f64, usize); 3] = [("p50", 0.5, 0), ("p95", 0.95, 3), ("p99", 0.99, 5)];
/// The alternatives: the canary's odds of lying beyond the edge, in stable's.
const ODDS: [f64; 8] = [1.03, 1.06, 1.12, 1.25, 1.5, 2.0, 4.0, 10.0];
/// The same the other way round.
static INVERSE_ODDS: LazyLock<[f64; 8]> = LazyLock::new(|| ODDS.map(|odds| odds.powf(-1.0)));
/// Ratios on either side of 1.
const ONE_SIDE: usize = 39;
/// All ratios of the grid.
const RATIOS: usize = 2 * ONE_SIDE + 1;
/// The bets of one direction: quantiles, ratios and odds.
const BETS: usize = COMPARED.len() * RATIOS * ODDS.len();

/// The grid of ratios, ascending: steps of 2 % up to ±20 %, of 5 % up to a factor of 2.7, of 10 % up to 10.
fn grid() -> [f64; RATIOS] {
    let mut grid = [1.0; RATIOS];
    let mut ratio = 1.0;
    for side in 1..=ONE_SIDE {
        ratio *= match side {
            1..=9 => 1.02,
            10..=25 => 1.05,
            _ => 1.1,
        };
        if let Some(above) = grid.get_mut(ONE_SIDE + side) {
            *above = ratio;
        }
        if let Some(below) = grid.get_mut(ONE_SIDE - side) {
            *below = 1.0 / ratio;
        }
    }
    grid
}

/// Both stretches of a metric of quantiles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct QuantileEffect {
    stretches: Stretches<QuantileStretch>,
}

impl QuantileEffect {
    /// Clients are judged, in windows. Before the first line.
    pub(crate) const fn count_clients(&mut self) {
        self.stretches.count_clients();
    }

    /// A step begins with the next line; `open`: a block is open.
    pub(crate) fn begin_step(&mut self, open: bool) {
        self.stretches.begin_step(open);
    }

    /// What a line changes, which discards the open block.
    pub(crate) fn change(&mut self, change: Option<Change>) {
        self.stretches.change(change);
    }

    /// A block that closed, and stable's history before it.
    pub(crate) fn observe(
        &mut self,
        history: &Histogram,
        block: &Pair<Histogram>,
        tails: &Pair<Tails>,
    ) {
        if block.canary.is_empty() || block.stable.is_empty() {
            return;
        }
        self.stretches.add(&QuantileBlock::new(history, block, tails));
    }

    /// The ratios since the start and since the step; `tolerated` are those at each of
    /// [`crate::spec::QUANTILES`].
    pub(crate) fn effects(&self, metric: &str, tolerated: [f64; 9]) -> Vec<super::EffectEstimate> {
        let mut effects = self.stretches.effects(metric);
        for effect in &mut effects {
            let named =
                |(name, _, _): &(&str, f64, usize)| effect.quantile.as_deref() == Some(*name);
            let place = COMPARED.into_iter().find(named).map(|(_, _, place)| place);
            effect.tolerated = place.and_then(|place| tolerated.get(place)).copied();
        }
        effects
    }
}

/// What one block brings to every bet, and its histograms for the estimate.
#[derive(Clone, Debug)]
pub(crate) struct QuantileBlock {
    above: Vec<f64>,
    below: Vec<f64>,
    values: Pair<Histogram>,
}

impl QuantileBlock {
    fn new(history: &Histogram, block: &Pair<Histogram>, tails: &Pair<Tails>) -> Self {
        let grid = grid();
        let (n, edges) = edges(history);
        let (mut above, mut below) = (Vec::with_capacity(BETS), Vec::with_capacity(BETS));
        let canary_count = block.canary.count();
        let inverse_odds = *INVERSE_ODDS;
        for (_, _, place) in COMPARED {
            let Some(edge) = edges.get(place) else { continue };
            let share = (edge.tail as f64 + 0.5) / (n as f64 + 1.0);
            let stable = tails.stable.at_or_above(edge.from);
            // A bet is linear in the canary's count beyond the edge: its constant and what each adds.
            let bet =
                |odds: f64| equal_shares_by_yes(stable, canary_count, tilt(share, odds), share);
            let (up, down) = (ODDS.map(bet), inverse_odds.map(bet));
            let bounds = grid.map(|ratio| ratio * edge.from);
            let wholly_below = wholly_below_each(&block.canary, &bounds);
            for (bound, wholly_below) in bounds.into_iter().zip(wholly_below) {
                let least = tails.canary.at_or_above(bound).events as f64;
                let most = canary_count.saturating_sub(wholly_below) as f64;
                above.extend(up.iter().map(|(base, each)| base + least * each));
                below.extend(down.iter().map(|(base, each)| base + most * each));
            }
        }
        Self { above, below, values: block.clone() }
    }
}

/// What is known over one stretch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct QuantileStretch {
    /// L⁻ of each quantile, ratio and odds; empty before the first block.
    #[serde(with = "packed")]
    above: Vec<f64>,
    /// L⁺ of each quantile, ratio and odds, likewise.
    #[serde(with = "packed")]
    below: Vec<f64>,
    /// What was compared at the present weight.
    pooled: Pair<Histogram>,
    earlier: EarlierWeights,
    canary: u64,
}

/// The estimates at earlier weights: sums of weighted logarithms of ratios, and of weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct EarlierWeights {
    #[serde(with = "exact_array")]
    logs: [f64; 3],
    #[serde(with = "exact_array")]
    weights: [f64; 3],
}

impl EarlierWeights {
    /// Adds what was pooled at one weight.
    fn add(&mut self, pooled: &Pair<Histogram>) {
        let (nc, ns) = (pooled.canary.count() as f64, pooled.stable.count() as f64);
        let weight = nc * ns / (nc + ns);
        let slots = self.logs.iter_mut().zip(&mut self.weights).zip(COMPARED);
        for ((log, sum), (_, quantile, _)) in slots {
            let values = [&pooled.canary, &pooled.stable].map(|values| values.quantile(quantile));
            let [Some(canary), Some(stable)] = values else { continue };
            let ratio = (canary / stable).ln();
            if ratio.is_finite() && weight.is_finite() {
                *log += weight * ratio;
                *sum += weight;
            }
        }
    }
}

impl Gathered for QuantileStretch {
    type Block = QuantileBlock;
    const UNIT: EffectUnit = EffectUnit::Ratio;

    fn add(&mut self, block: &QuantileBlock) {
        self.above.resize(BETS, 0.0);
        self.below.resize(BETS, 0.0);
        for (sum, log) in self.above.iter_mut().zip(&block.above) {
            *sum += log;
        }
        for (sum, log) in self.below.iter_mut().zip(&block.below) {
            *sum += log;
        }
        for (pooled, values) in [
            (&mut self.pooled.stable, &block.values.stable),
            (&mut self.pooled.canary, &block.values.canary),
        ] {
            // Envoy's bins are far fewer; a recording with bins of its own must not grow without bound.
            if pooled.len() + values.len() <= MAX_BINS {
                Merge::merge(pooled, values);
            }
        }
        self.canary = self.canary.saturating_add(block.values.canary.count());
    }

    fn change_weight(&mut self) {
        let pooled = std::mem::take(&mut self.pooled);
        self.earlier.add(&pooled);
    }

    fn readings(&self, log_limit: f64) -> Vec<EffectReading> {
        let mut all = self.earlier.clone();
        all.add(&self.pooled);
        let grid = grid();
        let suffices = |logs: &[f64]| log_mean_exp(logs.iter().copied()) >= log_limit;
        let reading = |(index, (name, _, _)): (usize, (&'static str, f64, usize))| {
            let size = RATIOS * ODDS.len();
            let part = |logs: &[f64]| logs.chunks_exact(size).nth(index).map(<[f64]>::to_vec);
            let lower = part(&self.above).and_then(|logs| {
                let mut bets = logs.chunks_exact(ODDS.len()).zip(grid).rev();
                bets.find(|(logs, _)| suffices(logs)).map(|(_, ratio)| ratio)
            });
            let upper = part(&self.below).and_then(|logs| {
                let mut bets = logs.chunks_exact(ODDS.len()).zip(grid);
                bets.find(|(logs, _)| suffices(logs)).map(|(_, ratio)| ratio)
            });
            let sums = all.logs.get(index).zip(all.weights.get(index));
            let mean = sums.filter(|(_, weight)| **weight > 0.0);
            let estimate = mean.map(|(log, weight)| (log / weight).exp());
            EffectReading { quantile: Some(Cow::Borrowed(name)), estimate, lower, upper }
        };
        COMPARED.into_iter().enumerate().map(reading).collect()
    }

    fn canary(&self) -> u64 {
        self.canary
    }
}

#[cfg(test)]
mod tests;
