//! Is the canary slower than tolerated, at any quantile?
//!
//! **Source.** At each of nine quantiles a two-by-two test (Turner, Ly and Grünwald 2024) of "took
//! longer than": the edge e is that bound of the stable history's bins that lies nearest the quantile,
//! their lower bounds and the last bin's upper one; stable's observations at or above e are held
//! against the canary's at or above tolerance · e. H0: the canary's distribution is at most `tolerance` times as slow there. Six odds
//! ratios for each of the nine, all mixed, with a start mixture in rollouts without affinity.
//!
//! **Bins are not rebinned.** They are compared as they came: the canary's tail counts bins whose lower
//! bound is at least tolerance · e, so a canary exactly at the tolerance never counts for more than
//! it is. The last bin's upper bound matters where stable's durations fill few bins: if they all lie in
//! one, it is the only edge that separates anything.
//!
//! **History** is all earlier stable observations, those at weight 0 and those that were left out of a
//! comparison too; the test begins when there are 100. **Cold start:** lines that hold any of the
//! canary's first 50 requests don't enter (they do enter the test of failures and the guard).
//!
//! **What voids it.** One observation for each request where clients differ in speed and stick to a
//! version (with affinity, first observations are read); pods or nodes of different speed, with a
//! tolerance below 1.1 to 1.2; caches colder than 50 requests warm. What it can't see: a canary that is
//! slower by less than the bin is wide.

use serde::{Deserialize, Serialize};

use super::blocks::{Block, BlockUpdate, Change, FULL, TickContext};
use super::counts::{Merge, Pair, Sides, Trials};
use super::mixture::Mixture;
use super::observation::{Observation, RoleCounts};
use super::spec::QUANTILES;
use super::two_by_two::{equal_shares, tilt};
use super::verdict::{Findings, InsufficientData};
use canary_model::histogram::{Bin, Histogram, MAX_BINS};

/// The alternatives: the canary's odds of taking longer, in stable's.
const ODDS: [f64; 6] = [1.15, 1.3, 1.6, 2.0, 4.0, 10.0];
/// How many earlier stable observations the test needs.
const HISTORY: u64 = 100;
/// How far a bin's bound may lie below a tail's and still belong to it: 1.1 · 100 is a little more than
/// 110 in floats, and the bin from 110 belongs to the tail.
const ROUNDING: f64 = 1e-9;
/// How many canary requests are its cold start.
const COLD: u64 = 50;

/// The latency test; all of it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    tolerances: [f64; 9],
    planned_blocks: Option<u64>,
    history: Histogram,
    /// Canary requests of the epoch, up to the line before.
    canary_requests: u64,
    block: Block<Pair<Histogram>>,
    mixture: Mixture<54>,
    quantiles: [AtQuantile; 9],
}

/// What was counted at one quantile since the test's start or the window's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct AtQuantile {
    edge: Option<f64>,
    counts: Pair<Trials>,
}

/// Where the stable history is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Edge {
    /// The bin's bound, in the histogram's unit.
    bound: f64,
    /// From where on values count: the bound, or what comes just above it where values that *are* the
    /// bound must not count (the upper bound of a bin without width, such as that of zero).
    from: f64,
    /// How many observations lie there or above.
    tail: u64,
}

impl Latency {
    /// A test with the tolerated factors at each of [`QUANTILES`], its start mixture spread over
    /// `planned_blocks`.
    pub(crate) fn new(tolerances: [f64; 9], planned_blocks: Option<u64>) -> Self {
        Self {
            tolerances,
            planned_blocks,
            history: Histogram::new(),
            canary_requests: 0,
            block: Block::default(),
            mixture: Mixture::new(planned_blocks),
            quantiles: [AtQuantile::default(); 9],
        }
    }

    /// Read first observations, without a start mixture. Before the first line.
    pub(crate) fn count_clients(&mut self) {
        self.planned_blocks = None;
        self.mixture = Mixture::new(None);
    }

    /// Takes the next line into the open block, and tests the block when that closes it.
    pub(crate) fn observe(&mut self, tick: &TickContext, line: &Observation) -> BlockUpdate {
        let cold = self.is_cold();
        self.canary_requests.merge(&line.requests().canary);
        if tick.change.is_some() {
            let discarded = self.block.discard();
            self.learn(&discarded.stable);
        }
        if tick.change == Some(Change::Window) {
            self.mixture = Mixture::new(self.planned_blocks);
            self.quantiles = [AtQuantile::default(); 9];
        }
        let Some(times) = durations(line, tick.sticky) else { return BlockUpdate::Dropped };
        let early = cold || self.history.count() < HISTORY;
        if tick.change.is_some() || times.stable.is_empty() || early {
            self.learn(times.stable);
            return BlockUpdate::LeftOut;
        }
        let size = times.stable.count().saturating_add(times.canary.count());
        let merge = |held: &mut Pair<Histogram>| {
            Merge::merge(&mut held.stable, times.stable);
            Merge::merge(&mut held.canary, times.canary);
        };
        let Some(block) = self.block.grow(size, merge) else { return BlockUpdate::Open };
        self.update(&block);
        self.learn(&block.stable);
        let sizes = block.map(|times| times.count());
        BlockUpdate::closed(Sides { treatment: sizes.canary, control: sizes.stable })
    }

    fn is_cold(&self) -> bool {
        self.canary_requests < COLD
    }

    fn learn(&mut self, stable: &Histogram) {
        // Envoy's bins are far fewer; a recording with bins of its own must not grow without bound.
        if self.history.len() + stable.len() <= MAX_BINS {
            self.history.merge(stable);
        }
    }

    fn update(&mut self, block: &Pair<Histogram>) {
        let (n, edges) = edges(&self.history);
        let tails = Pair { stable: Tails::new(&block.stable), canary: Tails::new(&block.canary) };
        let mut factors = [0.0; 54];
        let mut slots = factors.chunks_exact_mut(ODDS.len());
        for ((at, edge), tolerance) in self.quantiles.iter_mut().zip(edges).zip(self.tolerances) {
            let counts = Pair {
                stable: tails.stable.at_or_above(edge.from),
                canary: tails.canary.at_or_above(tolerance * edge.from),
            };
            let share = (edge.tail as f64 + 0.5) / (n as f64 + 1.0);
            for (slot, odds) in slots.next().into_iter().flatten().zip(ODDS) {
                *slot = equal_shares(counts, tilt(share, odds), share);
            }
            at.edge = Some(edge.bound);
            at.counts.merge(&counts);
        }
        self.mixture.bet(factors);
    }

    /// ln of the evidence that the canary is slower than tolerated.
    pub(crate) fn log_e(&self) -> f64 {
        self.mixture.log_mean()
    }

    /// The quantile with the strongest evidence.
    pub(crate) fn findings(&self) -> Findings {
        let strongest = |logs: &[f64]| logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let evidence = self.mixture.logs().chunks_exact(ODDS.len()).map(strongest);
        let named = QUANTILES.iter().zip(&self.quantiles).zip(self.tolerances).zip(evidence);
        // Of equals the first, so that the median stands for all when there is nothing to tell.
        let most = named.reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some(((((name, _), at), tolerance), _)) = most else {
            let (edge_us, counts) = (None, Pair::default());
            return Findings::Quantile { quantile: "p50".into(), edge_us, tolerance: 1.0, counts };
        };
        Findings::Quantile {
            quantile: (*name).into(),
            edge_us: at.edge,
            tolerance,
            counts: at.counts,
        }
    }

    /// What the test needs for its first or next block.
    pub(crate) fn missing(&self) -> Option<InsufficientData> {
        if self.is_cold() {
            return Some(InsufficientData::ColdStart { have: self.canary_requests, need: COLD });
        }
        let history = self.history.count();
        if history < HISTORY {
            return Some(InsufficientData::History { have: history, need: HISTORY });
        }
        Some(InsufficientData::Block { have: self.block.size(), need: FULL })
    }
}

/// The line's durations by role. With affinity a line without one role's part is dropped whole; without, a
/// role whose part is missing has no observations.
fn durations(line: &Observation, sticky: bool) -> Option<Pair<&Histogram>> {
    static NONE: Histogram = Histogram::new();
    let Pair { stable, canary } = &line.roles;
    let parts = Pair { stable: of_unit(stable, sticky), canary: of_unit(canary, sticky) };
    if sticky { parts.both() } else { Some(parts.map(|part| part.unwrap_or(&NONE))) }
}

fn of_unit(role: &RoleCounts, sticky: bool) -> Option<&Histogram> {
    if sticky { role.rq_time_first_us.as_ref() } else { role.rq_time_us.as_ref() }
}

/// How many values the history holds, and for each of [`QUANTILES`] the bound nearest it: that below
/// which the share of values is nearest the quantile's; of two equally near the lower.
fn edges(history: &Histogram) -> (u64, [Edge; 9]) {
    // 0.999 and 1 are equally near 0.9995, but not in floats.
    const TIE: f64 = 1e-12;
    let n = history.count();
    let candidates = bounds(history, n);
    let share_below = |edge: &Edge| (n - edge.tail) as f64 / n as f64;
    let nearest = QUANTILES.map(|(_, quantile)| {
        let next = candidates.partition_point(|edge| share_below(edge) <= quantile);
        let low = next.checked_sub(1).and_then(|index| candidates.get(index));
        let distance = |edge: &&Edge| (share_below(edge) - quantile).abs();
        let nearest = match (low, candidates.get(next)) {
            (Some(low), Some(high)) if distance(&high) + TIE < distance(&low) => Some(high),
            (low, high) => low.or(high),
        };
        nearest.copied().unwrap_or_default()
    });
    (n, nearest)
}

/// The lower bounds of the history's bins, ascending, and the largest upper bound.
fn bounds(history: &Histogram, n: u64) -> Vec<Edge> {
    let mut edges: Vec<Edge> = Vec::with_capacity(history.len() + 1);
    let (mut below, mut upper) = (0u64, 0.0);
    for (bin, count) in history.bins() {
        let lower = bin.lower();
        // Bins of different width may begin at one bound: they are one edge.
        if edges.last().is_none_or(|last| last.bound < lower) {
            edges.push(Edge { bound: lower, from: lower, tail: n.saturating_sub(below) });
        }
        below = below.saturating_add(count);
        upper = f64::max(upper, lower + bin.width());
    }
    if let Some(last) = edges.last().map(|last| last.bound)
        && upper.is_finite()
    {
        // A bin without width holds its bound itself.
        let from = if upper > last { upper } else { just_above(upper) };
        edges.push(Edge { bound: upper, from, tail: 0 });
    }
    edges
}

/// What lies above a bound by more than [`ROUNDING`] forgives.
fn just_above(bound: f64) -> f64 {
    f64::max(bound * (1.0 + 4.0 * ROUNDING), f64::MIN_POSITIVE)
}

/// For each bin, descending, its lower bound and how many values lie in it and above.
struct Tails(Vec<(f64, u64)>);

impl Tails {
    fn new(times: &Histogram) -> Self {
        let mut sum = 0u64;
        let tail = |(bin, count): (Bin, u64)| {
            sum.merge(&count);
            (bin.lower(), sum)
        };
        Self(times.bins().rev().map(tail).collect())
    }

    /// How many values lie in bins from a bound on.
    fn at_or_above(&self, bound: f64) -> Trials {
        let bins = self.0.partition_point(|(lower, _)| lower * (1.0 + ROUNDING) >= bound);
        let upto = |bins: usize| bins.checked_sub(1).and_then(|last| self.0.get(last));
        let sum = |bins: usize| upto(bins).map_or(0, |(_, sum)| *sum);
        Trials { trials: sum(self.0.len()), events: sum(bins) }
    }
}

#[cfg(test)]
mod tests;
