//! The end of a measurement. Nothing is promoted: the weight goes to 0, or stays if the file says so, and what
//! was measured is the result.

use super::StepContext;
use crate::event::RolloutEvent;
use crate::state::{Phase, WeightTarget};
use crate::termination::TerminationReason;
use canary_model::weight::Weight;

impl StepContext<'_> {
    /// The last step's conditions hold. Lease and owner are given up with the weight that stays, because nothing
    /// renews it after the end.
    pub(super) fn end_measurement(&mut self) {
        let kept = self.spec.goal.keeps_weight().then(|| {
            let last = self.spec.steps.get(self.state.progress.step);
            last.map_or(Weight::ZERO, |step| step.weight)
        });
        self.state.kept = kept;
        self.state.releasing = true;
        if kept.is_none() {
            self.state.next_window();
        }
        let driven = self.state.driven(self.spec, kept.unwrap_or(Weight::ZERO));
        self.state.set_target(WeightTarget { lease_seconds: None, owner: None, ..driven });
    }

    /// It is over when every Envoy that can be reached shows the weight that stays.
    pub(super) fn finish_measurement(&mut self) {
        if self.unrecorded || !self.state.confirmed() {
            return;
        }
        self.state.phase = Phase::Measured;
        self.state.target = None;
        self.state.ending = Some(TerminationReason::Measured);
        let weight = self.state.kept.unwrap_or(Weight::ZERO);
        let (effects, unreachable) = (self.state.judge.effects(), self.unreachable());
        self.events.push(RolloutEvent::Measured { weight, effects, unreachable });
    }
}
