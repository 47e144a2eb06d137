//! `status NAME`: one word, and the exit code.

use std::time::{Duration, SystemTime};

use canary_judge::counts::Pair;
use canary_rollout::event::RolloutEvent;
use canary_rollout::state::Phase;
use serde_json::json;
use tokio::time::Instant;

use super::Context;
use crate::cli;
use crate::controller::status::{Status, Weights};
use crate::error::{Error, Failure};
use crate::journal::{self, timestamp};
use crate::{render, report};

/// How often the controller is asked, with `--watch`.
const EVERY: Duration = Duration::from_millis(250);

/// Says how a rollout is; with `--watch` when it has ended.
pub(crate) async fn run(context: &Context, args: &cli::StatusArgs) -> Result<(), Failure> {
    let status =
        if args.watch { watch(context, args).await? } else { current(context, &args.name).await? };
    let word = word(status.phase);
    let json = json!({
        "rollout": status.rollout,
        "status": word,
        "phase": status.phase,
        "reason": status.reason,
    });
    context.output.print(|| json, |_| format!("{word}\n"))?;
    if status.phase == Phase::Degraded {
        let reason = status.reason.unwrap_or_default();
        return Err(Error::Degraded { rollout: status.rollout, reason }.into());
    }
    Ok(())
}

/// Waits for the rollout's end. A controller that isn't up yet or restarts is waited for, too.
async fn watch(context: &Context, args: &cli::StatusArgs) -> Result<Status, Error> {
    let begin = timestamp(SystemTime::now());
    let end = Instant::now() + args.timeout;
    let mut last: Option<Status> = None;
    loop {
        let gone = match context.controller.status(&args.name).await {
            Ok(status) if status.has_ended() => return Ok(status),
            Ok(status) => {
                last = Some(status);
                None
            }
            Err(
                error @ (Error::NoController { .. } | Error::NotHere { .. } | Error::Late { .. }),
            ) => {
                // A controller that has ended and exited in between is known from its journal.
                if let Some((status, at)) = ended(&args.name)
                    && at >= begin
                {
                    return Ok(status);
                }
                Some(error)
            }
            Err(error) => return Err(error),
        };
        if Instant::now() >= end {
            return Err(late(args, last.as_ref(), gone));
        }
        tokio::time::sleep(EVERY.min(end - Instant::now())).await;
    }
}

/// What is known when the time is up: exit code 4 if no controller ever answered, otherwise 3.
fn late(args: &cli::StatusArgs, last: Option<&Status>, gone: Option<Error>) -> Error {
    let seconds = args.timeout.as_secs_f64();
    match (last, gone) {
        (None, Some(error)) => error,
        (None, None) => Error::Late { what: format!("no answer within {seconds} s") },
        (Some(status), gone) => {
            let waits = status.waits_for.as_deref().unwrap_or("its end");
            let phase = word(status.phase);
            let what = match gone {
                None => format!(
                    "{} is still {phase} after {seconds} s; it waits for {waits}",
                    args.name
                ),
                Some(error) => format!(
                    "{} was {phase} when its controller last answered; {seconds} s are over: {error}",
                    args.name
                ),
            };
            Error::Late { what }
        }
    }
}

/// The last rollout of this name as its journal in the default folder tells it, with the time of its end;
/// `None` if there is none or it hasn't ended.
pub(super) fn ended(rollout: &str) -> Option<(Status, String)> {
    let path = journal::default_path(rollout).filter(|path| path.exists())?;
    let report = report::of_journal(&path, Some(rollout)).ok()??;
    let at = report.ended.clone()?;
    let result = report.decisions.iter().find_map(|decision| match &decision.event {
        RolloutEvent::Measured { weight, effects, .. } => Some((weight.percent(), effects.clone())),
        _ => None,
    });
    let (kept, effects) = result.unwrap_or_default();
    let set = match report.phase {
        Phase::Healthy if !report.finished => Some(100.0),
        Phase::Measured => Some(kept),
        Phase::Healthy | Phase::Degraded => Some(0.0),
        _ => None,
    };
    let Pair { stable, canary } = report.versions;
    let status = Status {
        rollout: report.rollout,
        phase: report.phase,
        step: None,
        steps: 0,
        plan: Vec::new(),
        recent: Vec::new(),
        attempt: 1,
        weight: Weights { set, ..Weights::default() },
        stable,
        canary,
        guard_tripped: None,
        lease_expired: None,
        waits_for: None,
        reason: report.reason,
        metrics: report.metrics,
        effects,
        split_mismatch: false,
        envoys: Vec::new(),
        owner: None,
        seconds: report.seconds,
        decisions: report.decisions.len() as u64,
        envoy_errors: 0,
        idle: false,
        notes: Vec::new(),
        journal_ok: true,
        measures: report.phase == Phase::Measured,
    };
    Some((status, at))
}

/// A rollout's status from its controller, or from its journal if the controller has ended with it; then a
/// message says so.
pub(super) async fn current(context: &Context, rollout: &str) -> Result<Status, Error> {
    match context.controller.status(rollout).await {
        Err(error @ (Error::NoController { .. } | Error::NotHere { .. })) => {
            let (status, at) = ended(rollout).ok_or(error)?;
            let phase = status.phase;
            render::message(&format!(
                "no controller runs \"{rollout}\"; it ended {phase} at {at}, as its journal says"
            ));
            Ok(status)
        }
        answer => answer,
    }
}

/// One word. A rollback hasn't ended before it is confirmed.
const fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Healthy => "Healthy",
        Phase::Measured => "Measured",
        Phase::Paused => "Paused",
        Phase::Degraded => "Degraded",
        Phase::Deploying
        | Phase::Progressing
        | Phase::Promoting
        | Phase::Finalizing
        | Phase::Aborting => "Progressing",
    }
}
