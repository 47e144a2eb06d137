//! One metric as the controller shows it.

use canary_judge::spec::OnFailure;
use canary_judge::verdict::{Conclusion, Verdict};
use serde::{Deserialize, Serialize};

use super::rounded;
use crate::sentences;

/// What the judge says about a metric, as the API writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricStatus {
    /// Judged since the step's start, and not worse than tolerated as far as can be told.
    Pass,
    /// Worse than the file tolerates, with enough evidence.
    Fail,
    /// Not enough data since the step's start.
    Insufficient,
    /// Worse than the file tolerates: the rollout waits for an operator (`onFailure: pause`).
    Paused,
    /// Worse than the file tolerates, which is only reported (`onFailure: warn`).
    Warned,
}

impl MetricStatus {
    /// The status as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Insufficient => "insufficient",
            Self::Paused => "paused",
            Self::Warned => "warned",
        }
    }
}

/// One metric of the rollout file as it stands now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricProgress {
    /// Its name in the file.
    pub name: String,
    /// Its kind, as in the file.
    pub kind: String,
    /// What happens when it fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What the judge says about it now.
    pub verdict: MetricStatus,
    /// The verdict in a sentence.
    pub reason: String,
    /// The evidence against the canary, as a part of what rolls it back: 1 does. 0 where there is none.
    pub evidence: f64,
    /// Progress of the non-inferiority test: 1 certifies; `None` for kinds without such a test.
    pub non_inferiority: Option<f64>,
}

pub(crate) fn metric(verdict: &Verdict) -> MetricProgress {
    let (evidence, non_inferiority) = shares(verdict);
    MetricProgress {
        name: verdict.metric.clone(),
        kind: verdict.kind.to_string(),
        on_failure: verdict.on_failure,
        verdict: match (verdict.conclusion, verdict.on_failure) {
            (Conclusion::Pass, _) => MetricStatus::Pass,
            (Conclusion::Insufficient, _) => MetricStatus::Insufficient,
            (Conclusion::Fail, OnFailure::Abort) => MetricStatus::Fail,
            (Conclusion::Fail, OnFailure::Pause) => MetricStatus::Paused,
            (Conclusion::Fail, OnFailure::Warn) => MetricStatus::Warned,
        },
        reason: sentences::verdict(verdict),
        evidence,
        non_inferiority,
    }
}

/// [`MetricProgress::evidence`] and [`MetricProgress::non_inferiority`] of a verdict, without its sentence.
pub(crate) fn shares(verdict: &Verdict) -> (f64, Option<f64>) {
    let share = |log: f64, limit: f64| rounded((log / limit).clamp(0.0, 1.0), 4);
    let failed = verdict.conclusion == Conclusion::Fail;
    let evidence = verdict.evidence.map(|evidence| share(evidence.log_e, evidence.log_needed()));
    let certified = verdict.non_inferiority.map(|test| {
        if test.certified_at.is_some() { 1.0 } else { share(test.log_e, test.log_limit) }
    });
    (if failed { 1.0 } else { evidence.unwrap_or(0.0) }, certified)
}
