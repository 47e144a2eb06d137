//! Past rollouts, for people.

use super::Paint;
use super::text::{Table, UNKNOWN};
use crate::commands::history::Past;

/// A line each; with details also everything that happened.
pub(crate) fn history_text(all: &[Past], details: bool, paint: Paint) -> String {
    if all.is_empty() {
        return "no rollouts yet\n".to_owned();
    }
    if details {
        return all.iter().map(|past| told(past, paint)).collect();
    }
    let mut table =
        Table::new(["ROLLOUT", "STABLE", "CANARY", "STARTED", "ENDED", "PHASE", "REASON"]);
    for past in all {
        let or_unknown = |text: Option<&str>| text.unwrap_or(UNKNOWN).to_owned();
        table.row([
            past.rollout.clone(),
            or_unknown(past.versions.stable.as_deref()),
            or_unknown(past.versions.canary.as_deref()),
            past.started.clone(),
            or_unknown(past.ended.as_deref()),
            or_unknown(past.phase),
            or_unknown(past.reason.as_deref()),
        ]);
    }
    table.render(7)
}

fn told(past: &Past, paint: Paint) -> String {
    let phase = past.phase.unwrap_or(UNKNOWN);
    let ended = past.ended.as_deref().map_or("not over".to_owned(), |at| format!("ended {at}"));
    let head =
        format!("{}  {phase}  started {}, {ended}\n", paint.bold(&past.rollout), past.started);
    let events = past.events.iter().map(|event| format!("  {}  {}\n", event.at, event.event));
    std::iter::once(head).chain(events).collect()
}
