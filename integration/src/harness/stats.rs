//! The filter's statistics, as Envoy's admin gives them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::admin::EnvoyAdmin;

/// Where to read them: the filter's own, with raw histogram bins.
pub(crate) const QUERY: &str =
    "/stats?filter=^wasmcustom\\.canary\\.&format=json&histogram_buckets=detailed";

const PREFIX: &str = "wasmcustom.canary.";

/// A bin of a histogram: `count` values from `lower` up to, without it, `lower + width`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScrapedBin {
    /// The lower bound of the bin.
    pub lower: f64,
    /// The width of the bin.
    pub width: f64,
    /// How many values lie in it.
    pub count: u64,
}

/// The filter's statistics at one moment, by their names without `wasmcustom.canary.`.
#[derive(Clone, Debug, Default)]
pub struct FilterStats {
    /// Counters and gauges by their names.
    pub values: BTreeMap<String, u64>,
    /// Histograms, since Envoy's start.
    pub histograms: BTreeMap<String, Vec<ScrapedBin>>,
}

impl FilterStats {
    /// The statistics as of now. It reads twice, since a read makes Envoy merge its histograms for the
    /// next one; on a busy machine that may still come too early, counters never do.
    pub async fn read(admin: &EnvoyAdmin) -> Self {
        admin.json("/stats?filter=^$&format=json").await;
        Self::parse(&admin.json(QUERY).await)
    }

    /// Reads the admin's answer.
    pub(crate) fn parse(answer: &Value) -> Self {
        let mut stats = Self::default();
        for entry in answer["stats"].as_array().expect("a list of statistics") {
            match entry["histograms"]["details"].as_array() {
                Some(histograms) => stats.histograms.extend(histograms.iter().map(histogram)),
                None if entry["histograms"].is_null() => {
                    let value = entry["value"]
                        .as_u64()
                        .unwrap_or_else(|| panic!("no whole number: {entry}"));
                    stats.values.insert(name(entry), value);
                }
                None => {}
            }
        }
        stats
    }

    /// A counter or gauge; 0 where Envoy doesn't know it yet.
    #[must_use]
    pub fn value(&self, name: &str) -> u64 {
        self.values.get(name).copied().unwrap_or_default()
    }

    /// Whether every rollout's counters and gauges are the same; the filter's own move with each tick.
    /// The sum of a metric over all rollouts, roles and versions.
    pub(crate) fn sum(&self, metric: &str) -> u64 {
        let of_metric = |name: &str| name.rsplit('.').next() == Some(metric);
        self.values.iter().filter(|(name, _)| of_metric(name)).map(|(_, value)| value).sum()
    }

    pub(crate) fn counts_as(&self, other: &Self) -> bool {
        let of_rollouts = |stats: &Self| {
            let values = stats.values.iter().filter(|(name, _)| !name.starts_with("filter."));
            values.map(|(name, value)| (name.clone(), *value)).collect::<Vec<_>>()
        };
        of_rollouts(self) == of_rollouts(other)
    }

    /// A metric of a role of the rollout `demo`, whatever the version.
    #[must_use]
    pub fn metric_of(&self, role: &str, metric: &str) -> u64 {
        let (start, end) = (format!("demo.{role}."), format!(".{metric}"));
        let of_role =
            self.values.iter().filter(|(name, _)| name.starts_with(&start) && name.ends_with(&end));
        of_role.map(|(_, value)| value).sum()
    }

    /// The bins of a histogram of a role of the rollout `demo`; those of several versions one after
    /// the other.
    #[must_use]
    pub fn bins(&self, role: &str, metric: &str) -> Vec<ScrapedBin> {
        let (start, end) = (format!("demo.{role}."), format!(".{metric}"));
        let of_role = self
            .histograms
            .iter()
            .filter(|(name, _)| name.starts_with(&start) && name.ends_with(&end));
        of_role.flat_map(|(_, bins)| bins.iter().copied()).collect()
    }

    /// How many samples a histogram of a role of the rollout `demo` has.
    #[must_use]
    pub fn samples(&self, role: &str, metric: &str) -> u64 {
        self.bins(role, metric).iter().map(|bin| bin.count).sum()
    }
}

fn histogram(entry: &Value) -> (String, Vec<ScrapedBin>) {
    let bins =
        entry["totals"].as_array().expect("a histogram has totals").iter().map(|bin| ScrapedBin {
            lower: bin["lower_bound"].as_f64().expect("a bin has a lower bound"),
            width: bin["width"].as_f64().expect("a bin has a width"),
            count: bin["count"].as_u64().expect("a bin has a count"),
        });
    (name(entry), bins.collect())
}

fn name(entry: &Value) -> String {
    let name = entry["name"].as_str().expect("a statistic has a name");
    name.strip_prefix(PREFIX).unwrap_or(name).to_owned()
}
