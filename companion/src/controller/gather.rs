//! Looking at the whole fleet: every Envoy at once, each within a deadline.
//!
//! Envoy answers with the histograms of its last merge and merges anew because it was asked. So
//! each Envoy is asked for a little first and for everything a moment later: then times and
//! counters belong together but for that moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use canary_judge::observation::Observation;
use canary_model::runtime::RolloutRuntime;
use canary_model::weight::Weight;
use canary_rollout::inputs::{EnvoyInput, EnvoyReading};
use futures_util::future::try_join;

use super::counters::{Counters, Difference, UPTIME};
use super::sum;
use crate::envoy::{Admin, EnvoyReply, Fleet, Target};
use crate::error::Error;
use crate::observe;

/// How long Envoy's merge of its workers' histograms takes, amply.
const MERGE: Duration = Duration::from_millis(25);
/// How often names are resolved anew.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// After how many readings in a row that can't be the counting begins anew.
const PATIENCE: u32 = 10;

/// Everything that one Envoy said.
#[derive(Clone, Debug)]
pub struct Member {
    /// What it shows.
    pub shown: EnvoyReading,
    /// What it has counted since its start.
    pub counters: Counters,
}

/// What came of one look at the fleet.
#[derive(Debug, Default)]
pub struct Look {
    /// Every Envoy as it is now.
    pub envoys: BTreeMap<String, EnvoyInput>,
    /// What was counted since the last look; `None` where nothing could be read.
    pub observation: Option<Observation>,
    /// The errors of those that could not be asked.
    pub errors: Vec<Error>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Looks at a fleet again and again.
#[derive(Debug)]
pub struct Gatherer {
    targets: Vec<Target>,
    rollout: String,
    deadline: Duration,
    fleet: Fleet,
    resolved: Instant,
    ledger: CounterBaseline,
}

impl Gatherer {
    /// Resolves the targets; every request then ends within `deadline`.
    pub async fn new(targets: Vec<Target>, rollout: &str, deadline: Duration) -> Self {
        let fleet = Fleet::resolve(&targets, deadline).await;
        let (rollout, ledger) = (rollout.to_owned(), CounterBaseline::default());
        Self { targets, rollout, deadline, fleet, resolved: Instant::now(), ledger }
    }

    /// The Envoys.
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Looks at every Envoy. Only those whose weight in force is `weight` take part in the counts: the
    /// others' traffic is split otherwise.
    pub async fn look(&mut self, weight: Weight) -> Look {
        self.resolve().await;
        let rollout = &self.rollout;
        let reports = self.fleet.each(async |admin| read(admin, rollout).await).await;
        self.ledger.take(reports, weight)
    }

    /// Resolves names anew, from time to time. Names that can't be resolved now keep the Envoys that
    /// they stood for: who serves the names is not who serves the traffic.
    async fn resolve(&mut self) {
        let names = self.targets.iter().any(Target::is_name);
        if !names || self.resolved.elapsed() < RESOLVE_EVERY {
            return;
        }
        let fleet = Fleet::resolve(&self.targets, self.deadline).await;
        if !fleet.is_unresolved() || self.fleet.is_unresolved() {
            self.fleet = fleet;
        }
        self.resolved = Instant::now();
    }
}

/// The regular expression that finds everything about a rollout.
fn filter(rollout: &str) -> String {
    format!(r"^wasmcustom\.canary\.{rollout}\.|^{}$", UPTIME.replace('.', r"\."))
}

async fn read(admin: &Admin, rollout: &str) -> Result<Member, Error> {
    let nudge = admin.stats(observe::ROLLOUTS_FILTER);
    let (runtime, _) = try_join(admin.runtime(), nudge).await?;
    tokio::time::sleep(MERGE).await;
    let stats = admin.stats(&filter(rollout)).await?;
    let gauges = observe::gauges(&stats, rollout);
    let shown = EnvoyReading {
        in_force: gauges.in_force,
        guard_tripped: gauges.guard_tripped,
        epoch_in_force: gauges.epoch,
        lease_expired: gauges.lease_expired,
        ..EnvoyReading::of_runtime(&RolloutRuntime::of(&runtime, rollout))
    };
    Ok(Member { shown, counters: Counters::of(&stats, rollout) })
}

/// The last reading of every Envoy.
#[derive(Debug, Default)]
struct CounterBaseline {
    members: BTreeMap<String, Entry>,
    /// The weight at the last look.
    weight: Option<Weight>,
}

#[derive(Debug)]
struct Entry {
    counters: Counters,
    in_force: Option<Weight>,
    impossible: u32,
}

impl CounterBaseline {
    fn take(&mut self, reports: Vec<EnvoyReply<Member>>, weight: Weight) -> Look {
        let mut look = Look::default();
        let opens = self.weight.replace(weight) != Some(weight);
        let mut sum: Option<Counters> = None;
        // A member that has left the fleet begins anew should it come back.
        self.members.retain(|url, _| reports.iter().any(|report| report.url == *url));
        for EnvoyReply { url, result } in reports {
            let member = match result {
                Ok(member) => member,
                Err(error) => {
                    look.envoys.insert(url, EnvoyInput::Unreachable(error.to_string()));
                    look.errors.push(error);
                    continue;
                }
            };
            let takes_part = |before: Option<Weight>| {
                // The first counts at a weight may be mixed: the judge knows that it changed, and
                // treats them accordingly. Who follows later must not mix into what comes after.
                let in_force = member.shown.in_force;
                in_force == Some(weight) && (opens || before == in_force)
            };
            if let Some(delta) = self.delta(&url, &member, takes_part, &mut look.notes) {
                sum.get_or_insert_default().merge(&delta);
            }
            look.envoys.insert(url, EnvoyInput::Reached(Box::new(member.shown)));
        }
        look.observation = sum.as_ref().map(sum::observation);
        look
    }

    /// What one Envoy counted since its last reading: nothing at the first, and where it takes no part;
    /// `None` where that can't be told yet.
    fn delta(
        &mut self,
        url: &str,
        member: &Member,
        takes_part: impl Fn(Option<Weight>) -> bool,
        notes: &mut Vec<String>,
    ) -> Option<Counters> {
        let in_force = member.shown.in_force;
        let fresh = || Entry { counters: member.counters.clone(), in_force, impossible: 0 };
        let nothing = || Some(member.counters.nothing());
        let Some(entry) = self.members.get_mut(url) else {
            self.members.insert(url.to_owned(), fresh());
            return nothing();
        };
        let takes_part = takes_part(entry.in_force);
        let (delta, restarted) = match member.counters.since(&entry.counters) {
            Difference::Of(delta) => (delta, false),
            Difference::Restarted(delta) => (delta, true),
            Difference::Inconsistent if entry.impossible < PATIENCE => {
                entry.impossible += 1;
                return None;
            }
            Difference::Inconsistent => {
                notes.push(format!("{url}: its counters contradict each other; counting anew"));
                *entry = fresh();
                return None;
            }
        };
        if restarted {
            notes.push(format!("{url}: Envoy has restarted; its counters began anew"));
        }
        *entry = fresh();
        if takes_part { Some(delta) } else { nothing() }
    }
}

#[cfg(test)]
mod tests;
