//! One observation per Envoy and tick, shared by all rollouts on it.
//!
//! Each Envoy has a task of its own that looks at it once a tick, so an Envoy that hangs delays nobody:
//! a rollout waits for what its Envoys say until its deadline, and takes what is there. All tasks tick
//! together, so that what a rollout sums over its Envoys was counted at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::scan::{EnvoyScan, EnvoyScanner};
use crate::envoy::{Address, Admin};
use crate::error::Error;

/// Looks at Envoys for everybody who wants to know.
#[derive(Clone, Debug)]
pub struct Observer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// When tick 0 was.
    began: Instant,
    tick: Duration,
    /// The longest that one request may take.
    deadline: Duration,
    watched: Mutex<BTreeMap<String, WatchedEnvoy>>,
}

/// One Envoy that is looked at.
#[derive(Debug)]
struct WatchedEnvoy {
    admin: Admin,
    scans: watch::Receiver<Option<Arc<EnvoyReport>>>,
    /// The rollouts that want to know, each with how many times it asked and whether it wants the
    /// configuration read anew.
    wanted: BTreeMap<String, FeedInterest>,
}

#[derive(Clone, Copy, Debug, Default)]
struct FeedInterest {
    feeds: usize,
    fresh: bool,
}

/// A look at one Envoy, whatever came of it.
#[derive(Debug)]
struct EnvoyReport {
    /// The tick at which it began.
    tick: u64,
    /// For which rollouts it asked.
    rollouts: BTreeSet<String>,
    result: Result<EnvoyScan, Error>,
}

/// What one rollout is told of one Envoy. The Envoy is looked at as long as somebody has a feed of it.
#[derive(Debug)]
pub struct EnvoyFeed {
    shared: Arc<Shared>,
    key: String,
    rollout: String,
    /// Whether the Envoy was looked at before somebody asked for this feed.
    began_before: bool,
    scans: watch::Receiver<Option<Arc<EnvoyReport>>>,
}

/// A look that came in time.
#[derive(Clone, Debug)]
pub struct FeedScrape(Arc<EnvoyReport>);

impl FeedScrape {
    /// What the Envoy said.
    ///
    /// # Errors
    /// Why it couldn't be asked.
    pub fn result(&self) -> Result<&EnvoyScan, Error> {
        self.0.result.as_ref().map_err(Error::again)
    }
}

impl Observer {
    /// An observer that looks once every `tick`; each request to an Envoy ends within `deadline`.
    pub fn new(tick: Duration, deadline: Duration) -> Self {
        let watched = Mutex::new(BTreeMap::new());
        Self { shared: Arc::new(Shared { began: Instant::now(), tick, deadline, watched }) }
    }

    /// Waits for the first tick behind `last`, and gives its number; the first at once. Ticks that passed
    /// meanwhile are left out.
    pub async fn tick_after(&self, last: Option<u64>) -> u64 {
        let now = self.shared.tick_now();
        let Some(last) = last.filter(|last| now <= *last) else { return now };
        tokio::time::sleep_until(self.shared.at(last + 1)).await;
        last + 1
    }

    /// The number of the present tick.
    pub fn tick_now(&self) -> u64 {
        self.shared.tick_now()
    }

    /// Begins to look at an Envoy for a rollout, and gives the Envoy's client, too.
    ///
    /// # Errors
    /// Where no HTTP client can be made of the address.
    pub fn watch(&self, address: &Address, rollout: &str) -> Result<(Admin, EnvoyFeed), Error> {
        let key = format!("{} {}", address.identity(), address.url);
        let mut watched = self.shared.lock();
        let began_before = watched.contains_key(&key);
        if !began_before {
            let admin = Admin::new(address, self.shared.deadline)?;
            let (sender, scans) = watch::channel(None);
            let wanted = BTreeMap::new();
            watched.insert(key.clone(), WatchedEnvoy { admin: admin.clone(), scans, wanted });
            let shared = Arc::clone(&self.shared);
            tokio::spawn(shared.scrape_again_and_again(key.clone(), admin, sender));
        }
        let unknown = || Error::Usage { what: format!("{}: not watched", address.url) };
        let envoy = watched.get_mut(&key).ok_or_else(unknown)?;
        envoy.wanted.entry(rollout.to_owned()).or_default().feeds += 1;
        let feed = EnvoyFeed {
            shared: Arc::clone(&self.shared),
            key,
            rollout: rollout.to_owned(),
            began_before,
            scans: envoy.scans.clone(),
        };
        Ok((envoy.admin.clone(), feed))
    }
}

impl EnvoyFeed {
    /// The first look that began at this tick or later; `None` if there is none by `until`. `fresh` has the
    /// configuration read anew from now on.
    pub async fn scrape(&self, tick: u64, fresh: bool, until: Instant) -> Option<FeedScrape> {
        self.wants(fresh);
        let mut scans = self.scans.clone();
        let good = |scan: &Option<Arc<EnvoyReport>>| {
            scan.as_ref()
                .is_some_and(|scan| scan.tick >= tick && scan.rollouts.contains(&self.rollout))
        };
        let found = tokio::time::timeout_at(until, scans.wait_for(good)).await.ok()?.ok()?;
        found.as_ref().map(|scan| FeedScrape(Arc::clone(scan)))
    }

    /// Whether the Envoy was looked at before this feed, so that a look of the present tick may be older than it.
    pub fn began_before(&self) -> bool {
        self.began_before
    }

    fn wants(&self, fresh: bool) {
        let mut watched = self.shared.lock();
        let wanted = watched.get_mut(&self.key).and_then(|one| one.wanted.get_mut(&self.rollout));
        if let Some(wanted) = wanted {
            wanted.fresh = fresh;
        }
    }
}

impl Drop for EnvoyFeed {
    fn drop(&mut self) {
        let mut watched = self.shared.lock();
        let Some(envoy) = watched.get_mut(&self.key) else { return };
        let Some(wanted) = envoy.wanted.get_mut(&self.rollout) else { return };
        wanted.feeds -= 1;
        if wanted.feeds == 0 {
            envoy.wanted.remove(&self.rollout);
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, WatchedEnvoy>> {
        // Nothing that holds it can panic between two changes that belong together.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, tick: u64) -> Instant {
        self.began + self.tick.mul_f64(tick as f64)
    }

    fn tick_now(&self) -> u64 {
        let passed = self.began.elapsed().as_nanos() / self.tick.as_nanos().max(1);
        u64::try_from(passed).unwrap_or(u64::MAX)
    }

    /// The rollouts that want to know of an Envoy, and whether one wants the configuration read anew;
    /// `None` ends the looking.
    fn wanted(&self, key: &str) -> Option<(BTreeSet<String>, bool)> {
        let mut watched = self.lock();
        let wanted = &watched.get(key)?.wanted;
        if wanted.is_empty() {
            watched.remove(key);
            return None;
        }
        let fresh = wanted.values().any(|wanted| wanted.fresh);
        Some((wanted.keys().cloned().collect(), fresh))
    }

    async fn scrape_again_and_again(
        self: Arc<Self>,
        key: String,
        admin: Admin,
        sender: watch::Sender<Option<Arc<EnvoyReport>>>,
    ) {
        let mut scanner = EnvoyScanner::default();
        // Whoever made this task says what it wants before the task gets its turn.
        while let Some((rollouts, fresh)) = self.wanted(&key) {
            let tick = self.tick_now();
            let result = scanner.scan(&admin, &rollouts, fresh).await;
            sender.send_replace(Some(Arc::new(EnvoyReport { tick, rollouts, result })));
            tokio::time::sleep_until(self.at(self.tick_now().max(tick) + 1)).await;
        }
    }
}
