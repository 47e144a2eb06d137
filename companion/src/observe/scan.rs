//! One look at one Envoy, for all rollouts on it: its runtime, statistics and configuration, asked for
//! once and split by rollout.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use canary_model::runtime::Snapshot;

use super::gauges::stats_filter_of;
use super::scrape::{Scrape, config_dump, read};
use super::{Configuration, split_stats::SplitStats};
use crate::envoy::{Admin, ConfigDump};
use crate::error::Error;

/// How long a configuration that was read is good for, unless Envoy's statistics say that it changed.
const CONFIGURATION_FOR: Duration = Duration::from_secs(10);

/// What one Envoy said at one look about the rollouts that were asked for.
#[derive(Debug)]
pub struct EnvoyScan {
    runtime: Snapshot,
    stats: SplitStats,
    dump: Arc<ConfigDump>,
}

impl EnvoyScan {
    /// What it said about one rollout; the rollout needs to be among those that were asked for.
    pub fn scrape(&self, rollout: &str) -> Scrape {
        let configuration = Configuration::new(&self.dump, &self.stats.common, rollout);
        Scrape::new(&self.runtime, self.stats.rollout(rollout), rollout, configuration)
    }
}

/// The configuration that was read last, and the statistics that it was read under.
#[derive(Debug)]
struct KnownDump {
    at: Instant,
    state: BTreeMap<String, String>,
    dump: Arc<ConfigDump>,
}

/// Looks at one Envoy again and again, and reads its configuration only where that may have changed.
#[derive(Debug, Default)]
pub struct EnvoyScanner {
    known: Option<KnownDump>,
}

impl EnvoyScanner {
    /// One look, for some rollouts. `fresh` reads the configuration in any case.
    ///
    /// # Errors
    /// Envoy can't be asked.
    pub async fn scan(
        &mut self,
        admin: &Admin,
        rollouts: &BTreeSet<String>,
        fresh: bool,
    ) -> Result<EnvoyScan, Error> {
        let (runtime, stats) = read(admin, &stats_filter_of(rollouts)).await?;
        let stats = SplitStats::new(stats);
        let state = configuration_state(&stats);
        let good = |known: &&KnownDump| {
            !fresh && known.at.elapsed() < CONFIGURATION_FOR && known.state == state
        };
        let dump = match self.known.as_ref().filter(good) {
            Some(known) => Arc::clone(&known.dump),
            None => {
                let dump = Arc::new(config_dump(admin).await);
                let known = KnownDump { at: Instant::now(), state, dump: Arc::clone(&dump) };
                self.known = Some(known);
                dump
            }
        };
        Ok(EnvoyScan { runtime, stats, dump })
    }
}

/// The statistics that change with the configuration.
fn configuration_state(stats: &SplitStats) -> BTreeMap<String, String> {
    let concerns = |name: &String| {
        name.starts_with("extension_config_discovery.") || name.starts_with("listener_manager.")
    };
    let numbers = stats.common.numbers.iter().filter(|(name, _)| concerns(name));
    let numbers = numbers.map(|(name, value)| (name.clone(), value.to_string()));
    let texts = stats.common.texts.iter().filter(|(name, _)| concerns(name));
    numbers.chain(texts.map(|(name, text)| (name.clone(), text.clone()))).collect()
}
