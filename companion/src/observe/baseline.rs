//! The last reading of every Envoy, and what was counted since. Pure.

use std::collections::BTreeMap;

use canary_model::weight::Weight;
use canary_rollout::inputs::EnvoyInput;

use super::counters::{Difference, RolloutCounters};
use super::{FleetScrape, RequestTotals, Scrape, aggregate};
use crate::envoy::EnvoyReply;

/// After this many impossible readings in a row, the counting starts again.
const MAX_IMPOSSIBLE: u32 = 10;

/// The last reading of every Envoy.
#[derive(Debug, Default)]
pub struct CounterBaseline {
    envoys: BTreeMap<String, LastReading>,
    totals: RequestTotals,
    /// The weight at the last scrape.
    weight: Option<Weight>,
}

#[derive(Debug)]
struct LastReading {
    counters: RolloutCounters,
    in_force: Option<Weight>,
    impossible: u32,
}

impl CounterBaseline {
    /// Takes the fleet's replies. Only Envoys whose weight in force is `weight` take part in the counts:
    /// the others split their traffic differently.
    pub fn update(&mut self, replies: Vec<EnvoyReply<Scrape>>, weight: Weight) -> FleetScrape {
        let mut fleet = FleetScrape::default();
        let opens = self.weight.replace(weight) != Some(weight);
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
            let takes_part = |before: Option<Weight>| {
                // The first counts at a weight may be mixed; the judge knows that it changed. An Envoy
                // that follows later must not mix into what comes after.
                let in_force = scrape.gauges.in_force;
                in_force == Some(weight) && (opens || before == in_force)
            };
            if let Some(delta) = self.delta(&url, &scrape, takes_part, &mut fleet.notes) {
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
        takes_part: impl Fn(Option<Weight>) -> bool,
        notes: &mut Vec<String>,
    ) -> Option<RolloutCounters> {
        let counters = &scrape.counters;
        let in_force = scrape.gauges.in_force;
        let fresh = || LastReading { counters: counters.clone(), in_force, impossible: 0 };
        let zeros = || Some(counters.zeroed());
        let Some(entry) = self.envoys.get_mut(url) else {
            self.envoys.insert(url.to_owned(), fresh());
            self.totals.update(url, counters, false);
            return zeros();
        };
        let takes_part = takes_part(entry.in_force);
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
                *entry = fresh();
                return None;
            }
        };
        if restarted {
            notes.push(format!("{url}: Envoy has restarted; its counters started again"));
        }
        *entry = fresh();
        self.totals.update(url, counters, restarted);
        if takes_part { Some(delta) } else { zeros() }
    }
}

#[cfg(test)]
mod tests;
