//! Where a histogram is cut to compare its tails, and what lies beyond a cut.

use super::counts::{Merge, Trials};
use super::spec::QUANTILES;
use canary_model::histogram::{Bin, Histogram};

/// How far a bin's bound may lie beyond an edge and still count as at it: 1.1 · 100 is a little more than
/// 110 in floats, and the bin from 110 belongs to the tail.
const ROUNDING: f64 = 1e-9;
/// The quantiles at which the test downwards looks, with their names.
pub(crate) const LOWER_QUANTILES: [(&str, f64); 9] = [
    ("p50", 0.5),
    ("p25", 0.25),
    ("p10", 0.1),
    ("p5", 0.05),
    ("p2", 0.02),
    ("p1", 0.01),
    ("p0.5", 0.005),
    ("p0.2", 0.002),
    ("p0.05", 0.0005),
];

/// Where the stable history is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Edge {
    /// The bin's bound, in the histogram's unit.
    pub(crate) bound: f64,
    /// From where on values count: the bound, or what comes just above it where values that *are* the
    /// bound must not count (the upper bound of a bin without width, such as that of zero).
    pub(crate) from: f64,
    /// How many observations lie in the tail: there or above upwards, below it downwards.
    pub(crate) tail: u64,
}

/// How far apart two distances must be to differ: 0.999 and 1 are equally near 0.9995, but not in floats.
const TIE: f64 = 1e-12;

/// How many values the history holds, and for each of [`QUANTILES`] the bound nearest it: that below
/// which the share of values is nearest the quantile's; of two equally near the lower.
pub(crate) fn edges(history: &Histogram) -> (u64, [Edge; 9]) {
    let n = history.count();
    let candidates = bounds(history, n);
    let share_below = |edge: &Edge| (n - edge.tail) as f64 / n as f64;
    let nearest = QUANTILES.map(|(_, quantile)| {
        let (low, high) = neighbors(&candidates, quantile, share_below);
        let distance = |edge: &&Edge| (share_below(edge) - quantile).abs();
        let nearest = match (low, high) {
            (Some(low), Some(high)) if distance(&high) + TIE < distance(&low) => Some(high),
            (low, high) => low.or(high),
        };
        nearest.copied().unwrap_or_default()
    });
    (n, nearest)
}

/// The same downwards: the lower bounds of bins, for [`LOWER_QUANTILES`]; of two equally near the upper,
/// so that here too the one with more in its tail counts.
pub(crate) fn lower_edges(history: &Histogram) -> (u64, [Edge; 9]) {
    let n = history.count();
    let mut candidates = bounds(history, n);
    candidates.retain(|edge| edge.tail > 0);
    for edge in &mut candidates {
        edge.tail = n - edge.tail;
    }
    let share_below = |edge: &Edge| edge.tail as f64 / n as f64;
    let nearest = LOWER_QUANTILES.map(|(_, quantile)| {
        let (low, high) = neighbors(&candidates, quantile, share_below);
        let distance = |edge: &&Edge| (share_below(edge) - quantile).abs();
        let nearest = match (low, high) {
            (Some(low), Some(high)) if distance(&low) + TIE < distance(&high) => Some(low),
            (low, high) => high.or(low),
        };
        nearest.copied().unwrap_or_default()
    });
    (n, nearest)
}

/// The last candidate at or below a quantile, and the first above it.
fn neighbors(
    candidates: &[Edge],
    quantile: f64,
    share_below: impl Fn(&Edge) -> f64,
) -> (Option<&Edge>, Option<&Edge>) {
    let next = candidates.partition_point(|edge| share_below(edge) <= quantile);
    (next.checked_sub(1).and_then(|index| candidates.get(index)), candidates.get(next))
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
pub(crate) struct Tails(Vec<(f64, u64)>);

impl Tails {
    pub(crate) fn new(times: &Histogram) -> Self {
        let mut sum = 0u64;
        let tail = |(bin, count): (Bin, u64)| {
            sum.merge(&count);
            (bin.lower(), sum)
        };
        Self(times.bins().rev().map(tail).collect())
    }

    /// How many values lie in bins from a bound on.
    pub(crate) fn at_or_above(&self, bound: f64) -> Trials {
        let bins = self.0.partition_point(|(lower, _)| lower * (1.0 + ROUNDING) >= bound);
        let upto = |bins: usize| bins.checked_sub(1).and_then(|last| self.0.get(last));
        let sum = |bins: usize| upto(bins).map_or(0, |(_, sum)| *sum);
        Trials { trials: sum(self.0.len()), events: sum(bins) }
    }

    /// How many values lie in bins below a bound.
    pub(crate) fn below(&self, bound: f64) -> Trials {
        let Trials { trials, events } = self.at_or_above(bound);
        Trials { trials, events: trials.saturating_sub(events) }
    }
}

/// How many values lie in bins of which all lies below a bound.
pub(crate) fn wholly_below(values: &Histogram, bound: f64) -> Trials {
    let mut counts = Trials { trials: values.count(), events: 0 };
    for (bin, count) in values.bins() {
        let upper = bin.lower() + bin.width();
        // A bin without width holds its bound itself.
        if bin.lower() < bound && upper <= bound * (1.0 + ROUNDING) {
            counts.events.merge(&count);
        }
    }
    counts
}

/// For each bound, how many values lie in bins of which all lies below it.
pub(crate) fn wholly_below_each(values: &Histogram, bounds: &[f64]) -> Vec<u64> {
    let mut bins: Vec<(f64, f64, u64)> =
        values.bins().map(|(bin, count)| (bin.lower() + bin.width(), bin.lower(), count)).collect();
    bins.sort_by(|(one, _, _), (other, _, _)| one.total_cmp(other));
    let mut sum = 0u64;
    let sums: Vec<u64> = bins
        .iter()
        .map(|(_, _, count)| {
            sum.merge(count);
            sum
        })
        .collect();
    let below = |bound: &f64| {
        let fits = |(upper, _, _): &(f64, f64, u64)| *upper <= bound * (1.0 + ROUNDING);
        let all = bins.partition_point(fits);
        let upto = all.checked_sub(1).and_then(|last| sums.get(last)).copied().unwrap_or(0);
        // A bin without width holds its bound itself; those at the bound come last.
        let at_bound = bins.iter().take(all).rev().take_while(|(upper, _, _)| upper >= bound);
        let itself = at_bound.filter(|(_, lower, _)| lower >= bound).map(|(_, _, count)| *count);
        upto.saturating_sub(itself.fold(0, u64::saturating_add))
    };
    bounds.iter().map(below).collect()
}

#[cfg(test)]
mod tests;
