//! A rollout in one line, for the list of a page.

use serde::Serialize;

use super::{Decimal, RolloutJson, StepJson, WeightJson, controlled};
use crate::controller::status::{self as controller, Status};

/// A rollout's line in the list of events.
#[derive(Serialize)]
pub(crate) struct ListLine<'v> {
    rollout: &'v str,
    phase: &'v str,
    step: Option<StepJson>,
    weight: WeightJson,
    stable: ListSide<'v>,
    canary: ListSide<'v>,
    /// The strongest evidence against the canary, as a fraction of what rolls it back.
    evidence: Option<Decimal>,
    waits_for: Option<&'v str>,
    reason: Option<&'v str>,
    notes: &'v [String],
}

#[derive(Serialize)]
struct ListSide<'v> {
    version: Option<&'v str>,
    /// The share of requests that failed.
    failing: Option<f64>,
    p99_ms: Option<Decimal>,
}

/// A rollout's line in the list of events.
pub(crate) fn list_line(status: &Status) -> ListLine<'_> {
    fn side(side: &controller::Side) -> ListSide<'_> {
        let share = (side.requests > 0).then(|| side.failures as f64 / side.requests as f64);
        ListSide {
            version: side.version.as_deref(),
            failing: share,
            p99_ms: side.p99_ms.map(Decimal),
        }
    }
    let RolloutJson { rollout, step, weight, waits_for, notes, .. } = controlled(status);
    let evidence = status.metrics.iter().map(|metric| metric.evidence).reduce(f64::max);
    ListLine {
        rollout,
        phase: status.phase.as_str(),
        step,
        weight,
        stable: side(&status.stable),
        canary: side(&status.canary),
        evidence: evidence.map(Decimal),
        waits_for,
        reason: status.reason.as_deref(),
        notes,
    }
}
