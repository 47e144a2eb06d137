//! Several metrics, one error rate.
//!
//! **Source.** The union bound: metric m rolls back when ω_m · E_m ≥ 1/falseAbort with Σ ω_m = 1, so
//! all together they err with at most that probability, however they depend on each other, and the
//! metric that decided names itself. Metrics that abort and metrics that pause are two classes with a
//! budget each (STATISTICS 1.13). In a class, all metrics that can have an error rate (all kinds but
//! Prometheus) have equal shares, also those without data: who shares must not depend on outcomes.

use super::spec::OnFailure;
use super::verdict::{Conclusion, Verdict};

/// Each metric's share among so many.
pub(crate) fn equal_share(metrics: usize) -> f64 {
    1.0 / metrics.max(1) as f64
}

/// The verdict to act on in a class: among those that fail the one with the largest ω · E; one without
/// evidence (Prometheus) only where there is no other.
pub(crate) fn decisive(verdicts: &[Verdict], class: OnFailure) -> Option<&Verdict> {
    let weight = |verdict: &Verdict| {
        verdict.evidence.map_or(f64::NEG_INFINITY, |evidence| evidence.log_weighted())
    };
    let failed = verdicts
        .iter()
        .filter(|verdict| verdict.conclusion == Conclusion::Fail && verdict.on_failure == class);
    failed.reduce(|best, next| if weight(next) > weight(best) { next } else { best })
}
