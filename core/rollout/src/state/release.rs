//! What a release is about, and how far it has come beside its steps.

use super::{DeployCall, Phase, State};
use crate::action::Action;
use crate::termination::TerminationReason;
use crate::versions::ReleaseVersions;
use canary_model::weight::Weight;

impl State {
    /// For the versions of a release: those that were named become labels in Envoy's runtime.
    #[must_use]
    pub fn with_versions(self, release: ReleaseVersions) -> Self {
        let ReleaseVersions { named, versions } = release;
        Self { named, stable_version: versions.stable, canary_version: versions.canary, ..self }
    }

    /// After a release without a deploy hook: all traffic is in the canary's place, and `finish` can hand it
    /// over.
    #[must_use]
    pub fn released(self) -> Self {
        let ending = Some(TerminationReason::Completed);
        Self { phase: Phase::Healthy, ending, ..self }
    }

    /// The version that serves by default: after the handover, and in it, the new one.
    pub fn stable_version(&self) -> Option<&str> {
        let handed_over =
            self.finished || self.finalizing.as_ref().is_some_and(|finalizing| finalizing.deployed);
        if handed_over { self.canary_version() } else { self.stable_version.as_deref() }
    }

    /// Whether the new version has taken over stable's place, so that an abort has nothing to go back to.
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether stable's place is being replaced: the rollout is Finalizing, or Paused in it.
    pub const fn is_finalizing(&self) -> bool {
        matches!(self.phase, Phase::Finalizing)
    }

    /// The weight that stays after the rollout's end; `None` before it.
    pub const fn final_weight(&self) -> Option<Weight> {
        match self.phase {
            Phase::Healthy if !self.finished => Some(Weight::FULL),
            Phase::Measured => match self.kept {
                Some(weight) => Some(weight),
                None => Some(Weight::ZERO),
            },
            Phase::Healthy | Phase::Degraded => Some(Weight::ZERO),
            _ => None,
        }
    }

    /// The call of the deploy hook whose end isn't known: a controller that has just been started makes it
    /// again.
    pub fn deploy_under_way(&self) -> Option<Action> {
        let DeployCall { role, attempt, .. } = self.deploy.under_way?;
        let version = self.canary_version.clone()?;
        Some(Action::Deploy { role, version, attempt })
    }
}
