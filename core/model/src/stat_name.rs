//! The names of the filter's statistics, built and read.
//!
//! Three shapes, as Envoy's admin shows them:
//! `wasmcustom.canary.<rollout>.<role>.<version>.<metric>`, `wasmcustom.canary.<rollout>.<gauge>` and
//! `wasmcustom.canary.filter.<metric>`. Envoy puts `wasmcustom.` before the name that a filter
//! defines. Rollout names have no dots, so the role is always the second part. Versions have dots, but
//! no part that names a metric ([`names`](crate::names)), so the first such part begins the metric.

use std::fmt;

use crate::names::{FILTER, OTHER_VERSION, is_rollout_name, is_version};
use crate::role::Role;

mod metric;

pub use metric::{FilterMetric, Metric, RolloutGauge};

/// What Envoy puts before the name of every metric that a Wasm filter defines.
pub const WASM_PREFIX: &str = "wasmcustom.";

const PREFIX: &str = "canary.";

/// The name of one statistic; [`fmt::Display`] writes it as Envoy's admin shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatName<'a> {
    /// What one version of a rollout did.
    Role {
        /// The name of the rollout that it belongs to.
        rollout: &'a str,
        /// The side of the rollout.
        role: Role,
        /// The label of the version that answered.
        version: &'a str,
        /// What the statistic counts.
        metric: Metric<'a>,
    },
    /// The state of a rollout.
    Rollout {
        /// The name of the rollout that it belongs to.
        rollout: &'a str,
        /// Which of the rollout's gauges.
        gauge: RolloutGauge,
    },
    /// The state of the filter as a whole.
    Filter(FilterMetric),
}

impl<'a> StatName<'a> {
    /// Reads a name as Envoy's admin shows it; `None` if it isn't one of ours.
    pub fn parse(name: &'a str) -> Option<Self> {
        let name = name.strip_prefix(WASM_PREFIX)?.strip_prefix(PREFIX)?;
        let (rollout, rest) = name.split_once('.')?;
        if rollout == FILTER {
            return FilterMetric::parse(rest).map(Self::Filter);
        }
        if !is_rollout_name(rollout) {
            return None;
        }
        let Some((word, rest)) = rest.split_once('.') else {
            return RolloutGauge::parse(rest).map(|gauge| Self::Rollout { rollout, gauge });
        };
        let role = Role::parse(word)?;
        let (version, metric) = metric::split_version(rest)?;
        let counted = is_version(version) || version == OTHER_VERSION;
        counted.then_some(Self::Role { rollout, role, version, metric })
    }

    /// The name as a filter defines it, without what Envoy puts before it.
    pub fn defined(&self) -> String {
        match self {
            Self::Role { rollout, role, version, metric } => {
                format!("{PREFIX}{rollout}.{role}.{version}.{metric}")
            }
            Self::Rollout { rollout, gauge } => format!("{PREFIX}{rollout}.{gauge}"),
            Self::Filter(metric) => format!("{PREFIX}{FILTER}.{metric}"),
        }
    }
}

impl fmt::Display for StatName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{WASM_PREFIX}{}", self.defined())
    }
}

#[cfg(test)]
mod tests;
