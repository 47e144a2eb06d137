//! What a rollout waits for around its steps: a version to be deployed, and the handover.

use std::time::Duration;

use super::{Blocker, checks, versions};
use crate::pause::PauseReason;
use crate::spec::Spec;
use crate::state::{DeployCall, Finalization, FinalizingStage, State};
use canary_judge::counts::Pair;
use canary_model::role::Role;

/// The deploy hook that has been called and hasn't answered.
pub(super) fn deploying(state: &State) -> Option<Blocker> {
    let DeployCall { role, since, .. } = state.deploy.under_way?;
    let version = state.canary_version.clone()?;
    let running = state.clock.passed.saturating_sub(since);
    Some(Blocker::Deploy { role, version, running })
}

/// What Finalizing waits for.
pub(super) fn finalizing(spec: &Spec, state: &State) -> Vec<Blocker> {
    let Some(finalizing) = &state.finalizing else { return Vec::new() };
    let paused = finalizing.paused.clone().map(|why| Blocker::Operator { why });
    let is_paused = paused.is_some();
    let mut waits: Vec<Blocker> = paused.into_iter().collect();
    waits.extend(checks::while_under_way(state));
    waits.extend(checks::confirmation(state));
    if is_paused {
        return waits;
    }
    waits.extend(deploying(state));
    if finalizing.deployed && versions::configured(state, Role::Stable).is_none() {
        waits.push(Blocker::ConfiguredVersion { role: Role::Stable });
    }
    if finalizing.stage == FinalizingStage::HandingOver {
        waits.extend(checks::outage(state));
        waits.extend(handover(spec, finalizing, state.clock.passed));
    }
    waits
}

fn handover(spec: &Spec, finalizing: &Finalization, now: Duration) -> Option<Blocker> {
    let handover = finalizing.handover.as_ref()?;
    let (have, need) = (handover.judged, spec.handover_requests());
    let least = have.stable.min(have.canary);
    let seconds = now.saturating_sub(handover.began).as_secs_f64();
    let left = seconds * need.saturating_sub(least) as f64 / least as f64;
    let left = Duration::try_from_secs_f64(left.round()).ok().filter(|_| least < need);
    let waits = Pair { stable: have.stable < need, canary: have.canary < need };
    (waits.stable || waits.canary).then_some(Blocker::Handover { have, need, left })
}

/// Why Finalizing is paused.
pub(crate) fn paused(state: &State) -> Option<&PauseReason> {
    state.finalizing.as_ref()?.paused.as_ref()
}
