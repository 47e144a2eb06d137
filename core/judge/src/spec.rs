//! What a rollout file's `analysis:` section says, as checked types.
//!
//! ```yaml
//! analysis:
//!   falseAbort: 1%
//!   falsePause: 5%
//!   falseSplit: 1%
//!   splitMismatch: hold
//!   metrics:
//!     - {name: failures, kind: failureRate, margin: 0.1%}
//!     - {name: latency,  kind: latency, quantiles: {p50: 1.1, p95: 1.2, p99: 1.5}}
//!     - {name: ttft,     kind: latency, of: ttfb, tolerance: 1.2}
//!     - {name: label,    kind: distribution, signal: label, onFailure: pause}
//!     - {name: tokens,   kind: values, signal: tokens, tolerance: 1.2, worse: higher}
//!     - {name: checkout, kind: conversion, signal: checkout, margin: 1%}
//!     - {name: gpu,      kind: prometheus, address: http://prometheus:9090, query: "…",
//!        headers: {X-Scope-OrgID: ml}, failureCondition: result > 0.9, interval: 30s, failureLimit: 2}
//! ```
//!
//! Shares are percentages in quotes of their own sign (`0.1%`), never bare numbers: whether `0.5`
//! meant half a percent or a half is nothing to guess in a rule that rolls releases back.

mod access;
mod read;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::condition::{Condition, ConstantCondition};
use super::timing::Timing;
use canary_model::redact::redacted;

pub use access::{CredentialFiles, PrometheusAccess, SecretText};
pub use read::metric_fields;
pub use read::{FALSE_ABORT, FALSE_PAUSE, FALSE_SPLIT, percentage};

/// The most metrics in a file.
pub const MAX_METRICS: usize = 32;

/// The quantiles at which the latency test looks, with their names.
pub const QUANTILES: [(&str, f64); 9] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p98", 0.98),
    ("p99", 0.99),
    ("p99.5", 0.995),
    ("p99.8", 0.998),
    ("p99.95", 0.9995),
];

/// The whole section. Its JSON is what [`crate::fingerprint`] is made of: a field's name there is
/// part of a persisted rollout's identity, whatever it is called in Rust.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// The largest probability with which a canary that is no worse than tolerated may be rolled
    /// back, over the whole rollout and all metrics together; above 0, at most 0.5.
    pub false_abort: f64,
    /// The largest probability with which the split check may raise a false alarm over the whole rollout;
    /// above 0, at most 0.5. Its default isn't written out, so files without the field keep their
    /// fingerprint.
    #[serde(skip_serializing_if = "is_default_false_split")]
    pub false_split: f64,
    /// The largest probability with which a canary that is no worse than tolerated may be paused by a
    /// metric, over the whole rollout and all metrics that pause; above 0, at most 0.5. Its default isn't
    /// written out either.
    #[serde(skip_serializing_if = "is_default_false_pause")]
    pub false_pause: f64,
    /// What a sample ratio mismatch does. Its default isn't written out either.
    #[serde(skip_serializing_if = "SplitMismatch::is_hold")]
    pub split_mismatch: SplitMismatch,
    /// The metrics, with names of their own.
    pub metrics: Vec<MetricSpec>,
}

/// For serde, which passes references.
fn is_default_false_split(share: &f64) -> bool {
    *share == FALSE_SPLIT
}

/// For serde, which passes references.
fn is_default_false_pause(share: &f64) -> bool {
    *share == FALSE_PAUSE
}

/// What a sample ratio mismatch does to a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitMismatch {
    /// No step advances and no metric is certified while it lasts.
    #[default]
    Hold,
    /// It is reported, and the rollout goes on.
    Warn,
}

impl SplitMismatch {
    /// Its words in a rollout file.
    pub const ALL: [(&'static str, Self); 2] = [("hold", Self::Hold), ("warn", Self::Warn)];

    /// Whether it is the default.
    pub const fn is_hold(&self) -> bool {
        matches!(self, Self::Hold)
    }
}

/// What happens when a metric finds the canary worse than tolerated. Each is a class with an error budget of
/// its own (STATISTICS 1.13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The canary is rolled back.
    #[default]
    Abort,
    /// The rollout holds and asks an operator.
    Pause,
    /// It is reported, and the rollout goes on.
    Warn,
}

impl OnFailure {
    /// All actions, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Abort, Self::Pause, Self::Warn];

    /// The word for it in a rollout file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Pause => "pause",
            Self::Warn => "warn",
        }
    }

    /// Whether it is the default.
    pub const fn is_abort(&self) -> bool {
        matches!(self, Self::Abort)
    }
}

/// One metric of the section.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricSpec {
    /// Its name in verdicts and reasons.
    pub name: String,
    /// What it compares and what it tolerates.
    pub rule: MetricRule,
    /// What happens when it finds the canary worse. The default isn't written out, as for
    /// [`Analysis::false_split`].
    #[serde(skip_serializing_if = "OnFailure::is_abort")]
    pub on_failure: OnFailure,
}

/// What a metric compares, and what it tolerates.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum MetricRule {
    /// The canary's share of failures may be `ratio` times stable's plus `margin`.
    FailureRate {
        /// The tolerated ratio, 1 by default.
        ratio: f64,
        /// The tolerated difference as a fraction, 0.001 by default.
        margin: f64,
    },
    /// At each of the [`QUANTILES`] the canary may be slower by a factor.
    Latency {
        /// What of a request's time is compared. The default isn't written out, as for
        /// [`Analysis::false_split`].
        #[serde(rename = "of", skip_serializing_if = "Timing::is_total")]
        timing: Timing,
        /// The tolerated factors, in the order of [`QUANTILES`]; 1.1 by default.
        tolerances: [f64; 9],
    },
    /// Each class's share may differ by `tolerance`, in both directions.
    Distribution {
        /// The signal whose classes are compared.
        signal: String,
        /// The tolerated difference per class as a fraction, 0 by default.
        tolerance: f64,
    },
    /// At each quantile the canary's values may be larger or smaller by a factor.
    Values {
        /// The signal whose values are compared.
        signal: String,
        /// The tolerated factor, at least 1; 1.1 by default.
        tolerance: f64,
        /// In which direction a change is a regression; both by default.
        worse: Worse,
    },
    /// The canary's share of conversions may be smaller by `margin`.
    Conversion {
        /// The signal that counts conversions.
        signal: String,
        /// The tolerated difference as a fraction, 0 by default.
        margin: f64,
    },
    /// An external query's result is held against conditions.
    Prometheus(PrometheusSpec),
}

/// In which direction a change of values is a regression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Worse {
    /// The canary's values may not be higher.
    Higher,
    /// They may not be lower.
    Lower,
    /// They may be neither.
    #[default]
    Both,
}

impl Worse {
    /// All directions, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Higher, Self::Lower, Self::Both];

    /// The word for it in a rollout file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
            Self::Both => "both",
        }
    }
}

/// A metric that Prometheus measures, with the fields of Argo Rollouts' analysis.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusSpec {
    /// The base URL of Prometheus. Its user and password are not written out: they are secrets, and
    /// another password is no other analysis.
    #[serde(serialize_with = "without_secrets")]
    pub address: String,
    /// What queries are sent with; not written out either.
    #[serde(skip)]
    pub access: Box<PrometheusAccess>,
    /// The query, in PromQL.
    pub query: String,
    /// How long from one measurement to the next; at least a second.
    pub interval: Duration,
    /// How long after the rollout's start the first is taken.
    pub initial_delay: Duration,
    /// After how many measurements the metric is done; `None`: never.
    pub count: Option<u64>,
    /// How many measurements may fail: it takes one more to fail the metric.
    pub failure_limit: u64,
    /// How many may be neither a success nor a failure: one more, and the metric holds the rollout.
    pub inconclusive_limit: u64,
    /// What a good result is. Without it: any that is not a failure.
    pub success_condition: Option<Condition>,
    /// What a bad result is. Without it: any that is not a success.
    pub failure_condition: Option<Condition>,
}

fn without_secrets<S: Serializer>(address: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&redacted(address))
}

impl Analysis {
    /// How many metrics share the probability of a false abort: all that abort but those of Prometheus, also
    /// those that have no data.
    pub fn shares(&self) -> usize {
        self.shares_of(OnFailure::Abort)
    }

    /// How many metrics share the error budget of a class.
    pub(crate) fn shares_of(&self, class: OnFailure) -> usize {
        let sharing = |metric: &&MetricSpec| {
            metric.on_failure == class && !matches!(metric.rule, MetricRule::Prometheus(_))
        };
        self.metrics.iter().filter(sharing).count()
    }

    /// Whether a metric can roll the canary back.
    pub fn can_abort(&self) -> bool {
        self.metrics.iter().any(|metric| metric.on_failure.is_abort())
    }
}

/// A condition of a [`PrometheusSpec`] that never changes its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConditionWarning {
    /// The condition's field in the file.
    pub field: &'static str,
    /// What it always says.
    pub constant: ConstantCondition,
}

impl PrometheusSpec {
    /// Its conditions that never change their answer, whatever the query returns. What is reported is
    /// certain; a condition that isn't may still be constant.
    pub fn condition_warnings(&self) -> Vec<ConditionWarning> {
        let values = self.answers_one_value().then_some(1);
        let conditions = [
            ("successCondition", &self.success_condition),
            ("failureCondition", &self.failure_condition),
        ];
        let warning = |(field, condition): (&'static str, &Option<Condition>)| {
            let constant = condition.as_ref()?.constant(values)?;
            Some(ConditionWarning { field, constant })
        };
        conditions.into_iter().filter_map(warning).collect()
    }

    /// Whether the whole query is a call of `scalar` or `vector`, which give one value. Queries that
    /// also do, such as a sum, are not recognized.
    fn answers_one_value(&self) -> bool {
        let query = self.query.trim();
        let call = ["scalar", "vector"].into_iter().find_map(|name| query.strip_prefix(name));
        let Some(arguments) = call.map(str::trim_start).filter(|rest| rest.starts_with('(')) else {
            return false;
        };
        // Quotes and comments may hold parentheses that count for nothing.
        if arguments.contains(['"', '\'', '`', '#']) {
            return false;
        }
        let mut depth = 0i64;
        let mut closes = arguments.char_indices().filter_map(|(at, c)| {
            depth += i64::from(c == '(') - i64::from(c == ')');
            (depth == 0).then_some(at)
        });
        closes.next() == Some(arguments.len() - 1)
    }
}

impl MetricRule {
    /// The kind's word in the file.
    pub const fn kind(&self) -> MetricKind {
        match self {
            Self::FailureRate { .. } => MetricKind::FailureRate,
            Self::Latency { .. } => MetricKind::Latency,
            Self::Distribution { .. } => MetricKind::Distribution,
            Self::Values { .. } => MetricKind::Values,
            Self::Conversion { .. } => MetricKind::Conversion,
            Self::Prometheus(_) => MetricKind::Prometheus,
        }
    }
}

/// The kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricKind {
    /// Compares shares of failures.
    FailureRate,
    /// Compares quantiles of durations.
    Latency,
    /// Shares of a signal's classes.
    Distribution,
    /// Quantiles of a signal's values.
    Values,
    /// Compares shares of conversions.
    Conversion,
    /// Holds the result of an external query against conditions.
    Prometheus,
}

impl MetricKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::FailureRate,
        Self::Latency,
        Self::Distribution,
        Self::Values,
        Self::Conversion,
        Self::Prometheus,
    ];

    /// The kind's word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailureRate => "failureRate",
            Self::Latency => "latency",
            Self::Distribution => "distribution",
            Self::Values => "values",
            Self::Conversion => "conversion",
            Self::Prometheus => "prometheus",
        }
    }
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
