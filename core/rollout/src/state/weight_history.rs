//! Which weight was set when: what is counted at an age was assigned under an earlier weight.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use canary_model::weight::Weight;

/// The largest age at which a filter counts outcomes (`outcome_age`), and some slack.
const LONGEST_AGE: Duration = Duration::from_secs(660);

/// The weights that the rollout has set in this epoch, with the times on its clock, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WeightHistory(VecDeque<(Duration, Weight)>);

impl WeightHistory {
    /// From `now` on this weight is set. Times never go back.
    pub(crate) fn set(&mut self, now: Duration, weight: Weight) {
        if self.0.back().is_some_and(|(_, last)| *last == weight) {
            return;
        }
        self.0.push_back((now, weight));
        let horizon = now.saturating_sub(LONGEST_AGE);
        // The last one before the horizon still held at it.
        while self.0.get(1).is_some_and(|(since, _)| *since <= horizon) {
            self.0.pop_front();
        }
    }

    /// The weight that was set `age` before `now`; `None` if that is before the epoch's first weight.
    pub(crate) fn before(&self, now: Duration, age: Duration) -> Option<Weight> {
        let then = now.checked_sub(age)?;
        let held = self.0.iter().rev().find(|(since, _)| *since <= then);
        held.map(|(_, weight)| *weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(percent: u32) -> Weight {
        Weight::from_ppm(percent * 10_000).unwrap()
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_weight_of_an_earlier_time() {
        let mut history = WeightHistory::default();
        history.set(at(10), weight(5));
        history.set(at(20), weight(5));
        history.set(at(40), weight(25));
        assert_eq!(history.before(at(29), at(20)), None, "before the first weight");
        assert_eq!(history.before(at(5), at(20)), None);
        assert_eq!(history.before(at(30), at(20)), Some(weight(5)));
        assert_eq!(history.before(at(59), at(20)), Some(weight(5)));
        assert_eq!(history.before(at(60), at(20)), Some(weight(25)));
        assert_eq!(history.before(at(40), Duration::ZERO), Some(weight(25)));
    }

    #[test]
    fn what_no_age_reaches_is_forgotten() {
        let mut history = WeightHistory::default();
        for step in 0..100 {
            history.set(at(step * 100), weight(1 + u32::try_from(step).unwrap() % 50));
        }
        assert!(history.0.len() < 10, "{history:?}");
        assert_eq!(history.before(at(9_900), at(600)), Some(weight(1 + 93 % 50)));
    }
}
