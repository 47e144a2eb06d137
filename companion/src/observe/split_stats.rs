//! One answer of `/stats`, split by rollout, so that each rollout reads its own part alone. Pure.

use std::collections::BTreeMap;

use canary_model::names::FILTER;
use canary_model::stat_name::WASM_PREFIX;

use super::counters::UPTIME;
use crate::envoy::Stats;

/// The statistics of each rollout, and those that concern all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitStats {
    /// What belongs to no rollout: Envoy's own statistics, and the filter's.
    pub common: Stats,
    rollouts: BTreeMap<String, Stats>,
    /// What a rollout has that the answer doesn't name.
    nothing: Stats,
}

impl SplitStats {
    /// Splits an answer. Every part has Envoy's uptime, by which a restart is noticed.
    pub fn new(stats: Stats) -> Self {
        let mut split = Self::default();
        for (name, number) in stats.numbers {
            split.part(&name).numbers.insert(name, number);
        }
        for (name, text) in stats.texts {
            split.part(&name).texts.insert(name, text);
        }
        for (name, histogram) in stats.histograms {
            split.part(&name).histograms.insert(name, histogram);
        }
        if let Some(uptime) = split.common.numbers.get(UPTIME).copied() {
            let parts = split.rollouts.values_mut().chain([&mut split.nothing]);
            parts.for_each(|part| {
                part.numbers.insert(UPTIME.to_owned(), uptime);
            });
        }
        split
    }

    /// The part of one rollout; without counters if the answer names none.
    pub fn rollout(&self, rollout: &str) -> &Stats {
        self.rollouts.get(rollout).unwrap_or(&self.nothing)
    }

    fn part(&mut self, name: &str) -> &mut Stats {
        match rollout(name) {
            Some(rollout) if self.rollouts.contains_key(rollout) => {
                self.rollouts.get_mut(rollout).unwrap_or(&mut self.nothing)
            }
            Some(rollout) => self.rollouts.entry(rollout.to_owned()).or_default(),
            None => &mut self.common,
        }
    }
}

/// The rollout that a statistic belongs to.
fn rollout(name: &str) -> Option<&str> {
    let name = name.strip_prefix(WASM_PREFIX)?.strip_prefix("canary.")?;
    let (rollout, _) = name.split_once('.')?;
    (rollout != FILTER).then_some(rollout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rollout_reads_its_own_part() {
        let numbers = [
            ("wasmcustom.canary.a.weight_ppm", 1),
            ("wasmcustom.canary.a-b.weight_ppm", 2),
            ("wasmcustom.canary.filter.poll_success", 3),
            ("server.uptime", 4),
        ];
        let numbers = numbers.map(|(name, value)| (name.to_owned(), value)).into();
        let split = SplitStats::new(Stats { numbers, ..Stats::default() });
        let names = |stats: &Stats| stats.numbers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(split.rollout("a")), ["server.uptime", "wasmcustom.canary.a.weight_ppm"]);
        assert_eq!(
            names(split.rollout("a-b")),
            ["server.uptime", "wasmcustom.canary.a-b.weight_ppm"]
        );
        assert_eq!(
            names(split.rollout("b")),
            ["server.uptime"],
            "a rollout that the Envoy doesn't have"
        );
        assert_eq!(
            names(&split.common),
            ["server.uptime", "wasmcustom.canary.filter.poll_success"]
        );
    }
}
