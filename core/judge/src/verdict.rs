//! Verdicts: what each metric concludes, with every number that led there.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::condition::Undecided;
use super::counts::{Pair, Trials};
use super::spec::{MetricKind, OnFailure};
use super::timing::Timing;

/// What a metric says of the canary now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conclusion {
    /// Judged since the step's start, and no worse than tolerated as far as can be told.
    Pass,
    /// Worse than tolerated, beyond the agreed doubt: roll back. It stays.
    Fail,
    /// Nothing to judge yet since the step's start: neither advance nor roll back.
    Insufficient,
}

/// What one metric concludes, with every number that led there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The metric's name in the rollout file.
    pub metric: String,
    /// The metric's kind, which says what is compared.
    pub kind: MetricKind,
    /// What the metric says of the canary now.
    pub conclusion: Conclusion,
    /// What happens when it fails.
    #[serde(default, skip_serializing_if = "OnFailure::is_abort")]
    pub on_failure: OnFailure,
    /// Whether an operator overruled it for the rest of the rollout: it then passes, whatever its evidence.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overruled: bool,
    /// The evidence against the canary; none for Prometheus.
    pub evidence: Option<Evidence>,
    /// The non-inferiority test, where the kind has one.
    #[serde(rename = "certificate")]
    pub non_inferiority: Option<NonInferiorityFigures>,
    /// Both versions' figures, as the metric counts them.
    pub findings: Findings,
    /// What it needs to conclude anything, when it is insufficient.
    pub missing: Option<InsufficientData>,
    /// What became of the lines that were offered to it.
    pub lines: LineCounts,
}

/// Evidence against the canary as an e-value: a bet that starts at one and, while the canary is no
/// worse than tolerated, can't be expected to grow (Ville 1939: it exceeds x with a probability of
/// at most 1/x, however often one looks).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The e-value's natural logarithm.
    pub log_e: f64,
    /// This metric's share of the tolerated probability of a false abort.
    pub omega: f64,
    /// This window's share of that: 1 in rollouts without affinity, else 1/(j(j+1)) in window j.
    pub window_share: f64,
    /// The window's number j, from 1, in rollouts with affinity.
    pub window: Option<u64>,
    /// ln(1/falseAbort). The canary fails when the weighted evidence reaches it.
    pub log_limit: f64,
}

impl Evidence {
    /// ln(omega · E): what metrics are compared by, and what is held against the limit.
    pub fn log_weighted(&self) -> f64 {
        self.log_e + self.omega.ln() + self.window_share.ln()
    }

    /// Whether the evidence suffices to roll back.
    pub fn suffices(&self) -> bool {
        self.log_weighted() >= self.log_limit
    }

    /// The e-value that is needed, as a logarithm.
    pub fn log_needed(&self) -> f64 {
        self.log_limit - self.omega.ln() - self.window_share.ln()
    }
}

/// The non-inferiority test's figures, counted from the step's start: whether the canary is certified to
/// be no worse than tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NonInferiorityFigures {
    /// When the canary was certified, in the recording's seconds; that holds until the next step.
    pub certified_at: Option<f64>,
    /// The e-value against "the canary is at or beyond the margin", as a natural logarithm.
    pub log_e: f64,
    /// What it must reach.
    pub log_limit: f64,
    /// The margin that is certified, as a fraction.
    pub margin: f64,
}

/// Both versions' figures, as the metric counts them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "camelCase")]
pub enum Findings {
    /// Shares of failures or conversions since the test's start (with affinity: the window's).
    Shares {
        /// Whether requests or clients were counted.
        unit: FindingUnit,
        /// How often it failed or converted, by version.
        counts: Pair<Trials>,
        /// How many times stable's share is tolerated.
        ratio: f64,
        /// The tolerated difference, as a fraction.
        margin: f64,
    },
    /// The quantile with the strongest evidence.
    Quantile {
        /// What of a request's time was compared.
        #[serde(default, skip_serializing_if = "Timing::is_total")]
        timing: Timing,
        /// Its name, such as `p99`.
        quantile: Cow<'static, str>,
        /// The stable version's value there when last looked at, in microseconds.
        edge_us: Option<f64>,
        /// How many times as slow the canary may be there.
        tolerance: f64,
        /// How many took so long or longer: stable's against the edge, the canary's against
        /// tolerance times the edge.
        counts: Pair<Trials>,
    },
    /// The quantile of a signal's values with the strongest evidence.
    Value {
        /// The signal whose values are compared.
        signal: String,
        /// Its name, such as `p99`.
        quantile: Cow<'static, str>,
        /// Whether lower values were looked for, and not higher ones.
        lower: bool,
        /// The stable version's value there when last looked at, in the histogram's unit.
        edge: Option<f64>,
        /// By which factor the canary's values may be higher or lower there.
        tolerance: f64,
        /// How many lay there or beyond: stable's against the edge, the canary's against the tolerated
        /// edge (times the tolerance, or divided by it).
        counts: Pair<Trials>,
    },
    /// The class with the strongest evidence.
    Class {
        /// The signal whose classes are compared.
        signal: String,
        /// The class; none before any was seen.
        class: Option<String>,
        /// How many values lay in it, by version.
        counts: Pair<Trials>,
        /// The tolerated difference, as a fraction.
        tolerance: f64,
    },
    /// An external query's results.
    Query {
        /// The last values that said something; none where a value is not a finite number.
        values: Vec<Option<f64>>,
        /// The condition that decides.
        condition: String,
        /// How many measurements failed.
        failures: u64,
        /// How many measurements may fail (`failureLimit`).
        failure_limit: u64,
        /// Why the last measurement says nothing, if it doesn't.
        outage: Option<NoAnswer>,
    },
}

/// Why a measurement of Prometheus says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum NoAnswer {
    /// It could not be taken.
    Outage {
        /// What happened, in the words of whoever asked.
        error: String,
    },
    /// The query answered without any series.
    NoSeries,
    /// A condition could not be decided by the result.
    Undecided(Undecided),
    /// A sentence of an older version's journal.
    #[serde(untagged)]
    Sentence(String),
}

/// What is counted: the unit of randomisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingUnit {
    /// Requests, in rollouts without affinity.
    Requests,
    /// Clients, in rollouts with affinity.
    Clients,
}

/// What a metric needs before it can conclude anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum InsufficientData {
    /// Requests or observations to close a block (`blocks`).
    Block {
        /// How many the open block holds.
        have: u64,
        /// How many close it.
        need: u64,
    },
    /// A block since the step's start with something of both versions; those that closed had only one.
    BothVersions,
    /// Canary requests that end its cold start (latency).
    ColdStart {
        /// Canary requests of the epoch so far.
        have: u64,
        /// How many the cold start lasts.
        need: u64,
    },
    /// Earlier stable observations to compare with (latency).
    History {
        /// How many there are.
        have: u64,
        /// How many the test begins with.
        need: u64,
    },
    /// A value that can be read: since the step's start all of both versions' were `unreadable`.
    ReadableValues {
        /// The signal that can't be read.
        signal: String,
        /// How many observations there were, all of them unreadable.
        unreadable: u64,
    },
    /// A measurement since the step's start (Prometheus).
    Measurement,
    /// A measurement that says something: the last one doesn't. [`Findings::Query`] has the reason.
    Answer,
    /// Fewer inconclusive measurements, neither success nor failure: an operator must decide.
    ConclusiveMeasurements {
        /// How many were inconclusive.
        inconclusive: u64,
        /// How many may be (`inconclusiveLimit`).
        limit: u64,
    },
}

/// What became of the lines that were offered to a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineCounts {
    /// BlockUpdate into a block.
    pub used: u64,
    /// Left out: no stable request, or the weight or window changed.
    pub left_out: u64,
    /// Dropped: a part was missing.
    pub dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_weighted_by_its_shares() {
        let log_e = 200f64.ln();
        let limit = 100f64.ln();
        let mut evidence =
            Evidence { log_e, omega: 0.5, window_share: 1.0, window: None, log_limit: limit };
        assert!((evidence.log_needed() - 200f64.ln()).abs() < 1e-12);
        evidence.log_e += 1e-9;
        assert!(evidence.suffices());
        evidence.window_share = 0.5;
        assert!(!evidence.suffices(), "a window's share raises the limit");
    }

    /// Journals hold verdicts as reasons for a rollback.
    #[test]
    fn a_verdict_can_be_written_and_read_again() {
        let quantile = Findings::Quantile {
            timing: Timing::Ttfb,
            quantile: "p99".into(),
            edge_us: Some(1_500.0),
            tolerance: 1.1,
            counts: Pair::default(),
        };
        let query = Findings::Query {
            values: vec![None, Some(1.0)],
            condition: "failureCondition result > 1".to_owned(),
            failures: 3,
            failure_limit: 2,
            outage: Some(NoAnswer::Undecided(Undecided::NotSingle { len: 2 })),
        };
        for findings in [quantile, query] {
            let verdict = Verdict {
                metric: "m".to_owned(),
                kind: MetricKind::Latency,
                conclusion: Conclusion::Fail,
                on_failure: OnFailure::Pause,
                overruled: false,
                evidence: None,
                non_inferiority: None,
                findings,
                missing: Some(InsufficientData::Measurement),
                lines: LineCounts::default(),
            };
            let text = serde_json::to_string(&verdict).unwrap();
            assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict, "{text}");
        }
        let old: NoAnswer = serde_json::from_str("\"no data\"").unwrap();
        assert_eq!(old, NoAnswer::Sentence("no data".to_owned()));
    }
}
