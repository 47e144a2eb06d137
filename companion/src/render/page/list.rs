//! The list of rollouts.

use std::sync::Arc;

use askama::Template;

use super::Shell;
use super::detail::version;
use super::tone::Tone;
use crate::controller::status::{PastEvent, Side, Status};
use crate::render::figures::{UNKNOWN, day, failing, millis, percent};
use crate::render::past_event;
use crate::report::RecentEvent;

/// A rollout in the list: as it is, and what happened in it last, if anything has.
#[derive(Debug)]
pub(crate) struct ListedRollout {
    pub(crate) status: Arc<Status>,
    pub(crate) last_event: Option<RecentEvent>,
}

#[derive(Template)]
#[template(path = "list.html")]
pub(super) struct ListPage {
    shell: Shell,
    rows: Vec<ListRow>,
}

struct ListRow {
    rollout: String,
    phase: String,
    severity: Tone,
    weight: String,
    versions: String,
    failing: String,
    p99: String,
    evidence: String,
    event: String,
    /// What is wrong beside the phase.
    problem: Option<String>,
}

impl ListPage {
    pub(super) fn new(rollouts: &[ListedRollout]) -> Self {
        let shell = Shell::live("canaryctl: rollouts".to_owned(), None);
        Self { shell, rows: rollouts.iter().map(row).collect() }
    }
}

fn row(listed: &ListedRollout) -> ListRow {
    let ListedRollout { status, last_event } = listed;
    let both =
        |of: &dyn Fn(&Side) -> String| format!("{} | {}", of(&status.stable), of(&status.canary));
    let strongest = status.metrics.iter().max_by(|one, two| one.evidence.total_cmp(&two.evidence));
    let evidence = strongest.map_or_else(
        || UNKNOWN.to_owned(),
        |metric| match 100.0 * metric.evidence {
            percent if percent < 0.5 => "0 %".to_owned(),
            percent => format!("{} {percent:.0} %", metric.name),
        },
    );
    let event = last_event.as_ref().map(|last| {
        let PastEvent { at, text } = past_event(&last.at, &last.event, &last.spec);
        format!("{} UTC: {text}", day(&at))
    });
    ListRow {
        rollout: status.rollout.clone(),
        phase: status.phase.to_string(),
        severity: Tone::of_phase(status.phase),
        weight: status.weight.in_force.or(status.weight.set).map_or(UNKNOWN.to_owned(), percent),
        versions: format!("{} → {}", version(&status.stable), version(&status.canary)),
        failing: both(&|side| failing(side.requests, side.failures)),
        p99: both(&|side| millis(side.p99_ms)),
        evidence,
        event: event.unwrap_or_else(|| UNKNOWN.to_owned()),
        problem: super::detail::problems(status).into_iter().next(),
    }
}
