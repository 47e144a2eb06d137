//! What happened last in a rollout, for those who ask while it runs. Pure.

use canary_rollout::event::RolloutEvent;

use super::record::StepRecord;

/// How many of the events that happened last are kept, and shown.
pub(crate) const RECENT: usize = 5;

/// The newest events with their times (RFC 3339, UTC), oldest first: at most [`RECENT`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RecentEvents(Vec<(String, RolloutEvent)>);

impl RecentEvents {
    /// Adds what happened in the next step.
    pub(crate) fn add(&mut self, step: &StepRecord) {
        self.0.extend(step.events.iter().map(|event| (step.at.clone(), event.clone())));
        let excess = self.0.len().saturating_sub(RECENT);
        self.0.drain(..excess);
    }

    /// Each event with its time, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, RolloutEvent)> {
        self.0.iter()
    }
}
