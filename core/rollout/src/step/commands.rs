//! What persons ask for: each command is obeyed or refused with a reason.

use super::StepContext;
use crate::blockers::finalizing;
use crate::event::{CommandReply, RolloutEvent};
use crate::inputs::OperatorCommand;
use crate::refusal::CommandRefusal;
use crate::state::Phase;
use crate::termination::TerminationReason;
use canary_judge::spec::OnFailure;

impl StepContext<'_> {
    pub(super) fn handle_command(&mut self, command: OperatorCommand) {
        let harmless = matches!(command, OperatorCommand::Abort | OperatorCommand::Pause);
        let result = match command {
            _ if self.unrecorded && !harmless => Err(CommandRefusal::Unrecorded),
            OperatorCommand::Promote => self.promote(),
            OperatorCommand::PromoteFull => self.promote_full(),
            OperatorCommand::Pause => self.pause(),
            OperatorCommand::Resume => self.resume(),
            OperatorCommand::Abort => self.abort(),
            OperatorCommand::Retry => self.retry(),
            OperatorCommand::Finish => self.finish(),
        };
        let refused = result.err();
        self.replies.push(CommandReply { command, refused });
    }

    /// Ends the pause it is in, whatever that waits for.
    fn promote(&mut self) -> Result<(), CommandRefusal> {
        self.running()?;
        let overruled = self.pausing_metrics();
        if !self.state.judge.inconclusive().is_empty() || !overruled.is_empty() {
            self.state.judge.accept_inconclusive();
            self.state.judge.overrule();
            self.state.progress.stopped = false;
            let overruled = overruled.into_iter().map(|metric| RolloutEvent::Overruled { metric });
            self.events.extend(overruled);
            return Ok(());
        }
        let progress = &mut self.state.progress;
        let paused = progress.stopped || progress.timed_out;
        let pauses = self.spec.steps.get(progress.step).map_or(0, |step| step.pauses.len());
        if progress.pauses >= pauses && !paused {
            return Err(CommandRefusal::NoPauseLeft);
        }
        progress.stopped = false;
        if progress.pauses < pauses {
            progress.next_pause();
        }
        Ok(())
    }

    fn promote_full(&mut self) -> Result<(), CommandRefusal> {
        match self.state.phase {
            Phase::Finalizing => self.overrule_handover(),
            Phase::Promoting | Phase::Healthy => Ok(()),
            Phase::Progressing | Phase::Paused if self.spec.goal.is_measure() => {
                Err(CommandRefusal::OnlyMeasures)
            }
            Phase::Progressing | Phase::Paused => {
                self.begin_promotion(TerminationReason::PromotedByOperator);
                Ok(())
            }
            phase @ (Phase::Pending
            | Phase::Deploying
            | Phase::Aborting
            | Phase::Measured
            | Phase::Degraded) => Err(CommandRefusal::NotInPhase(phase)),
        }
    }

    /// After the handover, both places run the new version, and there is nothing to go back to.
    fn abort(&mut self) -> Result<(), CommandRefusal> {
        if self.state.phase == Phase::Healthy && self.state.finished {
            let (rollout, old) = (self.spec.rollout.clone(), self.state.stable_version.clone());
            return Err(CommandRefusal::HandedOver { rollout, old });
        }
        self.request_rollback(TerminationReason::Operator);
        Ok(())
    }

    fn pause(&mut self) -> Result<(), CommandRefusal> {
        self.running()?;
        self.state.progress.stopped = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), CommandRefusal> {
        self.running()?;
        let inconclusive = !self.state.judge.inconclusive().is_empty();
        if inconclusive {
            self.state.judge.accept_inconclusive();
        }
        let again = self.pausing_metrics();
        self.state.judge.ask_again();
        let progress = &mut self.state.progress;
        if progress.stopped || progress.timed_out || inconclusive || !again.is_empty() {
            progress.resume();
            let again = again.into_iter().map(|metric| RolloutEvent::AsksAgain { metric });
            self.events.extend(again);
            return Ok(());
        }
        Err(match self.state.phase {
            Phase::Paused => CommandRefusal::PausedByFile,
            _ => CommandRefusal::NotPaused,
        })
    }

    /// The metrics that paused the rollout.
    fn pausing_metrics(&self) -> Vec<String> {
        self.state.judge.failing(OnFailure::Pause).into_iter().map(str::to_owned).collect()
    }

    fn retry(&mut self) -> Result<(), CommandRefusal> {
        if self.state.phase != Phase::Degraded {
            return Err(match self.state.phase {
                Phase::Aborting => CommandRefusal::RollbackUnfinished,
                phase => CommandRefusal::NotRolledBack(phase),
            });
        }
        let attempt = self.state.attempt.saturating_add(1);
        self.state.reset(self.spec, attempt);
        Ok(())
    }

    fn running(&self) -> Result<(), CommandRefusal> {
        match self.state.phase {
            Phase::Progressing | Phase::Paused => Ok(()),
            Phase::Finalizing if finalizing::paused(&self.state).is_some() => {
                Err(CommandRefusal::FinishInstead)
            }
            phase => Err(CommandRefusal::NotInPhase(phase)),
        }
    }

    /// Notes a reason to roll back; the first counts.
    pub(super) fn request_rollback(&mut self, reason: TerminationReason) {
        self.rollback.get_or_insert(reason);
    }

    /// The rollout is no longer ours: nothing is written any more.
    pub(super) fn give_up(&mut self, reason: TerminationReason) {
        self.state.phase = Phase::Degraded;
        self.state.target = None;
        self.state.finalizing = None;
        self.state.deploy.under_way = None;
        self.state.ending = Some(reason.clone());
        self.events.push(RolloutEvent::Degraded { reason, unreachable: Vec::new() });
    }
}
