//! `status NAME`: one word, and the exit code.

use std::time::Duration;

use canary_rollout::state::Phase;
use serde_json::json;
use tokio::time::Instant;

use super::Context;
use crate::cli;
use crate::controller::status::Status;
use crate::error::{Error, Failure};

/// How often the controller is asked, with `--watch`.
const EVERY: Duration = Duration::from_millis(250);

/// Says how a rollout is; with `--watch` when it has ended.
pub(crate) async fn run(context: &Context, args: &cli::StatusArgs) -> Result<(), Failure> {
    let status = if args.watch {
        watch(context, args).await?
    } else {
        context.controller.status(&args.name).await?
    };
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

async fn watch(context: &Context, args: &cli::StatusArgs) -> Result<Status, Error> {
    let end = Instant::now() + args.timeout;
    loop {
        let status = context.controller.status(&args.name).await?;
        if status.has_ended() {
            return Ok(status);
        }
        if Instant::now() >= end {
            let waits = status.waits_for.as_deref().unwrap_or("its end");
            let what = format!(
                "{} is still {} after {} s; it waits for {waits}",
                args.name,
                word(status.phase),
                args.timeout.as_secs_f64()
            );
            return Err(Error::Late { what });
        }
        tokio::time::sleep(EVERY.min(end - Instant::now())).await;
    }
}

/// One of four words. A rollback is no end before it is confirmed.
const fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Healthy => "Healthy",
        Phase::Paused => "Paused",
        Phase::Degraded => "Degraded",
        Phase::Pending | Phase::Progressing | Phase::Promoting | Phase::Aborting => "Progressing",
    }
}
