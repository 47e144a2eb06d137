//! The world around a controller: Envoys with a runtime, a filter and counters, and traffic.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use canary_judge::counts::{Pair, Trials};
use canary_judge::observation::Observation;
use canary_model::role::Role;
use canary_model::weight::Weight;
use canary_rollout::inputs::{EnvoyInput, EnvoyReading};
use canary_rollout::state::WeightTarget;
use canary_rollout::versions::in_force;

/// Everything but the controller.
pub(crate) struct World {
    /// Seconds since the beginning.
    pub(crate) now: u64,
    pub(crate) envoys: BTreeMap<String, Proxy>,
    /// Requests a second of the whole fleet.
    pub(crate) rate: f64,
    /// The share of requests that fail, by version.
    pub(crate) failing: Pair<f64>,
    /// Whether statistics can be read.
    pub(crate) readable: bool,
}

/// One Envoy with its runtime, filter and counters.
#[derive(Clone, Default)]
pub(crate) struct Proxy {
    /// Why it can't be reached.
    pub(crate) down: Option<String>,
    pub(crate) runtime: Runtime,
    /// What the filter knows of it.
    filter: Runtime,
    /// The lease that the filter saw last, and when it runs out.
    lease: Option<(String, u64)>,
    tripped: Option<Option<u64>>,
    pub(crate) counters: Pair<Trials>,
    /// What was counted at the end of each second before.
    earlier: VecDeque<Pair<Trials>>,
    pub(crate) configuration: Configuration,
    /// Parts of requests and failures that are not whole yet.
    rest: Pair<[f64; 2]>,
}

/// What an Envoy's configuration says.
#[derive(Clone)]
pub(crate) struct Configuration {
    pub(crate) stable: String,
    pub(crate) canary: String,
    pub(crate) signals: Option<BTreeSet<String>>,
    pub(crate) value_signals: Option<BTreeSet<String>>,
    pub(crate) timings: Option<BTreeSet<String>>,
    pub(crate) endpoints: Pair<Option<u64>>,
    pub(crate) refused: Option<String>,
    /// The age at which requests are judged, in seconds; `None`: an older filter.
    pub(crate) outcome_age: Option<u64>,
}

impl Default for Configuration {
    fn default() -> Self {
        let endpoints = Pair { stable: Some(1), canary: Some(1) };
        Self {
            stable: "1".to_owned(),
            canary: "2".to_owned(),
            signals: Some(BTreeSet::new()),
            value_signals: Some(BTreeSet::new()),
            timings: Some(BTreeSet::new()),
            endpoints,
            refused: None,
            outcome_age: Some(0),
        }
    }
}

/// The runtime's keys of the rollout.
#[derive(Clone, Default)]
pub(crate) struct Runtime {
    pub(crate) weight: Option<Weight>,
    pub(crate) version: Option<String>,
    pub(crate) enabled: Option<bool>,
    pub(crate) lease: Option<(u64, String)>,
    pub(crate) epoch: Option<u64>,
    pub(crate) window: Option<u64>,
    pub(crate) owner: Option<String>,
    pub(crate) labels: Pair<Option<String>>,
}

impl World {
    pub(crate) fn new(envoys: &[&str]) -> Self {
        let envoys = envoys.iter().map(|name| ((*name).to_owned(), Proxy::default()));
        Self {
            now: 0,
            envoys: envoys.collect(),
            rate: 1_000.0,
            failing: Pair { stable: 0.001, canary: 0.001 },
            readable: true,
        }
    }

    /// A second passes: filters look at their runtime, then requests come.
    pub(crate) fn pass(&mut self) {
        self.now += 1;
        let share = self.rate / self.envoys.len() as f64;
        for proxy in self.envoys.values_mut() {
            proxy.poll(self.now);
            proxy.serve(share, self.failing, self.now);
        }
    }

    pub(crate) fn proxy(&mut self, name: &str) -> &mut Proxy {
        self.envoys.get_mut(name).unwrap_or_else(|| panic!("no Envoy {name}"))
    }

    pub(crate) fn write(&mut self, name: &str, target: &WeightTarget, nonce: &str) {
        let proxy = self.proxy(name);
        if proxy.down.is_some() {
            return;
        }
        proxy.runtime = Runtime {
            weight: Some(target.weight),
            version: target.version.clone(),
            enabled: Some(target.enabled),
            lease: target.lease_seconds.map(|seconds| (seconds.into(), nonce.to_owned())),
            epoch: Some(target.epoch),
            window: Some(target.window),
            owner: target.owner.clone(),
            labels: Pair {
                stable: target
                    .labels
                    .stable
                    .clone()
                    .or_else(|| proxy.runtime.labels.stable.clone()),
                canary: target
                    .labels
                    .canary
                    .clone()
                    .or_else(|| proxy.runtime.labels.canary.clone()),
            },
        };
    }

    pub(crate) fn look(&self) -> BTreeMap<String, EnvoyInput> {
        let look = |proxy: &Proxy| match &proxy.down {
            Some(why) => EnvoyInput::Unreachable(why.clone()),
            None => EnvoyInput::Reached(Box::new(proxy.shown(self.now))),
        };
        self.envoys.iter().map(|(name, proxy)| (name.clone(), look(proxy))).collect()
    }

    /// The counters of outcomes at their age, as far as they can be read.
    pub(crate) fn counters(&self) -> BTreeMap<String, Pair<Trials>> {
        let up = self.envoys.iter().filter(|(_, proxy)| self.readable && proxy.down.is_none());
        up.map(|(name, proxy)| (name.clone(), proxy.judged())).collect()
    }

    /// The largest weight in force anywhere.
    pub(crate) fn in_force(&self) -> Weight {
        let weights = self.envoys.values().map(|proxy| proxy.in_force(self.now));
        weights.max().unwrap_or_default()
    }
}

/// Counts since a baseline, as one line; `None` where nothing could be read.
pub(crate) fn line(
    now: &BTreeMap<String, Pair<Trials>>,
    before: &BTreeMap<String, Pair<Trials>>,
) -> Option<Observation> {
    if now.is_empty() {
        return None;
    }
    let mut observation = Observation::default();
    for role in Role::ALL {
        let sum = |field: fn(&Trials) -> u64| {
            let since = |(name, pair): (&String, &Pair<Trials>)| {
                let old = before.get(name).map_or(0, |old| field(old.get(role)));
                // Another age may bring back an earlier count.
                field(pair.get(role)).saturating_sub(old)
            };
            Some(now.iter().map(since).sum())
        };
        let counts = observation.roles.get_mut(role);
        (counts.total, counts.failure) = (sum(|trials| trials.trials), sum(|trials| trials.events));
    }
    Some(observation)
}

impl Proxy {
    /// A restart: the runtime and the filter's memory are gone. That its counters begin at zero is
    /// evened out before the controller sees them.
    pub(crate) fn restart(&mut self) {
        let (counters, configuration) = (self.counters, self.configuration.clone());
        let earlier = std::mem::take(&mut self.earlier);
        *self = Self { counters, configuration, earlier, ..Self::default() };
    }

    /// The counters as they were `outcome_age` ago.
    fn judged(&self) -> Pair<Trials> {
        let age = usize::try_from(self.configuration.outcome_age.unwrap_or(0)).unwrap();
        let Some(before) = age.checked_sub(1) else { return self.counters };
        self.earlier.iter().rev().nth(before).copied().unwrap_or_default()
    }

    /// The guard trips in the filter's present epoch.
    pub(crate) fn trip(&mut self) {
        self.tripped = Some(self.filter.epoch);
    }

    fn poll(&mut self, now: u64) {
        self.filter = self.runtime.clone();
        self.lease = match (&self.filter.lease, self.lease.take()) {
            (None, _) => None,
            (Some((_, nonce)), Some(held)) if held.0 == *nonce => Some(held),
            (Some((seconds, nonce)), _) => Some((nonce.clone(), now + seconds)),
        };
    }

    fn tripped(&self) -> bool {
        self.tripped == Some(self.filter.epoch)
    }

    fn lapsed(&self, now: u64) -> bool {
        self.lease.as_ref().is_some_and(|(_, end)| now >= *end)
    }

    pub(crate) fn in_force(&self, now: u64) -> Weight {
        let switched_off = self.runtime.enabled == Some(false);
        if self.tripped() || self.lapsed(now) || switched_off {
            return Weight::ZERO;
        }
        self.filter_weight()
    }

    /// What the filter makes of the runtime's weight: 0 if it is another version's.
    fn filter_weight(&self) -> Weight {
        let version = self.filter.version.as_ref();
        let canary = self.versions(&self.filter).canary;
        let ours = version.is_none_or(|version| *version == canary);
        self.filter.weight.filter(|_| ours).unwrap_or_default()
    }

    /// The versions in force, as a runtime says.
    pub(crate) fn versions(&self, runtime: &Runtime) -> Pair<String> {
        let Configuration { stable, canary, .. } = &self.configuration;
        Pair {
            stable: in_force(stable, runtime.labels.stable.as_deref()),
            canary: in_force(canary, runtime.labels.canary.as_deref()),
        }
    }

    fn shown(&self, now: u64) -> EnvoyReading {
        let versions = self.versions(&self.runtime).map(Some);
        let Runtime { weight, version, enabled, lease, epoch, window, owner, labels } =
            self.runtime.clone();
        let Configuration {
            stable,
            canary,
            signals,
            value_signals,
            timings,
            endpoints,
            refused,
            outcome_age,
        } = self.configuration.clone();
        let gauge =
            if self.tripped() || self.lapsed(now) { Weight::ZERO } else { self.filter_weight() };
        EnvoyReading {
            weight,
            weight_version: version,
            enabled,
            lease: lease.map(|(seconds, nonce)| format!("{seconds}:{nonce}")),
            epoch,
            window,
            owner,
            in_force: Some(gauge),
            epoch_in_force: self.filter.epoch,
            guard_tripped: Some(self.tripped()),
            lease_expired: Some(self.lapsed(now)),
            versions,
            configured: Pair { stable: Some(stable), canary: Some(canary) },
            labels,
            signals,
            value_signals,
            timings,
            endpoints,
            refused,
            outcome_age,
            ..EnvoyReading::default()
        }
    }

    fn serve(&mut self, requests: f64, failing: Pair<f64>, now: u64) {
        self.earlier.push_back(self.counters);
        let weight = self.in_force(now).fraction();
        let roles = [
            (&mut self.counters.stable, &mut self.rest.stable, 1.0 - weight, failing.stable),
            (&mut self.counters.canary, &mut self.rest.canary, weight, failing.canary),
        ];
        for (counter, rest, share, failing) in roles {
            let served = whole(requests * share, &mut rest[0]);
            let failed = whole(served as f64 * failing, &mut rest[1]);
            counter.trials += served;
            counter.events += failed.min(served);
        }
    }
}

/// The whole part; the rest is kept for later.
fn whole(amount: f64, rest: &mut f64) -> u64 {
    let sum = amount + *rest + 1e-9;
    *rest = sum.fract();
    sum.floor() as u64
}
