//! What persons ask for: each command is obeyed or refused with a reason.

use super::StepContext;
use crate::event::{CommandReply, RolloutEvent};
use crate::inputs::OperatorCommand;
use crate::state::Phase;
use crate::termination::TerminationReason;

impl StepContext<'_> {
    pub(super) fn handle_command(&mut self, command: OperatorCommand) {
        let result = match command {
            OperatorCommand::Promote => self.promote(),
            OperatorCommand::PromoteFull => self.promote_full(),
            OperatorCommand::Pause => self.pause(),
            OperatorCommand::Resume => self.resume(),
            OperatorCommand::Abort => {
                self.request_rollback(TerminationReason::Operator);
                Ok(())
            }
            OperatorCommand::Retry => self.retry(),
        };
        let refused = result.err();
        self.replies.push(CommandReply { command, refused });
    }

    /// Ends the pause it is in, whatever that waits for.
    fn promote(&mut self) -> Result<(), String> {
        self.running("promote")?;
        let progress = &mut self.state.progress;
        let paused = progress.stopped || progress.timed_out;
        let pauses = self.spec.steps.get(progress.step).map_or(0, |step| step.pauses.len());
        if progress.pauses >= pauses && !paused {
            let what = "the step's pauses are over, and what it still waits for can't be skipped; \
                        `promote --full` waits for nothing";
            return Err(what.to_owned());
        }
        progress.stopped = false;
        if progress.pauses < pauses {
            progress.next_pause();
        }
        Ok(())
    }

    fn promote_full(&mut self) -> Result<(), String> {
        match self.state.phase {
            Phase::Promoting | Phase::Healthy => Ok(()),
            Phase::Progressing | Phase::Paused => {
                self.begin_promotion(TerminationReason::PromotedByOperator);
                Ok(())
            }
            phase @ (Phase::Pending | Phase::Aborting | Phase::Degraded) => {
                Err(refusal("promote", phase))
            }
        }
    }

    fn pause(&mut self) -> Result<(), String> {
        self.running("pause")?;
        self.state.progress.stopped = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), String> {
        self.running("resume")?;
        let progress = &mut self.state.progress;
        if progress.stopped || progress.timed_out {
            progress.resume();
            return Ok(());
        }
        Err(match self.state.phase {
            Phase::Paused => "this pause is the file's; `promote` ends it".to_owned(),
            _ => "it is not paused".to_owned(),
        })
    }

    fn retry(&mut self) -> Result<(), String> {
        if self.state.phase != Phase::Degraded {
            return Err(match self.state.phase {
                Phase::Aborting => "the rollback is not over yet; try again in a moment".to_owned(),
                phase => {
                    format!("only a rollout that was rolled back can be retried; it is {phase}")
                }
            });
        }
        let attempt = self.state.attempt.saturating_add(1);
        self.state.reset(self.spec, attempt);
        Ok(())
    }

    fn running(&self, command: &str) -> Result<(), String> {
        match self.state.phase {
            Phase::Progressing | Phase::Paused => Ok(()),
            phase => Err(refusal(command, phase)),
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
        self.state.ending = Some(reason.clone());
        self.events.push(RolloutEvent::Degraded { reason });
    }
}

fn refusal(command: &str, phase: Phase) -> String {
    let next = match phase {
        Phase::Pending => "it has not begun",
        Phase::Promoting => "all traffic is being sent to the canary; `abort` still works",
        Phase::Healthy => "the canary has all traffic already",
        Phase::Aborting => "it is being rolled back; `retry` begins anew after that",
        Phase::Degraded => "it was rolled back; `retry` begins anew",
        Phase::Progressing | Phase::Paused => "it can't do that now",
    };
    format!("can't {command} while {phase}: {next}")
}
