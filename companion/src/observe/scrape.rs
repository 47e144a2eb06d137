//! Scraping one Envoy: its runtime, its filter's statistics and its configuration.
//!
//! Envoy answers with the histograms of its last merge, and merges again because it was asked. So each
//! Envoy is asked for a little first and for everything a moment later: then times and counters belong
//! together, apart from that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use canary_judge::counts::Pair;
use canary_model::runtime::{Reading, RolloutRuntime, Snapshot, Update, VersionLabel};
use canary_rollout::inputs::EnvoyReading;
use canary_rollout::versions;
use futures_util::future::try_join;

use super::counters::RolloutCounters;
use super::gauges::{ROLLOUTS_FILTER, stats_filter};
use super::{Configuration, Gauges, gauges, rollouts};
use crate::envoy::{Admin, ConfigDump, ConfiguredRollout, Stats};
use crate::error::Error;

/// How long Envoy's merge of its workers' histograms takes, amply.
const MERGE: Duration = Duration::from_millis(25);

/// Everything that one Envoy says about one rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// The filter's gauges for this rollout.
    pub gauges: Gauges,
    /// What it has counted since its start.
    pub counters: RolloutCounters,
    /// What its runtime sets.
    pub runtime: RolloutRuntime,
    /// What the filter's configuration says.
    pub configuration: Configuration,
    /// How many endpoints each role's cluster has; `None` if it wasn't asked or can't be told.
    pub endpoints: Pair<Option<u64>>,
}

impl Scrape {
    pub(super) fn new(
        runtime: &Snapshot,
        stats: &Stats,
        rollout: &str,
        configuration: Configuration,
    ) -> Self {
        Self {
            gauges: gauges(stats, rollout),
            counters: RolloutCounters::read(stats, rollout),
            runtime: RolloutRuntime::new(runtime, rollout),
            configuration,
            endpoints: Pair::default(),
        }
    }

    /// The same as the rollout's state machine takes it.
    pub fn input(&self) -> EnvoyReading {
        let configured = self.configuration.in_force.as_ref();
        let runtime = &self.runtime;
        EnvoyReading {
            weight_version: runtime.weight.value().and_then(|value| value.version.clone()),
            in_force: self.gauges.in_force,
            guard_tripped: self.gauges.guard_tripped,
            epoch_in_force: self.gauges.epoch,
            lease_expired: self.gauges.lease_expired,
            outcome_age: self.gauges.outcome_age,
            versions: self.versions(),
            configured: self.configured(),
            signals: configured.map(|configured| configured.signals.clone()),
            value_signals: configured.map(|configured| configured.value_signals.clone()),
            timings: configured.map(|configured| configured.timings.clone()),
            endpoints: self.endpoints,
            refused: self.configuration.refused.clone(),
            ..EnvoyReading::of_runtime(runtime)
        }
    }

    /// The versions in force: those of the configuration, or what the runtime's labels say instead. `None`
    /// if the configuration isn't known.
    pub fn versions(&self) -> Pair<Option<String>> {
        let Pair { stable, canary } = self.configured();
        let in_force = |configured: Option<String>, label: &Reading<VersionLabel>| {
            Some(versions::by_label(&configured?, label.value()).to_owned())
        };
        Pair {
            stable: in_force(stable, &self.runtime.stable_version),
            canary: in_force(canary, &self.runtime.canary_version),
        }
    }

    /// The versions that the configuration names.
    fn configured(&self) -> Pair<Option<String>> {
        let configured = self.configuration.in_force.as_ref();
        Pair {
            stable: configured.map(|configured| configured.stable.clone()),
            canary: configured.map(|configured| configured.canary.clone()),
        }
    }
}

/// Everything that an Envoy says about a rollout, which its filter must have.
///
/// # Errors
/// The rollout is unknown, or Envoy can't be asked.
pub async fn scrape(admin: &Admin, rollout: &str) -> Result<Scrape, Error> {
    let (runtime, stats) = read(admin, &stats_filter(Some(rollout))).await?;
    if !rollouts(&stats).contains(rollout) {
        return Err(unknown(admin, rollout, known_rollouts(admin).await?));
    }
    let configuration = Configuration::new(&config_dump(admin).await, &stats, rollout);
    Ok(Scrape::new(&runtime, &stats, rollout, configuration))
}

/// Everything that an Envoy says about all its rollouts.
///
/// # Errors
/// Envoy can't be asked.
pub async fn scrape_all(admin: &Admin) -> Result<BTreeMap<String, Scrape>, Error> {
    let (runtime, stats) = read(admin, &stats_filter(None)).await?;
    let dump = config_dump(admin).await;
    let scrape = |name: String| {
        let configuration = Configuration::new(&dump, &stats, &name);
        let scrape = Scrape::new(&runtime, &stats, &name, configuration);
        (name, scrape)
    };
    Ok(rollouts(&stats).into_iter().map(scrape).collect())
}

/// The runtime, and the statistics that a regular expression finds.
pub(super) async fn read(admin: &Admin, filter: &str) -> Result<(Snapshot, Stats), Error> {
    let nudge = admin.stats(ROLLOUTS_FILTER);
    let (runtime, _) = try_join(admin.runtime(), nudge).await?;
    tokio::time::sleep(MERGE).await;
    Ok((runtime, admin.stats(filter).await?))
}

/// The dump; empty if whoever guards the admin interface has closed it. Then it answers no question.
pub(super) async fn config_dump(admin: &Admin) -> ConfigDump {
    admin.config_dump().await.unwrap_or_default()
}

/// How many endpoints the clusters of a rollout's roles have.
pub(super) async fn count_endpoints(
    admin: &Admin,
    configured: &ConfiguredRollout,
) -> Pair<Option<u64>> {
    let Ok(clusters) = admin.clusters().await else { return Pair::default() };
    let count = async |cluster: &Option<String>| {
        let cluster = cluster.as_deref()?;
        match clusters.get(cluster).copied().unwrap_or(0) {
            // Some kinds of clusters list no endpoints, for example aggregates.
            0 if admin.has_hidden_endpoints(cluster).await => None,
            count => Some(count),
        }
    };
    Pair {
        stable: count(&configured.stable_cluster).await,
        canary: count(&configured.canary_cluster).await,
    }
}

/// The names of an Envoy's rollouts.
///
/// # Errors
/// Envoy can't be asked.
pub async fn known_rollouts(admin: &Admin) -> Result<BTreeSet<String>, Error> {
    Ok(rollouts(&admin.stats(ROLLOUTS_FILTER).await?))
}

/// The error for a name that this Envoy doesn't have.
pub fn unknown(admin: &Admin, rollout: &str, known: BTreeSet<String>) -> Error {
    Error::UnknownRollout { url: admin.url().to_owned(), rollout: rollout.to_owned(), known }
}

/// Checks that the runtime shows an update as it was written.
///
/// # Errors
/// [`Error::Overridden`] names the first key that differs.
pub fn confirm(admin: &Admin, update: &Update, runtime: &Snapshot) -> Result<(), Error> {
    let Some(other) = update.unconfirmed(runtime).into_iter().next() else {
        return Ok(());
    };
    Err(Error::Overridden {
        url: admin.url().to_owned(),
        key: other.key,
        written: other.written,
        shown: other.shown.unwrap_or_else(|| "nothing".to_owned()),
    })
}
