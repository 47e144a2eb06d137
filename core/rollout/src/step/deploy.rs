//! Deploying: the new version is put into the canary's place before any weight moves, and later into
//! stable's. A hook whose end isn't known is called again after a restart.

use super::StepContext;
use crate::action::Action;
use crate::blockers::{checks, versions};
use crate::event::RolloutEvent;
use crate::inputs::DeployAnswer;
use crate::pause::PauseReason;
use crate::state::{DeployCall, Phase};
use crate::termination::TerminationReason;
use canary_model::role::Role;

impl StepContext<'_> {
    /// Takes what became of deploy hooks. Those of earlier calls don't count.
    pub(super) fn handle_deploys(&mut self, answers: Vec<DeployAnswer>) {
        for DeployAnswer { attempt, failed } in answers {
            let Some(call) = self.state.deploy.under_way.filter(|call| call.attempt == attempt)
            else {
                continue;
            };
            self.state.deploy.under_way = None;
            self.hook_before = None;
            match failed {
                None => self.deployed(call.role),
                Some(why) => self.deploy_failed(call.role, why),
            }
        }
    }

    fn deployed(&mut self, role: Role) {
        let version = self.released_version();
        self.events.push(RolloutEvent::Deployed { role, version });
        match (role, &mut self.state.finalizing) {
            (Role::Canary, _) => self.state.deploy.canary_done = true,
            (Role::Stable, Some(finalizing)) => finalizing.deployed = true,
            (Role::Stable, None) => {}
        }
    }

    fn deploy_failed(&mut self, role: Role, why: String) {
        match role {
            Role::Canary => {
                let version = self.released_version();
                self.request_rollback(TerminationReason::DeployFailed { version, why });
            }
            Role::Stable => self.hold_at_full(PauseReason::DeployFailed { why }),
        }
    }

    /// Deploys the new version into the canary's place, once it is known which it is.
    pub(super) fn begin_deploying(&mut self) {
        if !checks::before_deploy(&self.state).is_empty() {
            return;
        }
        self.state.canary_version = versions::canary_version(&self.state);
        self.state.phase = Phase::Deploying;
        self.call_deploy(Role::Canary);
    }

    /// Calls the hook for a role.
    pub(super) fn call_deploy(&mut self, role: Role) {
        let deploy = &mut self.state.deploy;
        deploy.calls = deploy.calls.saturating_add(1);
        let attempt = deploy.calls;
        deploy.under_way = Some(DeployCall { role, attempt, since: self.state.clock.passed });
        let version = self.released_version();
        self.events.push(RolloutEvent::Deploying { role, version: version.clone(), attempt });
        self.actions.push(Action::Deploy { role, version, attempt });
    }

    /// A hook that was under way, hasn't ended and is no longer wanted is stopped.
    pub(super) fn cancel_deploy(&mut self) {
        let wanted = self.state.deploy.under_way.map(|call| call.attempt);
        if let Some(attempt) = self.hook_before.filter(|before| Some(*before) != wanted) {
            self.actions.push(Action::CancelDeploy { attempt });
        }
    }

    /// Ends before any weight has moved: nothing is written.
    pub(super) fn abandon(&mut self, reason: TerminationReason) {
        self.state.phase = Phase::Degraded;
        self.state.untouched = true;
        self.state.deploy.under_way = None;
        self.state.ending = Some(reason.clone());
        self.events.push(RolloutEvent::Abandoned { reason });
    }

    /// The version that is being released; known from the first deploy or weight on.
    pub(super) fn released_version(&self) -> String {
        self.state.canary_version.clone().unwrap_or_default()
    }
}
