//! How far a rollout has come through the steps of its file. Pure.

use canary_rollout::spec::{Afterwards, Goal, Spec};
use canary_rollout::state::{Phase, State};
use serde::{Deserialize, Serialize};

/// A step of the file, or the promotion or the end of a measurement behind the last one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    /// The canary's weight in it, in percent.
    pub weight: f64,
    /// Whether the rollout is before it, in it or past it.
    pub place: StepPlace,
}

/// Where the rollout is, as seen from one of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepPlace {
    /// The rollout is past the step.
    Done,
    /// The rollout is in the step.
    Now,
    /// The rollout has yet to come to the step.
    Ahead,
    /// The rollout was rolled back in this step.
    RolledBack,
    /// The rollout was rolled back before the step.
    NotReached,
}

/// How far a rollout has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepsReached {
    /// No step has begun.
    Before,
    /// It is in a step, counted from 0.
    Within(usize),
    /// All traffic is going to the canary.
    Promoting,
    /// All traffic was on the canary, and is being handed over to stable's place; or it is paused in that.
    Finalizing,
    /// All steps are behind it.
    Promoted,
    /// It was rolled back in a step, counted from 0.
    RolledBack(usize),
}

impl StepsReached {
    /// How far a rollout has come in a phase, if the last step that began is `step`, counted from 0. One that is
    /// paused in the handover is [`Self::Finalizing`], which its phase alone doesn't say.
    pub const fn new(phase: Phase, step: usize, begun: bool) -> Self {
        match phase {
            Phase::Promoting => Self::Promoting,
            Phase::Finalizing => Self::Finalizing,
            Phase::Healthy | Phase::Measured => Self::Promoted,
            Phase::Aborting | Phase::Degraded => Self::RolledBack(step),
            _ if begun => Self::Within(step),
            _ => Self::Before,
        }
    }

    /// Where the rollout is, as seen from a step of the file, counted from 0.
    pub const fn place(self, index: usize) -> StepPlace {
        match self {
            Self::Promoted | Self::Promoting | Self::Finalizing => StepPlace::Done,
            Self::Within(step) | Self::RolledBack(step) if index < step => StepPlace::Done,
            Self::Within(step) if index == step => StepPlace::Now,
            Self::RolledBack(step) if index == step => StepPlace::RolledBack,
            Self::RolledBack(_) => StepPlace::NotReached,
            Self::Before | Self::Within(_) => StepPlace::Ahead,
        }
    }

    /// The same as seen from the promotion behind `steps` steps.
    pub const fn promotion(self, steps: usize) -> StepPlace {
        match self {
            Self::Promoting | Self::Finalizing => StepPlace::Now,
            _ => self.place(steps),
        }
    }
}

/// Every step of the file as it is now, and what comes behind the last one.
pub(super) fn planned(spec: &Spec, state: &State) -> Vec<StepStatus> {
    let begun = state.step().is_some();
    let reached = if state.is_finalizing() {
        StepsReached::Finalizing
    } else {
        StepsReached::new(state.phase(), state.last_step(), begun)
    };
    let steps = spec.steps.iter().enumerate().map(|(index, step)| StepStatus {
        weight: step.weight.percent(),
        place: reached.place(index),
    });
    let end = StepStatus { weight: end_weight(spec), place: reached.promotion(spec.steps.len()) };
    steps.chain([end]).collect()
}

/// The canary's weight behind the last step, in percent: all traffic, or what a measurement leaves.
pub fn end_weight(spec: &Spec) -> f64 {
    match spec.goal {
        Goal::Promote => 100.0,
        Goal::Measure(Afterwards::Stable) => 0.0,
        Goal::Measure(Afterwards::Keep) => {
            spec.steps.last().map_or(0.0, |step| step.weight.percent())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_behind_at_or_ahead_of_the_rollout() {
        use StepPlace::{Ahead, Done, NotReached, Now, RolledBack};
        let places = |phase, step, begun| {
            let reached = StepsReached::new(phase, step, begun);
            [reached.place(0), reached.place(1), reached.place(2), reached.promotion(3)]
        };
        assert_eq!(places(Phase::Pending, 0, false), [Ahead; 4]);
        assert_eq!(places(Phase::Paused, 1, true), [Done, Now, Ahead, Ahead]);
        assert_eq!(places(Phase::Promoting, 2, true), [Done, Done, Done, Now]);
        assert_eq!(places(Phase::Finalizing, 2, true), [Done, Done, Done, Now]);
        assert_eq!(places(Phase::Healthy, 2, true), [Done; 4]);
        let rolled_back = [Done, RolledBack, NotReached, NotReached];
        assert_eq!(places(Phase::Degraded, 1, true), rolled_back);
    }
}
