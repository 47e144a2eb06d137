//! Scraping a whole fleet again and again: every Envoy at once, each within a deadline.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use canary_judge::counts::Pair;
use canary_judge::observation::Observation;
use canary_rollout::inputs::EnvoyInput;

use super::scrape::{Known, scrape_with};
use super::{CounterBaseline, ExpectedWeights, RequestTotals};
use crate::envoy::{EnvoyUrl, Fleet};
use crate::error::Error;

/// How often names are resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// How long a configuration that was read is good for, unless Envoy's statistics say that it changed.
const CONFIGURATION_FOR: Duration = Duration::from_secs(10);

/// The result of one scrape of the fleet.
#[derive(Debug, Default)]
pub struct FleetScrape {
    /// Every Envoy as it is now.
    pub envoys: BTreeMap<String, EnvoyInput>,
    /// What was counted since the last scrape; `None` if nothing could be read.
    pub observation: Option<Observation>,
    /// The compared requests among it, of both roles.
    pub requests: Option<Pair<u64>>,
    /// Requests and failures of every version so far.
    pub totals: RequestTotals,
    /// The errors of the Envoys that couldn't be asked.
    pub errors: Vec<Error>,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// Scrapes a fleet again and again.
#[derive(Debug)]
pub struct FleetScraper {
    urls: Vec<EnvoyUrl>,
    rollout: String,
    deadline: Duration,
    fleet: Fleet,
    resolved: Instant,
    baseline: CounterBaseline,
    known: BTreeMap<String, Known>,
}

impl FleetScraper {
    /// Resolves the URLs; every request then ends within `deadline`.
    pub async fn new(urls: Vec<EnvoyUrl>, rollout: &str, deadline: Duration) -> Self {
        let fleet = Fleet::resolve(&urls, deadline).await;
        Self {
            urls,
            rollout: rollout.to_owned(),
            deadline,
            fleet,
            resolved: Instant::now(),
            baseline: CounterBaseline::default(),
            known: BTreeMap::new(),
        }
    }

    /// The Envoys that are scraped, as they were resolved last.
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Scrapes every Envoy. Only those whose weight in force is the expected one take part in the counts.
    /// Before the first weight (`starting`), the configuration and the clusters' endpoints are read each
    /// time; later the configuration, when it changed and now and then.
    pub async fn scrape(&mut self, expected: ExpectedWeights, starting: bool) -> FleetScrape {
        self.resolve().await;
        let (rollout, known) = (&self.rollout, &self.known);
        let fresh = |known: &&Known| !starting && known.age() < CONFIGURATION_FOR;
        let replies = self
            .fleet
            .each(async |admin| {
                let known = known.get(admin.url()).filter(fresh);
                scrape_with(admin, rollout, known, starting).await
            })
            .await;
        let mut scrapes = Vec::with_capacity(replies.len());
        for reply in replies {
            let url = reply.url.clone();
            scrapes.push(reply.map(|(scrape, known)| {
                self.known.insert(url, known);
                scrape
            }));
        }
        self.baseline.update(scrapes, expected, Instant::now())
    }

    /// Resolves names again from time to time. Names that can't be resolved now keep the Envoys that
    /// they stood for: a failing name server doesn't mean that no Envoy serves.
    async fn resolve(&mut self) {
        let names = self.urls.iter().any(EnvoyUrl::is_name);
        if !names || self.resolved.elapsed() < RESOLVE_EVERY {
            return;
        }
        let fleet = Fleet::resolve(&self.urls, self.deadline).await;
        if !fleet.is_unresolved() || self.fleet.is_unresolved() {
            self.fleet = fleet;
        }
        self.resolved = Instant::now();
    }
}
