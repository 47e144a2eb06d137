//! `finish NAME`: a command to the controller, or without one the handover itself.

use super::{Context, run, steer};
use crate::api::command_body::CommandBody;
use crate::cli::FinishArgs;
use crate::error::{Error, Failure};
use crate::rollout_file;

/// Asks the controller; if none runs the rollout and a rollout file is given, does the handover.
pub(crate) async fn run(context: &Context, args: &FinishArgs) -> Result<(), Failure> {
    let body = CommandBody { reason: args.reason.clone(), ..CommandBody::default() };
    let asked = steer::run(context, &args.name, "finish", &body).await;
    let Some(run_args) = args.as_run().filter(|_| !context.controller_given) else {
        return asked;
    };
    let nobody =
        |error: &Error| matches!(error, Error::NoController { .. } | Error::NotHere { .. });
    match asked {
        Err(failure) if failure.errors.iter().all(nobody) => {}
        answered => return answered,
    }
    let rollout = rollout_file::read(run_args.file())?.rollout;
    if rollout != args.name {
        let file = run_args.file().display();
        let what = format!("{file} is for the rollout \"{rollout}\", not for \"{}\"", args.name);
        return Err(Error::Usage { what }.into());
    }
    run::finish(context, &run_args).await
}
