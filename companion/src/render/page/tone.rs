//! How something is: good, bad, or to be waited for.

use canary_rollout::state::Phase;

/// Whether something is as it should be. It is always said in words or by a sign as well.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    Good,
    Bad,
    Wait,
}

impl Tone {
    pub(super) const fn of_phase(phase: Phase) -> Self {
        match phase {
            Phase::Healthy | Phase::Measured => Self::Good,
            Phase::Aborting | Phase::Degraded => Self::Bad,
            Phase::Pending
            | Phase::Deploying
            | Phase::Progressing
            | Phase::Paused
            | Phase::Promoting
            | Phase::Finalizing => Self::Wait,
        }
    }

    /// The class in the style sheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Wait => "wait",
        }
    }
}
