//! Why a rollout ended or is paused, why a command was refused, and how an Envoy differs.

use canary_judge::counts::Pair;
use canary_judge::verdict::Findings;
use canary_rollout::mismatch::EnvoyMismatch;
use canary_rollout::pause::PauseReason;
use canary_rollout::refusal::CommandRefusal;
use canary_rollout::state::Phase;
use canary_rollout::termination::{FailedVerdict, TerminationReason};

use super::verdict::verdict;

/// Why a rollout ended or is being ended, without a full stop.
pub(crate) fn termination(reason: &TerminationReason) -> String {
    match reason {
        TerminationReason::Completed => "every step's conditions held".to_owned(),
        TerminationReason::Measured => "the measurement's steps are over".to_owned(),
        TerminationReason::PromotedByOperator => "promoted by a person, past the steps".to_owned(),
        TerminationReason::Metric { verdict: FailedVerdict::Verdict(failed), .. } => {
            verdict(failed)
        }
        TerminationReason::Metric { verdict: FailedVerdict::Sentence(text), .. } => text.clone(),
        TerminationReason::Guard { envoys, counts } => {
            let tripped = format!("the guard tripped on {}", envoys.join(", "));
            let Some(Pair { canary, stable }) = counts else { return tripped };
            format!(
                "{tripped}: so far the canary failed {} of {} requests, stable {} of {}",
                canary.events, canary.trials, stable.events, stable.trials
            )
        }
        TerminationReason::Operator => "aborted by a person".to_owned(),
        TerminationReason::KillSwitch { envoy } => {
            format!("the kill switch was thrown on {envoy}, past this controller")
        }
        TerminationReason::DeployFailed { version, why } => {
            format!("version {version} could not be deployed into the canary's place: {why}")
        }
        TerminationReason::GuardInHandover { envoys } => format!(
            "the guard tripped on {} in the handover: the canary's place failed and the new stable didn't, \
             so all traffic went to stable's place at once",
            envoys.join(", ")
        ),
        TerminationReason::OtherOwner { envoy, owner } => {
            format!("{owner} drives this rollout now, as {envoy} shows")
        }
    }
}

/// Whom a paused rollout waits for, and why.
pub(crate) fn pause(why: &PauseReason) -> String {
    let text = match why {
        PauseReason::Inconclusive { metric } => {
            return format!(
                "an operator: more measurements of {metric} were neither good nor bad than its \
                 inconclusiveLimit allows"
            );
        }
        PauseReason::DeployFailed { why } => {
            return format!(
                "an operator: the new version could not be deployed into stable's place: {why}. All traffic \
                 stays in the canary's place; `finish` deploys again"
            );
        }
        PauseReason::WorseInStablesPlace { verdict } => return worse_in_stables_place(verdict),
        PauseReason::AbortedAtFull { reason } => {
            return format!(
                "an operator: {}. Stable's place is being replaced, so no user is back on stable: all \
                 traffic is in the canary's place. `finish` goes on",
                termination(reason)
            );
        }
        PauseReason::Metric { metric } => {
            return format!(
                "an operator: {metric} finds the canary worse than tolerated; `resume` lets it ask again, \
                 `promote` overrules it for the rest of the rollout"
            );
        }
        PauseReason::Sentence(text) => text,
        PauseReason::File => "a person to promote it, as the file says",
        PauseReason::Command => "a person to resume it",
        PauseReason::Timeout => "a person: the timeout passed before the pause's conditions held",
    };
    text.to_owned()
}

/// What the handover's test found: its roles are swapped.
fn worse_in_stables_place(verdict: &FailedVerdict) -> String {
    let found = match verdict {
        FailedVerdict::Verdict(failed) => match &failed.findings {
            Findings::Shares { counts: Pair { stable, canary }, .. } => format!(
                "the new version failed {} of {} requests in stable's place and {} of {} in the canary's",
                canary.events, canary.trials, stable.events, stable.trials
            ),
            _ => {
                "the new version fails more often in stable's place than in the canary's".to_owned()
            }
        },
        FailedVerdict::Sentence(text) => text.clone(),
    };
    format!(
        "an operator: {found}. All traffic is in the canary's place again; `finish` judges again, and \
         `promote --full` overrules the verdict"
    )
}

/// Why a command was refused, and what would work.
pub(crate) fn refusal(why: &CommandRefusal) -> String {
    let text = match why {
        CommandRefusal::NotInPhase(phase) => {
            return format!("not while {phase}: {}", possible_in(*phase));
        }
        CommandRefusal::NotRolledBack(phase) => {
            return format!("only a rollout that was rolled back can be retried; it is {phase}");
        }
        CommandRefusal::HandedOver { rollout, old } => {
            let old = old.as_deref().unwrap_or("OLD");
            return format!(
                "both places run the new version, so there is nothing to go back to. To go back, release \
                 the old version: `canaryctl start {rollout} --canary-version {old}`, then `promote --full` if \
                 it is urgent"
            );
        }
        CommandRefusal::AlreadyFinished => {
            "the new version has taken over stable's place already; there is nothing to finish"
        }
        CommandRefusal::StableNotDeployed => {
            "stable's place doesn't have the new version yet; `finish` puts it there and hands over"
        }
        CommandRefusal::FinishInstead => {
            "it is paused in the handover to the new stable; `finish` goes on with it"
        }
        CommandRefusal::NoPauseLeft => {
            "no pause left to skip in this step, and its remaining conditions cannot be skipped; \
             use `promote --full` to bypass them"
        }
        CommandRefusal::PausedByFile => "the rollout file asks for this pause; `promote` ends it",
        CommandRefusal::NotPaused => "it is not paused",
        CommandRefusal::RollbackUnfinished => "the rollback is not over yet; try again in a moment",
        CommandRefusal::Unrecorded => {
            "its journal can't be written, and nothing advances that isn't written down; `pause` and \
             `abort` work"
        }
        CommandRefusal::OnlyMeasures => {
            "this rollout only measures (`goal: measure`) and is never promoted; `promote` ends the present \
             pause, `abort` ends the measurement"
        }
        CommandRefusal::Sentence(text) => text,
    };
    text.to_owned()
}

/// What an operator can do in a phase in which a command has no meaning.
const fn possible_in(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "it has not started; `abort` ends it",
        Phase::Deploying => {
            "the new version is being deployed and no weight has moved; `abort` stops that"
        }
        Phase::Finalizing => {
            "stable's place is being replaced; `abort` holds all traffic in the canary's place"
        }
        Phase::Measured => "its measurement is over; start it again to measure again",
        Phase::Promoting => "all traffic is being sent to the canary; `abort` still works",
        Phase::Healthy => "the canary has all traffic already; `abort` takes it back",
        Phase::Aborting => "it is being rolled back; `retry` starts again after that",
        Phase::Degraded => "it was rolled back; `retry` starts again",
        Phase::Progressing | Phase::Paused => "it can't do that now",
    }
}

/// What an Envoy doesn't show as it should.
pub(crate) fn mismatch(mismatch: &EnvoyMismatch) -> String {
    match mismatch {
        EnvoyMismatch::NotConfirmed => "not confirmed yet".to_owned(),
        EnvoyMismatch::Runtime { key, shown, wanted } => {
            let shown = shown.as_deref().unwrap_or("nothing");
            format!("its runtime shows {key} {shown} instead of {wanted}")
        }
        EnvoyMismatch::OwnerLeft { owner } => format!("its runtime still shows owner {owner}"),
        EnvoyMismatch::LeaseMissing => "its runtime does not show our lease".to_owned(),
        EnvoyMismatch::LeaseLeft => "its runtime still shows our lease".to_owned(),
        EnvoyMismatch::NoWeightReported => "its filter reports no weight".to_owned(),
        EnvoyMismatch::LeaseExpired => "its lease ran out".to_owned(),
        EnvoyMismatch::InForce { weight, wanted } => {
            format!("weight {weight} is still in force, {wanted} is set")
        }
    }
}
