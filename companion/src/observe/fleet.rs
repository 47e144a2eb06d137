//! A rollout's view of its fleet, again and again: what the shared observer saw of every Envoy, each
//! within a deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use canary_judge::counts::Pair;
use canary_judge::observation::Observation;
use canary_rollout::inputs::EnvoyInput;
use futures_util::future::join_all;

use super::observer::{EnvoyFeed, FeedScrape, Observer};
use super::scrape::{Scrape, count_endpoints};
use super::{CounterBaseline, ExpectedWeights, RequestTotals};
use crate::envoy::{Admin, EnvoyReply, EnvoyUrl, Fleet, Located, locate};
use crate::error::Error;

/// How often names are resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// The longest that a request to one Envoy may take, whatever the command line says: the Envoys are
/// looked at every second.
pub const SCRAPE_WITHIN: Duration = Duration::from_secs(2);
/// How long an Envoy that didn't answer in time at the last look is waited for at the next one: long enough for
/// one that is well again, and too short to slow down the looks at the others.
const LATE_AGAIN_WITHIN: Duration = Duration::from_millis(250);
/// How many ticks ago the look at such an Envoy may have begun. One that is always slow, but not too slow, has
/// answered in this time, and takes part again.
const LATE_MAY_BE_OLD: u64 = 2;

/// The longest that a request to one Envoy of a rollout may take: within `limit`, and short enough for the
/// lease to be renewed in time.
pub fn deadline_for(limit: Duration, lease_seconds: u32) -> Duration {
    limit.min(SCRAPE_WITHIN).min(Duration::from_secs(lease_seconds.into()) / 6)
}

/// The result of one look at the fleet.
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

/// Looks at a rollout's fleet again and again.
#[derive(Debug)]
pub struct FleetScraper {
    observer: Observer,
    urls: Vec<EnvoyUrl>,
    rollout: String,
    deadline: Duration,
    fleet: Fleet,
    feeds: BTreeMap<String, EnvoyFeed>,
    /// The Envoys that didn't answer in time, or with an error, at the last look.
    late: BTreeSet<String>,
    resolved: Instant,
    /// The tick of the last look.
    last: Option<u64>,
    baseline: CounterBaseline,
}

impl FleetScraper {
    /// Resolves the URLs. Every request to an Envoy ends within `deadline`, and the first look begins after this.
    pub async fn new(
        observer: Observer,
        urls: Vec<EnvoyUrl>,
        rollout: &str,
        deadline: Duration,
    ) -> Self {
        let mut scraper = Self {
            observer,
            urls,
            rollout: rollout.to_owned(),
            deadline,
            fleet: Fleet::from_places(Vec::new(), |_| Err(Error::NoEnvoy)),
            feeds: BTreeMap::new(),
            late: BTreeSet::new(),
            resolved: Instant::now(),
            last: None,
            baseline: CounterBaseline::default(),
        };
        let places = locate(&scraper.urls, deadline).await;
        scraper.watch(places);
        // What was seen before now isn't what is there now: an owner may have let go meanwhile.
        if scraper.feeds.values().any(EnvoyFeed::began_before) {
            scraper.last = Some(scraper.observer.tick_now());
        }
        scraper
    }

    /// The Envoys that are looked at, as they were resolved last.
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Looks at every Envoy at the next tick. Only those whose weight in force is the expected one take part
    /// in the counts. Before the first weight (`starting`), the configuration and the clusters' endpoints
    /// are read each time; later the configuration, when it changed and now and then.
    pub async fn scrape(&mut self, expected: ExpectedWeights, starting: bool) -> FleetScrape {
        self.resolve().await;
        let tick = self.observer.tick_after(self.last).await;
        // Two requests come one after the other; together they take as long as one may, at most.
        let patience = (2 * self.deadline).min(SCRAPE_WITHIN);
        let looks = self.looks(tick, starting, patience).await;
        let rollout = &self.rollout;
        let replies = self.fleet.each(async |admin| {
            let look = looks.get(admin.url()).ok_or_else(|| late(admin, patience))?;
            let mut scrape: Scrape = look.result()?.scrape(rollout);
            if starting && let Some(configured) = &scrape.configuration.in_force {
                scrape.endpoints = count_endpoints(admin, configured).await;
            }
            Ok(scrape)
        });
        let replies: Vec<EnvoyReply<Scrape>> = replies.await;
        self.last = Some(tick);
        self.baseline.update(replies, expected, Instant::now())
    }

    /// What each Envoy says that answers in time.
    async fn looks(
        &mut self,
        tick: u64,
        starting: bool,
        patience: Duration,
    ) -> BTreeMap<String, FeedScrape> {
        let now = tokio::time::Instant::now();
        let looks = self.feeds.iter().map(async |(url, feed)| {
            let (tick, patience) = if self.late.contains(url) {
                (tick.saturating_sub(LATE_MAY_BE_OLD), patience.min(LATE_AGAIN_WITHIN))
            } else {
                (tick, patience)
            };
            Some((url.clone(), feed.scrape(tick, starting, now + patience).await?))
        });
        let looks: BTreeMap<String, FeedScrape> =
            join_all(looks).await.into_iter().flatten().collect();
        let answered = |url: &String| looks.get(url).is_some_and(|look| look.result().is_ok());
        self.late = self.feeds.keys().filter(|url| !answered(url)).cloned().collect();
        looks
    }

    /// Resolves names again from time to time. Names that can't be resolved now keep the Envoys that
    /// they stood for: a failing name server doesn't mean that no Envoy serves.
    async fn resolve(&mut self) {
        let names = self.urls.iter().any(EnvoyUrl::is_name);
        if !names || self.resolved.elapsed() < RESOLVE_EVERY {
            return;
        }
        let places = locate(&self.urls, self.deadline).await;
        let whole = places.iter().all(|place| place.address.is_ok());
        if whole || self.fleet.is_unresolved() {
            self.watch(places);
        }
        self.resolved = Instant::now();
    }

    /// Looks at these Envoys from now on. Those that it looks at already go on without a gap.
    fn watch(&mut self, places: Vec<Located>) {
        let mut feeds = BTreeMap::new();
        let (observer, rollout, deadline) = (&self.observer, &self.rollout, self.deadline);
        self.fleet = Fleet::from_places(places, |address| {
            let (admin, feed) = observer.watch(address, rollout)?;
            feeds.insert(address.url.clone(), feed);
            Ok(admin.within(deadline))
        });
        self.feeds = feeds;
    }
}

fn late(admin: &Admin, patience: Duration) -> Error {
    let (url, request) = (admin.url().to_owned(), "/stats".to_owned());
    Error::NoAnswer { url, request, seconds: patience.as_secs_f64() }
}
