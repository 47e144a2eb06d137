//! Effects as rows: in words, and as an interval on a line with "no difference" in the middle.

use canary_judge::{EffectEstimate, EffectSince, EffectUnit};

use crate::sentences;

/// Half the width of the drawing.
const HALF: f64 = 80.0;

/// How far the canary is from stable in one quantity.
pub(super) struct EffectRow {
    pub(super) metric: String,
    pub(super) quantile: String,
    /// In words, since the rollout's start.
    pub(super) start: String,
    /// The same since the step's start.
    pub(super) step: String,
    pub(super) interval: Option<Interval>,
    /// Whether it is one of the quantiles that people ask for first, or no quantile at all.
    pub(super) usual: bool,
}

/// Places on a line of 160 units; "no difference" is at 80.
pub(super) struct Interval {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) estimate: String,
    pub(super) tolerated: Option<String>,
    /// Whether a side has no bound yet.
    pub(super) open: bool,
}

impl Interval {
    fn new(effect: &EffectEstimate) -> Option<Self> {
        let none = match effect.unit {
            EffectUnit::Points => 0.0,
            EffectUnit::Ratio => 1.0,
        };
        let from_none = |value: Option<f64>| value.map(|value| value - none);
        let (estimate, tolerated) = (from_none(effect.estimate)?, from_none(effect.tolerated));
        let (lower, upper) = (from_none(effect.lower), from_none(effect.upper));
        let all = [Some(estimate), tolerated, lower, upper];
        let widest = all.into_iter().flatten().map(f64::abs).fold(0.0, f64::max);
        let scale = if widest > 0.0 { 0.92 * HALF / widest } else { 0.0 };
        let place = |value: f64| format!("{:.1}", HALF + value * scale);
        Some(Self {
            from: lower.map_or_else(|| "0".to_owned(), place),
            to: upper.map_or_else(|| format!("{}", 2.0 * HALF), place),
            estimate: place(estimate),
            tolerated: tolerated.map(place),
            open: lower.is_none() || upper.is_none(),
        })
    }
}

/// A row for each quantity that there is an estimate of.
pub(super) fn rows(effects: &[EffectEstimate]) -> Vec<EffectRow> {
    let since = |since: EffectSince| effects.iter().filter(move |one| one.since == since);
    let known = since(EffectSince::Start).filter(|one| one.estimate.is_some());
    let row = |effect: &EffectEstimate| {
        let same = |other: &&EffectEstimate| {
            other.metric == effect.metric && other.quantile == effect.quantile
        };
        let quantile = effect.quantile.as_deref().unwrap_or_default().to_owned();
        EffectRow {
            metric: effect.metric.clone(),
            start: figures_of(effect),
            step: since(EffectSince::Step).find(same).map(figures_of).unwrap_or_default(),
            interval: Interval::new(effect),
            usual: matches!(quantile.as_str(), "" | "p50" | "p95" | "p99"),
            quantile,
        }
    };
    known.map(row).collect()
}

/// The sentence without the name, which stands beside it.
fn figures_of(effect: &EffectEstimate) -> String {
    let sentence = sentences::effect(effect);
    sentence.split_once(": ").map_or(sentence.clone(), |(_, figures)| figures.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(since: EffectSince, estimate: Option<f64>, upper: Option<f64>) -> EffectEstimate {
        EffectEstimate {
            metric: "failures".to_owned(),
            quantile: None,
            since,
            unit: EffectUnit::Points,
            estimate,
            lower: Some(-0.1),
            upper,
            level: 0.95,
            tolerated: Some(0.4),
        }
    }

    #[test]
    fn a_row_says_and_draws_the_interval() {
        let both = [
            points(EffectSince::Start, Some(0.3), Some(0.8)),
            points(EffectSince::Step, None, None),
        ];
        let rows = rows(&both);
        let [row] = rows.as_slice() else { panic!("one row") };
        assert_eq!(row.start, "+0.3 points (−0.1 to +0.8); tolerated +0.4");
        assert!(row.step.starts_with("no comparison yet"), "{}", row.step);
        let drawn = row.interval.as_ref().unwrap();
        let places = [&drawn.from, &drawn.estimate, drawn.tolerated.as_ref().unwrap(), &drawn.to];
        assert_eq!(places, ["70.8", "107.6", "116.8", "153.6"], "zero is at 80");
        assert!(!drawn.open);
        let open = Interval::new(&points(EffectSince::Start, Some(0.0), None)).unwrap();
        assert_eq!((open.open, open.to.as_str(), open.estimate.as_str()), (true, "160", "80.0"));
    }
}
