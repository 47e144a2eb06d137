//! Kayenta's rule for one metric, with its defaults: a Mann-Whitney test of a value a minute, at a
//! confidence of 98 %, asymptotic with ties and continuity as in R's `wilcox.test`. A metric is high where
//! the confidence interval of the shift lies above a quarter of its Hodges-Lehmann estimate; outliers
//! beyond three interquartile ranges (or the outer percentiles) are taken out first. Judged each ten
//! minutes on all values so far.

use canary_judge::counts::Pair;

use crate::bench::report::quantile;

const JUDGED_EACH: usize = 10;
/// The normal distribution's quantile at 99 %: both ends of a confidence of 98 %.
const Z: f64 = 2.326_347_874;
const TOLERANCE: f64 = 0.25;

/// The values so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Kayenta {
    /// It does not take part.
    pub(super) absent: bool,
    values: Pair<Vec<f64>>,
    minutes: usize,
}

impl Kayenta {
    pub(super) fn minute(&mut self, values: Pair<Option<f64>>) -> bool {
        if self.absent {
            return false;
        }
        self.values.canary.extend(values.canary);
        self.values.stable.extend(values.stable);
        self.minutes += 1;
        self.minutes.is_multiple_of(JUDGED_EACH) && self.high()
    }

    fn high(&self) -> bool {
        let [canary, stable] = [&self.values.canary, &self.values.stable].map(|v| trimmed(v));
        if canary.is_empty() || stable.is_empty() || canary == stable {
            return false;
        }
        // The interval's lower end is where the statistic falls to Z, and it falls with the shift.
        statistic(&canary, &stable, 0.0).is_some_and(|z| z > Z) && {
            let bound = TOLERANCE * estimate(&canary, &stable).abs();
            statistic(&canary, &stable, bound).is_some_and(|z| z > Z)
        }
    }
}

/// The values, sorted and without outliers.
fn trimmed(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return sorted;
    }
    let at = |share| quantile(&sorted, share);
    let far = 3.0 * (at(0.75) - at(0.25));
    let (low, high) = (at(0.01).min(at(0.25) - far), at(0.99).max(at(0.75) + far));
    sorted.retain(|value| (low..=high).contains(value));
    sorted
}

/// The standardised rank sum of the canary's values less `shift`; `None` where all are tied.
fn statistic(canary: &[f64], stable: &[f64], shift: f64) -> Option<f64> {
    let shifted = canary.iter().map(|value| (value - shift, true));
    let mut all: Vec<_> = shifted.chain(stable.iter().map(|value| (*value, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut ranks, mut ties, mut before) = (0.0, 0.0, 0.0);
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let size = equal.len() as f64;
        let rank = before + 0.5 * (size + 1.0);
        ranks += rank * equal.iter().filter(|(_, of_canary)| *of_canary).count() as f64;
        ties += size.powi(3) - size;
        before += size;
    }
    let (x, y) = (canary.len() as f64, stable.len() as f64);
    let centred = ranks - 0.5 * x * (x + 1.0) - 0.5 * x * y;
    let variance = x * y / 12.0 * (x + y + 1.0 - ties / ((x + y) * (x + y - 1.0)));
    let continuity = if centred == 0.0 { 0.0 } else { 0.5 * centred.signum() };
    (variance > 0.0).then(|| (centred - continuity) / variance.sqrt())
}

/// The Hodges-Lehmann estimate of the shift: the median of all differences.
fn estimate(canary: &[f64], stable: &[f64]) -> f64 {
    let mut differences: Vec<f64> =
        canary.iter().flat_map(|c| stable.iter().map(move |s| c - s)).collect();
    differences.sort_by(f64::total_cmp);
    quantile(&differences, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(canary: [f64; 10], stable: [f64; 10]) -> bool {
        let mut kayenta = Kayenta::default();
        let minutes = canary.into_iter().zip(stable);
        minutes.map(|(c, s)| kayenta.minute(Pair { stable: Some(s), canary: Some(c) })).fold(
            false,
            |before, high| {
                assert!(!before, "only the tenth minute is judged");
                high
            },
        )
    }

    #[test]
    fn as_r_computes_it() {
        // wilcox.test(c(1.1,2.2,3.3,4.4), c(0.5,1.5,2.5,2.5), exact = FALSE): W = 11, p = 0.4678.
        let z = statistic(&[1.1, 2.2, 3.3, 4.4], &[0.5, 1.5, 2.5, 2.5], 0.0).unwrap();
        assert!((z - 0.726_02).abs() < 1e-4, "{z}");
        assert_eq!(statistic(&[1.0], &[1.0], 0.0), None);
        assert_eq!(estimate(&[3.0, 5.0], &[1.0, 2.0]), 2.5);
    }

    #[test]
    fn clearly_higher_is_high() {
        let stable = [1.0, 1.1, 0.9, 1.2, 0.8, 1.0, 1.05, 0.95, 1.15, 0.85];
        assert!(judged(stable.map(|value| value + 2.0), stable));
        assert!(!judged(stable, stable));
        assert!(!judged(stable.map(|value| value - 2.0), stable), "lower is no failure");
    }
}
