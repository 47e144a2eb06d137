//! The last reading of every Envoy, and what was counted since. Pure.

use std::collections::BTreeMap;
use std::time::Instant;

use canary_model::weight::Weight;
use canary_rollout::inputs::EnvoyInput;

use super::counters::{Difference, RolloutCounters};
use super::in_force::{ExpectedWeights, Period, WeightsInForce};
use super::{FleetScrape, RequestTotals, Scrape, aggregate};
use crate::envoy::EnvoyReply;

/// After this many impossible readings in a row, the counting starts again.
const MAX_IMPOSSIBLE: u32 = 10;

/// The last reading of every Envoy.
#[derive(Debug, Default)]
pub struct CounterBaseline {
    envoys: BTreeMap<String, LastReading>,
    totals: RequestTotals,
    /// What was expected at the last two scrapes, the last one first.
    expected: [Option<ExpectedWeights>; 2],
    /// When the last scrape was.
    last: Option<Instant>,
}

/// Whether an Envoy takes part in what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TakesPart {
    /// In what was assigned `outcome_age` ago.
    at_age: bool,
    /// In what is counted at once or at a request's end.
    at_once: bool,
}

#[derive(Debug)]
struct LastReading {
    counters: RolloutCounters,
    in_force: Option<Weight>,
    weights: WeightsInForce,
    impossible: u32,
}

impl CounterBaseline {
    /// Takes the fleet's replies, which came at `at`. Only Envoys whose weight in force is the expected one
    /// take part in the counts, and in what is counted at the age those whose weight was: the others split
    /// their traffic differently.
    pub fn update(
        &mut self,
        replies: Vec<EnvoyReply<Scrape>>,
        expected: ExpectedWeights,
        at: Instant,
    ) -> FleetScrape {
        let mut fleet = FleetScrape::default();
        let (weight, before) = (expected.now, self.expected);
        self.expected = [Some(expected), before[0]];
        let opens = before[0].map(|before| before.now) != Some(weight);
        let at_age = |before: &Option<ExpectedWeights>| before.map(|before| before.at_age);
        let opens_at_age = before.iter().any(|one| at_age(one) != Some(expected.at_age));
        let period = Period { from: self.last.replace(at).unwrap_or(at), to: at };
        let mut sum: Option<RolloutCounters> = None;
        // An Envoy that has left the fleet starts again should it come back.
        self.envoys.retain(|url, _| replies.iter().any(|reply| reply.url == *url));
        for EnvoyReply { url, result } in replies {
            let scrape = match result {
                Ok(scrape) => scrape,
                Err(error) => {
                    fleet.envoys.insert(url, EnvoyInput::Unreachable(error.to_string()));
                    fleet.errors.push(error);
                    continue;
                }
            };
            let takes_part = |before: Option<Weight>, weights: &WeightsInForce| {
                // The first counts at a weight may be mixed; the judge knows that it changed. An Envoy
                // that follows later must not mix into what comes after.
                let in_force = scrape.gauges.in_force;
                TakesPart {
                    at_age: weights.fit(period, &expected, opens_at_age),
                    at_once: in_force == Some(weight) && (opens || before == in_force),
                }
            };
            if let Some(delta) = self.delta(&url, &scrape, at, takes_part, &mut fleet.notes) {
                sum.get_or_insert_default().merge(&delta);
            }
            fleet.envoys.insert(url, EnvoyInput::Reached(Box::new(scrape.input())));
        }
        fleet.requests = sum.as_ref().map(RolloutCounters::requests);
        fleet.totals = self.totals.clone();
        fleet.observation = sum.as_ref().map(aggregate::observation);
        fleet
    }

    /// What one Envoy counted since its last reading: zeros at its first reading and if it doesn't take
    /// part; `None` if the reading is impossible.
    fn delta(
        &mut self,
        url: &str,
        scrape: &Scrape,
        at: Instant,
        takes_part: impl Fn(Option<Weight>, &WeightsInForce) -> TakesPart,
        notes: &mut Vec<String>,
    ) -> Option<RolloutCounters> {
        let counters = &scrape.counters;
        let in_force = scrape.gauges.in_force;
        let fresh =
            |weights| LastReading { counters: counters.clone(), in_force, weights, impossible: 0 };
        let Some(entry) = self.envoys.get_mut(url) else {
            let mut weights = WeightsInForce::default();
            weights.add(at, in_force);
            self.envoys.insert(url.to_owned(), fresh(weights));
            self.totals.update(url, counters, false);
            return Some(counters.zeroed());
        };
        entry.weights.add(at, in_force);
        let TakesPart { at_age, at_once } = takes_part(entry.in_force, &entry.weights);
        let (delta, restarted) = match counters.since(&entry.counters) {
            Difference::Counted(delta) => (delta, false),
            Difference::Restarted(delta) => (delta, true),
            Difference::Inconsistent if entry.impossible < MAX_IMPOSSIBLE => {
                entry.impossible += 1;
                return None;
            }
            Difference::Inconsistent => {
                notes.push(format!(
                    "{url}: its counters contradict each other; counting starts again"
                ));
                *entry = fresh(std::mem::take(&mut entry.weights));
                return None;
            }
        };
        if restarted {
            notes.push(format!("{url}: Envoy has restarted; its counters started again"));
        }
        *entry = fresh(std::mem::take(&mut entry.weights));
        self.totals.update(url, counters, restarted);
        Some(delta.keeping(at_age, at_once))
    }
}

#[cfg(test)]
mod tests;
