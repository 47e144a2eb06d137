//! Looking at rollouts on one Envoy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use canary_model::runtime::{RolloutRuntime, Snapshot, Update};
use futures_util::future::try_join;

use crate::envoy::{Admin, Stats};
use crate::error::Error;
use crate::observe::{self, Observation};

/// Everything that an Envoy says about a rollout that it must have, histograms included.
pub(crate) async fn at(admin: &Admin, rollout: &str) -> Result<Observation, Error> {
    let filter = observe::stats_filter(Some(rollout), true);
    let (runtime, stats) = try_join(admin.runtime(), stats_with_times(admin, &filter)).await?;
    if !observe::rollouts(&stats).contains(rollout) {
        return Err(unknown(admin, rollout, known(admin).await?));
    }
    let mut seen = BTreeMap::from([(rollout.to_owned(), observation(&runtime, &stats, rollout))]);
    configure(admin, &stats, &mut seen).await;
    seen.remove(rollout).ok_or_else(|| unknown(admin, rollout, BTreeSet::new()))
}

/// Everything that an Envoy says about all its rollouts.
pub(crate) async fn all(admin: &Admin) -> Result<BTreeMap<String, Observation>, Error> {
    let filter = observe::stats_filter(None, true);
    let (runtime, stats) = try_join(admin.runtime(), stats_with_times(admin, &filter)).await?;
    let names = observe::rollouts(&stats).into_iter();
    let seen = names.map(|name| (name.clone(), observation(&runtime, &stats, &name)));
    let mut seen = seen.collect();
    configure(admin, &stats, &mut seen).await;
    Ok(seen)
}

/// Statistics with the times of all counted requests, where Envoy has them soon. An Envoy without
/// `stats_flush_on_admin` shows them with its next flush; then the times lag, which is no reason to wait.
async fn stats_with_times(admin: &Admin, filter: &str) -> Result<Stats, Error> {
    const TRIES: usize = 8;
    const EVERY: Duration = Duration::from_millis(10);
    let mut stats = admin.stats(filter).await?;
    for _ in 1..TRIES {
        if observe::times_are_complete(&stats) {
            break;
        }
        tokio::time::sleep(EVERY).await;
        stats = admin.stats(filter).await?;
    }
    Ok(stats)
}

/// The names of an Envoy's rollouts.
pub(crate) async fn known(admin: &Admin) -> Result<BTreeSet<String>, Error> {
    Ok(observe::rollouts(&admin.stats(observe::ROLLOUTS_FILTER).await?))
}

/// The error of a name that this Envoy does not have.
pub(crate) fn unknown(admin: &Admin, rollout: &str, known: BTreeSet<String>) -> Error {
    Error::UnknownRollout { url: admin.url().to_owned(), rollout: rollout.to_owned(), known }
}

fn observation(runtime: &Snapshot, stats: &Stats, rollout: &str) -> Observation {
    Observation {
        gauges: observe::gauges(stats, rollout),
        versions: observe::versions(stats, rollout),
        runtime: RolloutRuntime::of(runtime, rollout),
        configured: None,
    }
}

/// Adds what the configuration says, where statistics and runtime leave a question. Who guards the
/// admin interface may have closed the dump: then the question stays open.
async fn configure(admin: &Admin, stats: &Stats, seen: &mut BTreeMap<String, Observation>) {
    if !seen.values().any(Observation::leaves_questions) {
        return;
    }
    let configured = admin.configured().await.unwrap_or_default();
    for (name, one) in seen {
        one.configured = observe::in_force(&configured, stats, name).cloned();
    }
}

/// Whether the runtime shows an update as it was written.
pub(crate) fn confirm(admin: &Admin, update: &Update, runtime: &Snapshot) -> Result<(), Error> {
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
