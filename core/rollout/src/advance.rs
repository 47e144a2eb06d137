//! When a step is left: its pauses one after the other, then data, whatever the pauses say.
//!
//! The controller and the replay of recordings share this; they differ in who answers where a person
//! is asked.

use super::pause::PauseReason;
use super::spec::{Conditions, PauseSpec, Spec, StepSpec};
use super::state::{State, StepProgress};
use canary_judge::spec::OnFailure;

/// Who answers where the file asks a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum People {
    /// A person, in their own time.
    Decide,
    /// Nobody is there: `pause: {}` counts as promoted. What a timeout asks can't be known.
    Promote,
}

/// The step that the rollout is in.
pub(crate) fn current<'s>(spec: &'s Spec, state: &State) -> Option<&'s StepSpec> {
    spec.steps.get(state.progress.step)
}

/// The pause that the rollout is in; `None` behind the last.
pub(crate) fn pause<'s>(spec: &'s Spec, state: &State) -> Option<&'s PauseSpec> {
    current(spec, state)?.pauses.get(state.progress.pauses)
}

/// Moves on behind every pause whose conditions hold, and notes a timeout.
pub(crate) fn pauses(spec: &Spec, state: &mut State, people: People) {
    if state.progress.stopped || state.progress.timed_out || is_held(state) {
        return;
    }
    while let Some(pause) = pause(spec, state) {
        let over = match pause {
            PauseSpec::Operator => people == People::Promote,
            PauseSpec::Until(conditions) => holds(conditions, state),
        };
        if !over {
            break;
        }
        state.progress.next_pause();
    }
    let timeout = pause(spec, state).and_then(PauseSpec::until).and_then(|until| until.timeout);
    state.progress.timed_out = timeout.is_some_and(|limit| state.progress.in_timeout() >= limit);
}

fn holds(conditions: &Conditions, state: &State) -> bool {
    let Conditions { duration, min_requests, until_confident, timeout } = conditions;
    let progress = &state.progress;
    let time = duration.is_none_or(|need| progress.in_pause() >= need);
    let requests = min_requests.is_none_or(|need| progress.counts.canary.trials >= need);
    let confident = !until_confident || is_confident(state);
    // Whoever sets a timeout wants to be asked, also where it is data that does not come.
    let data = timeout.is_none() || has_data(state);
    time && requests && confident && data
}

/// Whether every metric has judged something of both versions that was assigned since the step's start.
fn has_data(state: &State) -> bool {
    state.progress.counting && state.judge.waiting_for_data().is_empty()
}

fn is_confident(state: &State) -> bool {
    state.judge.uncertified().is_empty() && has_data(state)
}

/// Whether a metric or the sample ratio holds the rollout.
fn is_held(state: &State) -> bool {
    !state.judge.failing(OnFailure::Pause).is_empty() || state.judge.is_split_held()
}

/// Whether the step can be left, as far as its pauses and the data go.
pub(crate) fn ready(spec: &Spec, state: &State) -> bool {
    let StepProgress { stopped, timed_out, .. } = state.progress;
    let held = stopped || timed_out || is_held(state);
    !held && pause(spec, state).is_none() && has_data(state)
}

/// Why the rollout holds until a person says more.
pub(crate) fn pausing(spec: &Spec, state: &State) -> Option<PauseReason> {
    if state.progress.stopped {
        return Some(PauseReason::Command);
    }
    if let Some(metric) = state.judge.inconclusive().first() {
        return Some(PauseReason::Inconclusive { metric: (*metric).to_owned() });
    }
    if let Some(metric) = state.judge.failing(OnFailure::Pause).first() {
        return Some(PauseReason::Metric { metric: (*metric).to_owned() });
    }
    if state.progress.timed_out {
        return Some(PauseReason::Timeout);
    }
    matches!(pause(spec, state), Some(PauseSpec::Operator)).then_some(PauseReason::File)
}
