//! Which weights an Envoy had in force when: what it counts at an age belongs to an earlier one. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use canary_model::weight::Weight;

/// The largest age at which a filter counts (`outcome_age`), and some slack.
const LONGEST: Duration = Duration::from_secs(660);

/// The weights that the rollout expects every Envoy to have in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpectedWeights {
    /// The weight expected at present.
    pub now: Weight,
    /// The age at which the filters count outcomes.
    pub age: Duration,
    /// The one that long ago; `None` if that is before the rollout's first weight.
    pub at_age: Option<Weight>,
}

/// The time between two scrapes.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    /// When the scrape before was.
    pub from: Instant,
    /// When this scrape was.
    pub to: Instant,
}

/// What an Envoy's gauge said at each scrape, oldest first.
#[derive(Clone, Debug, Default)]
pub struct WeightsInForce(VecDeque<(Instant, Option<Weight>)>);

impl WeightsInForce {
    /// Adds what the gauge says at a scrape.
    pub fn add(&mut self, at: Instant, weight: Option<Weight>) {
        self.0.push_back((at, weight));
        while self.0.front().is_some_and(|(then, _)| at.duration_since(*then) > LONGEST) {
            self.0.pop_front();
        }
    }

    /// Whether what this Envoy counted at the age in a period was assigned under the expected weight, as
    /// far as its gauge was read then. While the expected weight changes (`opens`) it may have followed
    /// in the middle of it.
    pub fn fit(&self, period: Period, expected: &ExpectedWeights, opens: bool) -> bool {
        let Some(weight) = expected.at_age else { return true };
        // The gauge is read once in a period, so the readings on either side count, too.
        let slack = period.to.duration_since(period.from);
        let (from, to) = (period.from.checked_sub(slack), period.to.checked_add(slack));
        let within = |(at, _): &&(Instant, Option<Weight>)| {
            let aged = *at + expected.age;
            from.is_none_or(|from| aged >= from) && to.is_none_or(|to| aged <= to)
        };
        let mut weights = self.0.iter().filter(within).map(|(_, weight)| *weight).peekable();
        if opens {
            return weights.peek().is_none() || weights.any(|one| one == Some(weight));
        }
        weights.all(|one| one == Some(weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_assigned_under_another_weight_does_not_fit() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let weight = |percent: u32| Weight::from_ppm(percent * 10_000).unwrap();
        let mut in_force = WeightsInForce::default();
        // It is at 5 %, restarts at 10, is back at 12, and follows to 25 % at 20.
        for second in 0..60 {
            let percent = match second {
                10 | 11 => 0,
                20.. => 25,
                _ => 5,
            };
            in_force.add(at(second), Some(weight(percent)));
        }
        let fits = |second: u64, percent: u32, opens: bool| {
            let age = Duration::from_secs(30);
            let expected = ExpectedWeights { age, at_age: Some(weight(percent)), now: weight(25) };
            in_force.fit(Period { from: at(second - 1), to: at(second) }, &expected, opens)
        };
        assert!(fits(38, 5, false) && fits(44, 5, false));
        for second in 40..43 {
            assert!(!fits(second, 5, false), "assigned at {}", second - 30);
        }
        assert!(!fits(47, 25, false) && !fits(47, 25, true), "it follows late");
        assert!(fits(50, 25, true) && !fits(50, 25, false), "it follows in time");
        assert!(fits(53, 25, false));
        let before = ExpectedWeights::default();
        let period = Period { from: at(1), to: at(2) };
        assert!(in_force.fit(period, &before, false), "nothing is counted then");
        let unread = Period { from: at(900), to: at(901) };
        let expected = ExpectedWeights { at_age: Some(weight(5)), ..before };
        assert!(in_force.fit(unread, &expected, false) && in_force.fit(unread, &expected, true));
    }
}
