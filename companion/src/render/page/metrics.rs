//! The metrics of a rollout as rows, and its signals as shares of their values.

use std::collections::BTreeSet;

use canary_judge::counts::Pair;
use canary_judge::observation::ClassCounts;

use super::tone::Tone;
use crate::controller::status::{MetricProgress, MetricStatus};
use crate::render::figures::Bar;
use crate::report::RolloutReport;

/// A metric as it stands.
pub(super) struct MetricRow {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) severity: Tone,
    pub(super) verdict: &'static str,
    pub(super) failed: bool,
    /// `None` for metrics that are no bets.
    pub(super) evidence: Option<Bar>,
    /// `None` for metrics that certify nothing.
    pub(super) certified: Option<Bar>,
    pub(super) reason: String,
}

impl From<&MetricProgress> for MetricRow {
    fn from(metric: &MetricProgress) -> Self {
        let (severity, verdict) = match metric.verdict {
            MetricStatus::Pass => (Tone::Good, "✓ pass"),
            MetricStatus::Fail => (Tone::Bad, "✕ fail"),
            MetricStatus::Insufficient => (Tone::Wait, "… insufficient"),
            MetricStatus::Paused => (Tone::Wait, "✕ paused"),
            MetricStatus::Warned => (Tone::Wait, "✕ warned"),
        };
        // The sentence names the metric, which stands beside it already.
        let own = metric.reason.strip_prefix(&format!("{}: ", metric.name));
        Self {
            name: metric.name.clone(),
            kind: metric.kind.clone(),
            severity,
            verdict,
            failed: matches!(
                metric.verdict,
                MetricStatus::Fail | MetricStatus::Paused | MetricStatus::Warned
            ),
            evidence: (metric.kind != "prometheus").then(|| Bar::new(metric.evidence, 0)),
            certified: metric.non_inferiority.map(|part| Bar::new(part, 0)),
            reason: own.unwrap_or(&metric.reason).to_owned(),
        }
    }
}

/// How often each value of a signal was seen, in both versions.
pub(super) struct SignalShares {
    pub(super) name: String,
    pub(super) classes: Vec<ClassShares>,
}

/// One value's share of both versions' observations, stable's first.
pub(super) struct ClassShares {
    pub(super) name: String,
    pub(super) bars: [Bar; 2],
}

/// The signals that have classes; a conversion's total is the requests, so it isn't one of them.
pub(super) fn signals(report: &RolloutReport) -> Vec<SignalShares> {
    let several = report.signals.iter().filter(|(_, counts)| names(counts).len() > 1);
    several
        .map(|(signal, counts)| {
            let classes = names(counts).into_iter().map(|class| shares(class, counts)).collect();
            SignalShares { name: signal.clone(), classes }
        })
        .collect()
}

fn names(counts: &Pair<ClassCounts>) -> BTreeSet<&String> {
    counts.stable.keys().chain(counts.canary.keys()).collect()
}

fn shares(class: &String, counts: &Pair<ClassCounts>) -> ClassShares {
    let share = |counts: &ClassCounts| {
        let total: u64 = counts.values().sum();
        let own = counts.get(class).copied().unwrap_or(0);
        Bar::new(if total == 0 { 0.0 } else { own as f64 / total as f64 }, 1)
    };
    ClassShares { name: class.clone(), bars: [share(&counts.stable), share(&counts.canary)] }
}
