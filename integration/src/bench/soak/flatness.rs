//! Whether something that was sampled at even intervals grew: how it went over the run, and how much more
//! it was at the run's end than once it had settled.
//!
//! The first quarter is left out, because caches fill, statistics of new versions appear and allocators find
//! their size in it. Of the rest, two figures are taken, both over half of the run and both of medians, which
//! single peaks don't move: the last quarter's median above the second one's, and the trend by Theil and Sen
//! (the median slope of all pairs of samples). The larger one is the growth. The first alone would miss what
//! falls in the third quarter and rises in the last, the second alone a step near the end.

use crate::bench::report::quantile;

/// Fewer samples than this say nothing about a quarter.
pub(super) const FEWEST: usize = 16;

/// How a figure went over the run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RunCourse {
    /// What it was when the run began.
    pub(super) start: f64,
    /// The medians of the run's four quarters.
    pub(super) quarters: [f64; 4],
    /// What it was when the run ended.
    pub(super) end: f64,
    /// The median of all samples.
    pub(super) median: f64,
    /// The smallest of all samples.
    pub(super) least: f64,
    /// The largest of all samples.
    pub(super) most: f64,
    /// How much it grew over half of the run, once it had settled; negative if it shrank.
    pub(super) growth: f64,
}

impl RunCourse {
    /// Of samples in the order of their times; `None` if there are fewer than [`FEWEST`].
    pub(super) fn of_samples(samples: &[f64]) -> Option<Self> {
        if samples.len() < FEWEST {
            return None;
        }
        let quarter = |number: usize| {
            let limit = |number: usize| number * samples.len() / 4;
            median(&samples[limit(number)..limit(number + 1)])
        };
        let quarters = [0, 1, 2, 3].map(quarter);
        let sorted = sorted(samples);
        let growth = (quarters[3] - quarters[1]).max(trend(samples));
        Some(Self {
            start: samples[0],
            quarters,
            end: samples[samples.len() - 1],
            median: quantile(&sorted, 0.5),
            least: sorted[0],
            most: sorted[sorted.len() - 1],
            growth,
        })
    }
}

/// The median slope of all pairs of samples behind the first quarter, times half of the run.
#[allow(clippy::cast_precision_loss)]
fn trend(samples: &[f64]) -> f64 {
    let settled = &samples[samples.len() / 4..];
    let slopes = settled.iter().enumerate().flat_map(|(place, earlier)| {
        let later = settled.iter().enumerate().skip(place + 1);
        later.map(move |(later, value)| (value - earlier) / (later - place) as f64)
    });
    median(&slopes.collect::<Vec<_>>()) * samples.len() as f64 / 2.0
}

fn median(values: &[f64]) -> f64 {
    quantile(&sorted(values), 0.5)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An hour of samples of something with noise of ±2: every 5 s.
    fn hour(level: impl Fn(f64) -> f64) -> RunCourse {
        let mut dice = fastrand::Rng::with_seed(7);
        let samples: Vec<f64> =
            (0..720).map(|n| level(f64::from(n) / 720.0) + 4.0 * (dice.f64() - 0.5)).collect();
        RunCourse::of_samples(&samples).unwrap()
    }

    #[test]
    fn what_stays_or_settles_does_not_grow() {
        let flat = hour(|_| 100.0);
        assert!(flat.growth.abs() < 0.5, "{flat:?}");
        let settles = hour(|time| 60.0 + 40.0 * (8.0 * time).min(1.0));
        assert!(settles.growth.abs() < 0.5, "{settles:?}");
        let shrinks = hour(|time| 100.0 - 30.0 * time);
        assert!(shrinks.growth < -10.0, "{shrinks:?}");
    }

    #[test]
    fn what_grows_shows_however_it_does() {
        let steady = hour(|time| 100.0 + 10.0 * time);
        assert!((4.5..5.5).contains(&steady.growth), "half of it in half of the run: {steady:?}");
        let step = hour(|time| if time < 0.8 { 100.0 } else { 105.0 });
        assert!(step.growth > 4.5, "the trend alone is {step:?}");
        let dips = hour(|time| match (4.0 * time) as u32 {
            2 => 90.0,
            3 => 100.0 + 40.0 * (time - 0.75),
            _ => 100.0,
        });
        assert!(dips.growth > 4.0, "{dips:?}");
    }

    #[test]
    fn a_saw_and_single_peaks_do_not() {
        let saw = hour(|time| 100.0 + 10.0 * (time * 200.0).fract());
        assert!(saw.growth.abs() < 1.0, "{saw:?}");
        let peaks = hour(|time| if (time * 72.0).fract() < 0.1 { 500.0 } else { 100.0 });
        assert!(peaks.growth.abs() < 0.5, "{peaks:?}");
    }

    #[test]
    fn the_course_is_that_of_the_samples() {
        let samples: Vec<f64> = (0..16).map(f64::from).collect();
        let course = RunCourse::of_samples(&samples).unwrap();
        let expected = RunCourse {
            start: 0.0,
            quarters: [1.5, 5.5, 9.5, 13.5],
            end: 15.0,
            median: 7.5,
            least: 0.0,
            most: 15.0,
            growth: 8.0,
        };
        assert_eq!(course, expected);
        assert_eq!(RunCourse::of_samples(&samples[..15]), None);
    }
}
