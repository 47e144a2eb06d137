//! What is known while the new version takes over stable's place, and of calls of the deploy hook.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pause::PauseReason;
use crate::termination::TerminationReason;
use canary_judge::Judge;
use canary_judge::counts::Pair;
use canary_model::role::Role;

/// How far Finalizing has come. All of it survives a restart of the controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finalization {
    pub(crate) stage: FinalizingStage,
    /// Whether stable's place runs the new version, as far as its hook or an operator says.
    pub(crate) deployed: bool,
    /// Why it holds at 100 % until an operator says more.
    pub(crate) paused: Option<PauseReason>,
    /// The external metrics that have failed, which an operator has overruled.
    #[serde(default)]
    pub(crate) overruled: BTreeSet<String>,
    /// The handover, once 50 % is confirmed.
    #[serde(default)]
    pub(crate) handover: Option<Handover>,
}

/// The stages of Finalizing, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum FinalizingStage {
    /// 100 % is set without a lease: only then may stable's place be touched.
    Securing,
    /// The hook puts the new version into stable's place.
    Deploying,
    /// Both places get half of the traffic, and the new stable is judged.
    HandingOver,
    /// Weight 0 is set and not yet confirmed.
    Leaving,
}

/// The evidence on the new stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Handover {
    /// When 50 % was confirmed, on the rollout's clock.
    pub(crate) began: Duration,
    /// Requests that were assigned since then and have reached the age `outcome_age`.
    pub(crate) judged: Pair<u64>,
    /// Judges the new stable against the canary's place: its roles are swapped.
    pub(crate) judge: Judge,
}

/// The calls of the deploy hook in this rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeployState {
    /// How often it was called, in all attempts.
    pub(crate) calls: u32,
    /// The call that has not ended.
    pub(crate) under_way: Option<DeployCall>,
    /// Whether the new version is in the canary's place.
    pub(crate) canary_done: bool,
}

/// One call of the deploy hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeployCall {
    /// Whose place gets the version.
    #[serde(with = "crate::role_text")]
    pub(crate) role: Role,
    /// Its number, which its answer carries.
    pub(crate) attempt: u32,
    /// When it was called, on the rollout's clock.
    pub(crate) since: Duration,
}

impl Finalization {
    /// Before anything was done about stable. `deployed`: the new version is in stable's place already.
    pub(crate) fn new(deployed: bool) -> Self {
        let (paused, overruled, handover) = (None, BTreeSet::new(), None);
        Self { stage: FinalizingStage::Securing, deployed, paused, overruled, handover }
    }

    /// An operator says to go on: what had failed until now doesn't count any more. Gives whether it was
    /// paused.
    pub(crate) fn resume(&mut self) -> bool {
        let Some(why) = self.paused.take() else { return false };
        if let PauseReason::AbortedAtFull { reason } = why
            && let TerminationReason::Metric { metric, .. } = *reason
        {
            self.overruled.insert(metric);
        }
        true
    }
}
