//! The names of the filter's statistics, built and read.
//!
//! Three shapes, as Envoy's admin shows them:
//! `wasmcustom.canary.<rollout>.<role>.<version>.<metric>`, `wasmcustom.canary.<rollout>.<gauge>` and
//! `wasmcustom.canary.filter.<metric>`. Envoy puts `wasmcustom.` before the name that a filter
//! defines. Rollout names have no dots, so the role is always the second part; versions have dots,
//! so the metric is read from the end.

use std::fmt;

use crate::role::Role;

mod metric;

pub use metric::{FilterMetric, Metric, RolloutGauge};

/// What Envoy puts before the name of every metric that a Wasm filter defines.
pub const WASM_PREFIX: &str = "wasmcustom.";

const PREFIX: &str = "canary.";
const FILTER: &str = "filter";

/// The longest name of a rollout and the longest version, in characters.
pub const MAX_NAME: usize = 63;

/// Whether a rollout may have this name: `[a-z0-9]([a-z0-9_-]{0,62})`, and not `filter`, under which
/// the filter's own statistics stand.
pub fn is_rollout_name(name: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let later = |byte: u8| first(byte) || matches!(byte, b'_' | b'-');
    name != FILTER && is_word(name, first, later)
}

/// Whether a role may have this version label: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
pub fn is_version(label: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric();
    let later = |byte: u8| first(byte) || matches!(byte, b'.' | b'_' | b'-');
    is_word(label, first, later)
}

fn is_word(text: &str, first: impl Fn(u8) -> bool, later: impl Fn(u8) -> bool) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_NAME && bytes.next().is_some_and(first) && bytes.all(later)
}

/// The name of one statistic; [`fmt::Display`] writes it as Envoy's admin shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatName<'a> {
    /// What one version of a rollout did.
    Role {
        /// The rollout's name.
        rollout: &'a str,
        /// The side of the rollout.
        role: Role,
        /// The version's label.
        version: &'a str,
        /// What is counted.
        metric: Metric<'a>,
    },
    /// The state of a rollout.
    Rollout {
        /// The rollout's name.
        rollout: &'a str,
        /// Which state.
        gauge: RolloutGauge,
    },
    /// The state of the filter as a whole.
    Filter(FilterMetric),
}

impl<'a> StatName<'a> {
    /// Reads a name as Envoy's admin shows it; `None` where it is none of ours.
    ///
    /// One pair of names can't be told apart: a signal's bin that is called like a metric
    /// (`….3.1.signal.label.rq_total`) reads as that metric of a version `3.1.signal.label`. Who
    /// knows the version asks [`Metric::of_version`], which has no such doubt.
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
        is_version(version).then_some(Self::Role { rollout, role, version, metric })
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
