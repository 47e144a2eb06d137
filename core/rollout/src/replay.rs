//! What a rollout file would have decided on recorded counts.
//!
//! The steps advance as their conditions hold, whatever weight the recording had; the tests use the
//! recording's weight. The clock is the first line's time. Envoys count as confirming and gates as
//! consenting; `pause: {}` counts as promoted, since a recording holds nobody who could be asked, and
//! whoever replays wants to know what the judge would have said. A timeout that passes is another
//! thing: the conditions did *not* hold, so the replay stays there, and only a rollback ends it.
//!
//! A line that is enough to roll back is never enough to complete.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::advance::{self, People};
use super::blockers::{Blockers, of_step};
use super::spec::{Goal, Spec};
use super::state::{Phase, State};
use canary_judge::EffectEstimate;
use canary_judge::observation::{LineError, Observation};
use canary_judge::verdict::Verdict;

/// How a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayOutcome {
    /// A metric failed, so the canary is rolled back.
    Aborted,
    /// Every step's conditions held.
    Completed,
    /// Every step's conditions held, and the file only measures.
    Measured,
    /// A metric failed that pauses the rollout, so an operator would decide.
    Paused,
    /// The recording ended before.
    Insufficient,
}

/// Why a replay ended as it did.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplayReason {
    /// This metric failed, so the canary is rolled back, or the rollout pauses.
    Failed(Box<Verdict>),
    /// The conditions of all steps held, and no metric failed.
    Completed {
        /// How many steps there are.
        steps: usize,
    },
    /// The recording is empty.
    Empty,
    /// The recording ends where the rollout waits for this.
    Waits(Blockers),
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// How the replayed rollout ended.
    pub outcome: ReplayOutcome,
    /// The time of the line that decided, or of the last one; `None` for an empty recording.
    pub at: Option<f64>,
    /// Why it ended so.
    pub reason: ReplayReason,
    /// Canary requests up to and with that line.
    pub canary_requests: u64,
    /// Those of them that failed.
    pub canary_failures: u64,
    /// How far the canary differs from stable, with intervals.
    pub effects: Vec<EffectEstimate>,
}

/// Replays a recording up to its decision; what comes after is not read.
///
/// # Errors
/// The first line before the decision that is no observation.
pub fn replay(
    spec: &Spec,
    lines: impl IntoIterator<Item = Result<Observation, LineError>>,
) -> Result<Replayed, LineError> {
    let mut replay = Replay::new(spec);
    for line in lines {
        if let Some(replayed) = replay.line(&line?) {
            return Ok(replayed);
        }
    }
    Ok(replay.insufficient())
}

struct Replay<'s> {
    spec: &'s Spec,
    state: State,
    /// The first line's time.
    start: Option<f64>,
    at: Option<f64>,
}

impl<'s> Replay<'s> {
    fn new(spec: &'s Spec) -> Self {
        let mut state = State::new(spec, "replay", false);
        state.begin(spec, 1);
        state.enter(spec, 0);
        // A recording's lines are at their age already.
        state.begin_counting(spec);
        state.phase = Phase::Progressing;
        Self { spec, state, start: None, at: None }
    }

    fn line(&mut self, line: &Observation) -> Option<Replayed> {
        self.pass(line.t);
        self.state.observe(line);
        if let Some(verdict) = self.state.judge.abort() {
            let reason = ReplayReason::Failed(Box::new(verdict));
            return Some(self.ends(ReplayOutcome::Aborted, reason));
        }
        if let Some(verdict) = self.state.judge.pause() {
            let reason = ReplayReason::Failed(Box::new(verdict));
            return Some(self.ends(ReplayOutcome::Paused, reason));
        }
        advance::pauses(self.spec, &mut self.state, People::Promote);
        if !advance::ready(self.spec, &self.state) {
            return None;
        }
        let next = self.state.progress.step.saturating_add(1);
        if self.state.enter(self.spec, next).is_some() {
            self.state.begin_counting(self.spec);
            return None;
        }
        let steps = self.spec.steps.len();
        let outcome = match self.spec.goal {
            Goal::Promote => ReplayOutcome::Completed,
            Goal::Measure(_) => ReplayOutcome::Measured,
        };
        Some(self.ends(outcome, ReplayReason::Completed { steps }))
    }

    /// Moves the clock on to a line's time. Sums of differences would drift, so each is taken
    /// between two times since the start.
    fn pass(&mut self, t: f64) {
        let start = *self.start.get_or_insert(t);
        let since = Duration::try_from_secs_f64(t - start).unwrap_or(Duration::MAX);
        let before = std::mem::replace(&mut self.state.clock.passed, since);
        self.state.hold(since.saturating_sub(before));
        self.at = Some(t);
    }

    fn insufficient(&self) -> Replayed {
        let reason = match self.at {
            None => ReplayReason::Empty,
            Some(_) => ReplayReason::Waits(of_step(self.spec, &self.state)),
        };
        self.ends(ReplayOutcome::Insufficient, reason)
    }

    fn ends(&self, outcome: ReplayOutcome, reason: ReplayReason) -> Replayed {
        let canary = self.state.totals.canary;
        let (canary_requests, canary_failures) = (canary.trials, canary.events);
        let effects = self.state.judge.effects();
        Replayed { outcome, at: self.at, reason, canary_requests, canary_failures, effects }
    }
}

#[cfg(test)]
mod tests;
