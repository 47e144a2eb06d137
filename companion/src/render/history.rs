//! `history`: past rollouts as text and as JSON.

use canary_judge::counts::Pair;
use canary_rollout::event::RolloutEvent;
use canary_rollout::state::Phase;
use serde::Serialize;

use super::messages;
use super::output::Paint;
use super::table::{Table, UNKNOWN};
use crate::report::PastRollout;
use crate::sentences;

/// One rollout in the JSON of `history`.
#[derive(Serialize)]
pub(crate) struct PastJson<'a> {
    rollout: &'a str,
    started: &'a str,
    ended: Option<&'a str>,
    phase: Option<&'static str>,
    reason: Option<String>,
    versions: &'a Pair<Option<String>>,
    owner: &'a str,
    journal: &'a str,
    events: Vec<PastEventJson<'a>>,
}

#[derive(Serialize)]
struct PastEventJson<'a> {
    at: &'a str,
    event: String,
}

/// The JSON of `history`.
pub(crate) fn history_json(all: &[PastRollout]) -> Vec<PastJson<'_>> {
    all.iter().map(past_json).collect()
}

fn past_json(past: &PastRollout) -> PastJson<'_> {
    let events = past.events.iter();
    let event = |(at, event)| PastEventJson { at, event: sentence(past, event) };
    PastJson {
        rollout: &past.rollout,
        started: &past.started,
        ended: past.ended.as_deref(),
        phase: past.phase.map(Phase::as_str),
        reason: past.reason.as_ref().map(sentences::termination),
        versions: &past.versions,
        owner: &past.owner,
        journal: &past.journal,
        events: events.map(|(at, event)| (at.as_str(), event)).map(event).collect(),
    }
}

fn sentence(past: &PastRollout, event: &RolloutEvent) -> String {
    let spec = past.spec.as_ref();
    spec.map_or_else(|| format!("{event:?}"), |spec| messages::event(event, spec))
}

/// One line for each; with details, also everything that happened.
pub(crate) fn history_text(all: &[PastRollout], details: bool, paint: Paint) -> String {
    if all.is_empty() {
        return "no rollouts yet\n".to_owned();
    }
    if details {
        return all.iter().map(|past| detailed(past, paint)).collect();
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
            or_unknown(past.phase.map(Phase::as_str)),
            or_unknown(past.reason.as_ref().map(sentences::termination).as_deref()),
        ]);
    }
    table.render(7)
}

fn detailed(past: &PastRollout, paint: Paint) -> String {
    let phase = past.phase.map_or(UNKNOWN, Phase::as_str);
    let ended = past.ended.as_deref().map_or("not ended".to_owned(), |at| format!("ended {at}"));
    let head =
        format!("{}  {phase}  started {}, {ended}\n", paint.bold(&past.rollout), past.started);
    let line =
        |(at, event): &(String, RolloutEvent)| format!("  {at}  {}\n", sentence(past, event));
    std::iter::once(head).chain(past.events.iter().map(line)).collect()
}
