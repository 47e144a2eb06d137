//! `promote`, `pause`, `resume` and `retry`: one command to the controller.

use super::Context;
use crate::error::Failure;
use crate::output;

/// Sends the command and shows what the rollout is after it.
pub(crate) async fn run(
    context: &Context,
    rollout: &str,
    verb: &str,
    full: bool,
) -> Result<(), Failure> {
    let status = context.controller.steer(rollout, verb, full).await?;
    context.output.print(
        || output::controlled(&status),
        |paint| output::steered_text(verb, &status, paint),
    )?;
    Ok(())
}
