//! Deciding: roll back, begin, go on, promote, end. A reason to roll back comes first.

use std::time::Duration;

use super::StepContext;
use crate::advance;
use crate::blockers::{checks, versions};
use crate::event::RolloutEvent;
use crate::spec::GatePosition;
use crate::state::{Phase, WeightTarget};
use crate::termination::TerminationReason;
use canary_model::weight::Weight;

/// How long a window lasts at most: an hour, so that clients that failed once are heard again.
const WINDOW: Duration = Duration::from_secs(3_600);

impl StepContext<'_> {
    pub(super) fn decide(&mut self) {
        if self.state.is_finalizing() {
            return self.finalize();
        }
        if let Some(reason) = self.rollback.take()
            && self.may_request_rollback(&reason)
        {
            return self.begin_rollback(reason);
        }
        match self.state.phase {
            Phase::Pending => self.begin(),
            Phase::Deploying => self.begin_steps(),
            Phase::Progressing | Phase::Paused if self.state.releasing => self.finish_measurement(),
            Phase::Progressing | Phase::Paused => self.progress(),
            Phase::Promoting => self.finish_promotion(),
            Phase::Aborting => self.finish_rollback(),
            Phase::Finalizing | Phase::Healthy | Phase::Measured | Phase::Degraded => {}
        }
    }

    /// A person's word counts in every phase but after a rollback; everything else before the end.
    fn may_request_rollback(&self, reason: &TerminationReason) -> bool {
        match self.state.phase {
            Phase::Pending
            | Phase::Deploying
            | Phase::Progressing
            | Phase::Paused
            | Phase::Promoting => true,
            Phase::Healthy => *reason == TerminationReason::Operator,
            // After a measurement the canary may have kept its weight.
            Phase::Measured => *reason == TerminationReason::Operator && self.state.kept.is_some(),
            Phase::Aborting | Phase::Finalizing => false,
            Phase::Degraded => {
                let lost = matches!(self.state.ending, Some(TerminationReason::OtherOwner { .. }));
                *reason == TerminationReason::Operator && lost
            }
        }
    }

    fn begin_rollback(&mut self, mut reason: TerminationReason) {
        if self.state.phase == Phase::Deploying {
            return self.abandon(reason);
        }
        if let TerminationReason::Guard { counts, .. } = &mut reason {
            *counts = Some(self.state.totals);
        }
        self.state.phase = Phase::Aborting;
        self.state.aborting_since = self.state.clock.passed;
        self.state.ending = Some(reason.clone());
        self.events.push(RolloutEvent::Aborting { reason });
        self.state.members.values_mut().for_each(|member| member.stable = false);
        let (epoch, window) = (self.state.epoch, self.state.window);
        self.state.set_target(WeightTarget {
            weight: Weight::ZERO,
            version: self.state.canary_version.clone(),
            enabled: false,
            epoch,
            window,
            lease_seconds: None,
            owner: None,
            labels: self.state.labels.clone(),
        });
    }

    /// All traffic is back on stable when every Envoy that can be reached says so and the leases of
    /// all others have run out.
    fn finish_rollback(&mut self) {
        if !self.state.unconfirmed_rollback().is_empty()
            || !self.state.leases_left(self.spec).is_zero()
        {
            return;
        }
        self.state.phase = Phase::Degraded;
        self.state.target = None;
        let reason = self.state.ending.clone().unwrap_or(TerminationReason::Operator);
        let unreachable = self.unreachable();
        self.events.push(RolloutEvent::Degraded { reason, unreachable });
    }

    /// The rollout begins when somebody was looked at since it could: who owns it shows then.
    fn begin(&mut self) {
        let looked = self.before == Phase::Pending && self.state.reachable().next().is_some();
        if self.unrecorded || !looked {
            return;
        }
        if self.spec.deploy_hook().is_some() { self.begin_deploying() } else { self.begin_steps() }
    }

    /// The first weight is set when the new version is in its place, and nothing holds it.
    fn begin_steps(&mut self) {
        let deployed = self.state.deploy.canary_done || self.spec.deploy_hook().is_none();
        let ready = deployed && self.state.reachable().next().is_some();
        if self.unrecorded
            || !ready
            || !checks::before_first_weight(self.spec, &self.state).is_empty()
        {
            return;
        }
        if !self.passes(GatePosition::Step(0)) {
            return;
        }
        self.state.canary_version = versions::canary_version(&self.state);
        let epoch = self.state.next_epoch(self.now.unix);
        self.state.labels = versions::labels(&self.state);
        self.state.begin(self.spec, epoch);
        let attempt = self.state.attempt;
        self.events.push(RolloutEvent::Started { epoch, attempt });
        self.enter(0);
    }

    /// Begins a step: sets its weight, in a new window.
    fn enter(&mut self, step: usize) {
        if let Some(weight) = self.state.enter(self.spec, step) {
            self.events.push(RolloutEvent::Step { step, weight });
        }
        self.update_phase();
    }

    fn progress(&mut self) {
        self.renew_window();
        let held = self.unrecorded
            || self.state.outage.is_some()
            || !checks::while_under_way(&self.state).is_empty();
        if !held {
            advance::pauses(self.spec, &mut self.state, advance::People::Decide);
        }
        self.update_phase();
        let ready = advance::ready(self.spec, &self.state);
        if !ready || held || !self.state.confirmed() {
            return;
        }
        let next = self.state.progress.step.saturating_add(1);
        if next < self.spec.steps.len() {
            if self.passes(GatePosition::Step(next)) {
                self.enter(next);
            }
        } else if self.spec.goal.is_measure() {
            self.end_measurement();
        } else if self.passes(GatePosition::Promotion) {
            self.begin_promotion(TerminationReason::Completed);
        }
    }

    /// A new window at least hourly, and where leases may have run out while nobody looked.
    pub(super) fn renew_window(&mut self) {
        let age = self.state.clock.passed.saturating_sub(self.state.window_began);
        if age >= WINDOW || self.gap {
            self.state.next_window();
        }
    }

    /// Says whether it is paused now, and tells of a change.
    fn update_phase(&mut self) {
        let pausing = advance::pausing(self.spec, &self.state);
        let phase = if pausing.is_some() { Phase::Paused } else { Phase::Progressing };
        let before = std::mem::replace(&mut self.state.phase, phase);
        match (before, pausing) {
            (Phase::Progressing | Phase::Pending, Some(why)) => {
                self.events.push(RolloutEvent::Paused { why });
            }
            (Phase::Paused, None) => self.events.push(RolloutEvent::Resumed),
            _ => {}
        }
    }

    pub(super) fn begin_promotion(&mut self, reason: TerminationReason) {
        self.state.phase = Phase::Promoting;
        self.state.ending = Some(reason);
        self.state.releasing = false;
        self.state.next_window();
        let target = self.state.driven(self.spec, Weight::FULL);
        self.state.set_target(target);
        self.events.push(RolloutEvent::Promoting);
    }

    /// First everybody is at 100 % under a lease; only then is the lease given up, so that a fleet
    /// is never left half and half for good.
    fn finish_promotion(&mut self) {
        if self.gap {
            self.state.next_window();
        }
        if self.unrecorded
            || !self.state.confirmed()
            || !checks::while_under_way(&self.state).is_empty()
        {
            return;
        }
        if self.spec.deploy_hook().is_some() {
            return self.begin_finalizing(false);
        }
        if !self.state.releasing {
            self.state.releasing = true;
            let driven = self.state.driven(self.spec, Weight::FULL);
            return self.state.set_target(WeightTarget {
                lease_seconds: None,
                owner: None,
                ..driven
            });
        }
        self.state.phase = Phase::Healthy;
        self.state.target = None;
        let reason = self.state.ending.clone().unwrap_or(TerminationReason::Completed);
        let unreachable = self.unreachable();
        self.events.push(RolloutEvent::Completed { reason, unreachable });
    }

    pub(super) fn unreachable(&self) -> Vec<String> {
        self.state.unreachable().map(|(name, _)| name.to_owned()).collect()
    }
}
