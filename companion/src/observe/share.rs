//! The canary's measured share of the requests. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use canary_judge::counts::Pair;
use canary_model::weight::Weight;

/// How far back the share goes.
const SPAN: Duration = Duration::from_secs(60);
/// Fewer requests make no share.
const FEWEST: u64 = 30;

/// The canary's share of the compared requests since the weight last changed, at most over the last
/// minute.
#[derive(Clone, Debug, Default)]
pub struct MeasuredShare {
    /// The weight that the counts belong to.
    weight: Option<Weight>,
    counts: VecDeque<(Instant, Pair<u64>)>,
}

impl MeasuredShare {
    /// Adds the requests between the reading before and the one at `at`, under `weight`. The counts that
    /// came while the weight changed belong to neither weight and are left out.
    pub fn add(&mut self, at: Instant, weight: Option<Weight>, requests: Pair<u64>) {
        if self.weight != weight {
            self.weight = weight;
            self.counts.clear();
            return;
        }
        self.counts.push_back((at, requests));
        while self.counts.front().is_some_and(|(then, _)| at.duration_since(*then) > SPAN) {
            self.counts.pop_front();
        }
    }

    /// The share, 0 to 1; `None` below 30 requests.
    pub fn share(&self) -> Option<f64> {
        let sum = |of: fn(&Pair<u64>) -> u64| -> u64 {
            self.counts.iter().map(|(_, requests)| of(requests)).sum()
        };
        let (stable, canary) = (sum(|pair| pair.stable), sum(|pair| pair.canary));
        let all = stable.saturating_add(canary);
        (all >= FEWEST).then(|| canary as f64 / all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(percent: &str) -> Option<Weight> {
        Some(Weight::parse_percent(percent).unwrap())
    }

    fn counts(stable: u64, canary: u64) -> Pair<u64> {
        Pair { stable, canary }
    }

    #[test]
    fn only_what_came_since_the_weight_changed() {
        let (mut share, begin) = (MeasuredShare::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        share.add(at(0), weight("5"), counts(500, 500));
        assert_eq!(share.share(), None, "the first counts belong to no weight");
        share.add(at(1), weight("5"), counts(20, 9));
        assert_eq!(share.share(), None, "29 requests");
        share.add(at(2), weight("5"), counts(8, 3));
        assert_eq!(share.share(), Some(0.3));
        share.add(at(3), weight("100"), counts(50, 50));
        assert_eq!(share.share(), None, "mixed");
        share.add(at(4), weight("100"), counts(0, 100));
        assert_eq!(share.share(), Some(1.0));
    }

    #[test]
    fn at_most_the_last_minute() {
        let (mut share, begin) = (MeasuredShare::default(), Instant::now());
        share.add(begin, weight("50"), counts(0, 0));
        share.add(begin + Duration::from_secs(1), weight("50"), counts(100, 0));
        share.add(begin + Duration::from_secs(61), weight("50"), counts(100, 100));
        assert_eq!(share.share(), Some(1.0 / 3.0));
        share.add(begin + Duration::from_secs(62), weight("50"), counts(0, 0));
        assert_eq!(share.share(), Some(0.5));
    }
}
