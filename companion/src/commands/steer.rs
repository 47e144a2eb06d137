//! `start`, `promote`, `pause`, `resume` and `retry`: one command to the controller.

use super::Context;
use crate::api::command_body::CommandBody;
use crate::error::Failure;
use crate::render;

/// Sends the command and shows what the rollout is after it.
pub(crate) async fn run(
    context: &Context,
    rollout: &str,
    verb: &str,
    body: &CommandBody,
) -> Result<(), Failure> {
    let status = context.controller.steer(rollout, verb, body).await?;
    context.output.print(
        || render::controlled(&status),
        |paint| render::steered_text(verb, &status, paint),
    )?;
    Ok(())
}
