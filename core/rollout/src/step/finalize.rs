//! Finalizing: the new version takes over stable's place. 100 % without a lease, because stable is being
//! replaced; then 50 %, judged; then 0 %. Until weight 0 is confirmed nothing goes back to stable: an abort
//! holds at 100 %.

use std::time::Duration;

use super::StepContext;
use crate::blockers::{checks, versions};
use crate::event::RolloutEvent;
use crate::pause::PauseReason;
use crate::refusal::CommandRefusal;
use crate::spec::Spec;
use crate::state::{Finalization, FinalizingStage, Handover, Phase, WeightTarget};
use crate::termination::{FailedVerdict, TerminationReason};
use canary_judge::Judge;
use canary_judge::counts::Pair;
use canary_judge::observation::Observation;
use canary_judge::spec::{Analysis, MetricRule, MetricSpec, OnFailure};
use canary_judge::verdict::{Conclusion, Findings, Verdict};
use canary_model::role::Role;
use canary_model::weight::Weight;

/// The weight at which the new stable is judged.
const HALF: Weight = match Weight::from_ppm(500_000) {
    Some(weight) => weight,
    None => Weight::FULL,
};
/// How long a handover is planned to take: its test's start mixture is spread over it.
const PLANNED_SECONDS: u64 = 60;
/// What is tolerated where the file has no failure metric, as a fraction.
const MARGIN: f64 = 0.001;

impl StepContext<'_> {
    /// Begins to replace stable's place. `deployed`: the new version is there already.
    pub(super) fn begin_finalizing(&mut self, deployed: bool) {
        self.state.phase = Phase::Finalizing;
        self.state.finalizing = Some(Finalization::new(deployed));
        self.state.releasing = false;
        let version = self.released_version();
        self.events.push(RolloutEvent::Finalizing { version });
        if !deployed {
            self.set_full();
        }
    }

    /// An operator says that stable's place has the new version, or to go on after a pause.
    pub(super) fn finish(&mut self) -> Result<(), CommandRefusal> {
        match (self.state.phase, &mut self.state.finalizing) {
            (Phase::Finalizing, Some(finalizing)) => {
                if finalizing.resume() {
                    self.events.push(RolloutEvent::Resumed);
                }
                Ok(())
            }
            (Phase::Healthy, _) if self.state.finished => Err(CommandRefusal::AlreadyFinished),
            (Phase::Healthy, _) => {
                self.begin_finalizing(self.spec.deploy_hook().is_none());
                Ok(())
            }
            (phase, _) => Err(CommandRefusal::NotInPhase(phase)),
        }
    }

    /// `promote --full`: the handover isn't judged any more.
    pub(super) fn overrule_handover(&mut self) -> Result<(), CommandRefusal> {
        let Some(finalizing) = self.state.finalizing.as_mut().filter(|one| one.deployed) else {
            return Err(CommandRefusal::StableNotDeployed);
        };
        let leaving = finalizing.stage == FinalizingStage::Leaving;
        if finalizing.resume() {
            self.events.push(RolloutEvent::Resumed);
        }
        if !leaving && !self.label_stable() {
            return Err(CommandRefusal::StableNotDeployed);
        }
        if !leaving {
            self.leave();
        }
        Ok(())
    }

    /// One step of Finalizing. What would be a rollback holds at 100 % instead.
    pub(super) fn finalize(&mut self) {
        // What failed counts after what an operator has just said about it.
        let rollback = self.rollback.take().or_else(|| self.failed_metric());
        if let Some(reason) = rollback
            && self.interrupt(reason)
        {
            return;
        }
        if let Some(verdict) = self.worse_stable.take() {
            let verdict = FailedVerdict::Verdict(Box::new(verdict));
            return self.hold_at_full(PauseReason::WorseInStablesPlace { verdict });
        }
        let Some(Finalization { stage, deployed, paused, .. }) = &self.state.finalizing else {
            return;
        };
        let (stage, deployed) = (*stage, *deployed);
        if paused.is_some() || self.unrecorded {
            return;
        }
        if self.state.target.is_none() {
            return self.claim();
        }
        let confirmed = self.state.confirmed() && checks::while_under_way(&self.state).is_empty();
        match stage {
            FinalizingStage::Securing if confirmed && !deployed => {
                self.set_stage(FinalizingStage::Deploying);
                self.call_deploy(Role::Stable);
            }
            FinalizingStage::Securing | FinalizingStage::Deploying if confirmed && deployed => {
                self.hand_over();
            }
            FinalizingStage::HandingOver => self.judge_handover(confirmed),
            FinalizingStage::Leaving if confirmed => self.finished(),
            _ => {}
        }
    }

    /// After the end the rollout has no owner. It is ours again once an Envoy was looked at and showed nobody
    /// else's name, which `check_owner` would have found.
    fn claim(&mut self) {
        if self.looked
            && self.before == Phase::Finalizing
            && self.state.reachable().next().is_some()
        {
            self.set_full();
        }
    }

    /// What would roll back in another phase. Gives whether it changes anything here.
    fn interrupt(&mut self, reason: TerminationReason) -> bool {
        let Some(finalizing) = &self.state.finalizing else { return false };
        match (reason, finalizing.stage) {
            // The canary's place failed where the new stable didn't.
            (TerminationReason::Guard { envoys, .. }, FinalizingStage::HandingOver) => {
                self.state.ending = Some(TerminationReason::GuardInHandover { envoys });
                self.leave();
            }
            (TerminationReason::Guard { .. }, FinalizingStage::Leaving) => return false,
            _ if finalizing.paused.is_some() && self.state.tripped.is_empty() => return false,
            (reason, _) => {
                self.hold_at_full(PauseReason::AbortedAtFull { reason: Box::new(reason) });
            }
        }
        true
    }

    /// Back to 100 %, until an operator says more. A tripped guard is cleared by a new epoch: it would send
    /// everybody to the place that is being replaced.
    pub(super) fn hold_at_full(&mut self, why: PauseReason) {
        let Some(finalizing) = &mut self.state.finalizing else { return };
        finalizing.stage = FinalizingStage::Securing;
        finalizing.handover = None;
        finalizing.paused = Some(why.clone());
        self.state.deploy.under_way = None;
        self.state.releasing = false;
        if !self.state.tripped.is_empty() {
            self.renew_epoch();
        }
        if self.state.target.is_some() {
            self.set_full();
        }
        self.events.push(RolloutEvent::Paused { why });
    }

    /// 100 % without a lease.
    fn set_full(&mut self) {
        if self.state.epoch == 0 {
            self.renew_epoch();
        }
        self.state.next_window();
        let full = self.state.driven(self.spec, Weight::FULL);
        self.state.set_target(WeightTarget { lease_seconds: None, ..full });
    }

    fn renew_epoch(&mut self) {
        self.state.epoch = self.state.next_epoch(self.now.unix);
        self.state.tripped.clear();
    }

    fn set_stage(&mut self, stage: FinalizingStage) {
        if let Some(finalizing) = &mut self.state.finalizing {
            finalizing.stage = stage;
        }
    }

    /// Stable's label becomes the new version. Gives whether it is known what the label is for.
    fn label_stable(&mut self) -> bool {
        let label = versions::label(&self.state, Role::Stable, &self.released_version());
        let known = label.is_some();
        if known {
            self.state.labels.stable = label;
        }
        known
    }

    /// Half of the traffic goes to stable's place under the new version's label, in a new epoch: the guard
    /// counts the handover alone.
    fn hand_over(&mut self) {
        if !self.label_stable() {
            return;
        }
        self.set_stage(FinalizingStage::HandingOver);
        self.renew_epoch();
        self.state.next_window();
        let half = self.state.driven(self.spec, HALF);
        self.state.set_target(WeightTarget { lease_seconds: None, ..half });
        self.events.push(RolloutEvent::HandingOver { weight: HALF });
    }

    fn judge_handover(&mut self, confirmed: bool) {
        self.renew_window();
        if !confirmed {
            return;
        }
        let Some(finalizing) = &mut self.state.finalizing else { return };
        let Some(handover) = &finalizing.handover else {
            finalizing.handover = Some(Handover {
                began: self.state.clock.passed,
                judged: Pair::default(),
                judge: Judge::new(&handover_analysis(self.spec), PLANNED_SECONDS),
            });
            return;
        };
        let Pair { stable, canary } = handover.judged;
        if stable.min(canary) >= self.spec.handover_requests() && self.state.outage.is_none() {
            self.leave();
        }
    }

    /// External metrics are measured in Finalizing, too: one that fails holds at 100 %, until an operator says
    /// that it doesn't matter.
    pub(super) fn measure_in_finalizing(&mut self) {
        let Some(sticky) = self.state.sticky.filter(|_| !self.state.measured.is_empty()) else {
            return;
        };
        let measurements = std::mem::take(&mut self.state.measured);
        let t = self.state.clock.passed.as_secs_f64();
        self.state.judge.take(&Observation { sticky, t, measurements, ..Observation::default() });
        self.note_metric_outages();
        self.tell_warnings();
    }

    /// An external metric that has failed, unless it only warns or an operator has overruled it.
    fn failed_metric(&self) -> Option<TerminationReason> {
        let finalizing = self.state.finalizing.as_ref();
        let overruled = finalizing.map(|finalizing| &finalizing.overruled);
        let fails = |verdict: &Verdict| {
            let external = matches!(verdict.findings, Findings::Query { .. });
            let known = overruled.is_some_and(|overruled| overruled.contains(&verdict.metric));
            let acts = verdict.on_failure != OnFailure::Warn;
            external && acts && !known && verdict.conclusion == Conclusion::Fail
        };
        let verdict = self.state.judge.verdicts().into_iter().find(fails)?;
        let metric = verdict.metric.clone();
        let verdict = FailedVerdict::Verdict(Box::new(verdict));
        Some(TerminationReason::Metric { metric, verdict })
    }

    /// Counts of both places, as far as they were assigned since 50 % was confirmed. The roles are swapped:
    /// the new stable is on trial, and the canary's place is what it is compared with.
    pub(super) fn count_handover(&mut self, line: Option<Observation>, begins: Duration) {
        let age = self.state.outcome_age();
        let window = self.state.target.as_ref().map(|target| target.window);
        let finalizing = self.state.finalizing.as_mut();
        let Some(handover) = finalizing.and_then(|finalizing| finalizing.handover.as_mut()) else {
            return;
        };
        let Some(mut line) = line.filter(|_| begins >= handover.began.saturating_add(age)) else {
            return;
        };
        if self.gap || !self.confirmed_before {
            return;
        }
        let Pair { stable, canary } = line.requests();
        handover.judged.stable = handover.judged.stable.saturating_add(stable);
        handover.judged.canary = handover.judged.canary.saturating_add(canary);
        std::mem::swap(&mut line.roles.stable, &mut line.roles.canary);
        line.t = self.state.clock.passed.as_secs_f64();
        (line.weight, line.assigned_weight, line.window) = (HALF, None, window);
        handover.judge.take(&line);
        self.worse_stable = handover.judge.abort();
    }

    /// All traffic goes to stable's place. The lease and the owner are given up at once: an Envoy that
    /// restarts now does the same.
    fn leave(&mut self) {
        self.set_stage(FinalizingStage::Leaving);
        self.state.releasing = true;
        self.state.next_window();
        let none = self.state.driven(self.spec, Weight::ZERO);
        self.state.set_target(WeightTarget { lease_seconds: None, owner: None, ..none });
    }

    fn finished(&mut self) {
        self.state.phase = Phase::Healthy;
        self.state.finished = true;
        self.state.finalizing = None;
        self.state.target = None;
        let version = self.released_version();
        let reason = self.state.ending.clone().unwrap_or(TerminationReason::Completed);
        let unreachable = self.unreachable();
        self.events.push(RolloutEvent::Finished { version, reason, unreachable });
    }
}

/// The test of the handover: that of the file's first failure metric, with a budget of its own.
pub(crate) fn handover_analysis(spec: &Spec) -> Analysis {
    let is_failure_rate =
        |metric: &&MetricSpec| matches!(metric.rule, MetricRule::FailureRate { .. });
    let metric = spec.analysis.metrics.iter().find(is_failure_rate).cloned();
    let default = || MetricSpec {
        name: "failures".to_owned(),
        rule: MetricRule::FailureRate { ratio: 1.0, margin: MARGIN },
        on_failure: OnFailure::Abort,
    };
    // Whatever the metric does in the steps, here it decides.
    let metric = MetricSpec { on_failure: OnFailure::Abort, ..metric.unwrap_or_else(default) };
    Analysis { metrics: vec![metric], ..spec.analysis.clone() }
}

#[cfg(test)]
mod tests;
