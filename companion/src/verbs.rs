//! The verbs: each gathers what it needs, lets a pure function decide, applies and reports.

mod abort;
mod get;
mod list;
mod look;
mod set_weight;

use std::time::Duration;

use clap::CommandFactory;
use serde_json::json;

use crate::admin::{Report, Target};
use crate::cli::{Cli, Command, Get, GetWhat, Set, SetWhat};
use crate::error::{Error, Failure};
use crate::output::Output;

/// What every verb is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// The Envoys.
    pub(crate) targets: Vec<Target>,
    /// The longest that one request may take.
    pub(crate) deadline: Duration,
    /// Where results go.
    pub(crate) output: Output,
}

/// Runs a verb that talks to Envoys.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Set(Set { what: SetWhat::Weight(args) }) => set_weight::run(context, &args).await,
        Command::Get(Get { what: GetWhat::Rollout { name, watch, interval } }) => {
            get::run(context, &name, watch.then_some(interval)).await
        }
        Command::List => list::run(context).await,
        Command::Abort { name } => abort::run(context, &name).await,
        Command::Version => version(&context.output),
        Command::Completion { shell } => completion(shell, &context.output),
    }
}

/// `version`.
pub(crate) fn version(output: &Output) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    Ok(output.print(|| json!({ "version": version }), |_| format!("canaryctl {version}\n"))?)
}

/// `completion SHELL`.
pub(crate) fn completion(shell: clap_complete::Shell, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "canaryctl", &mut script);
    Ok(output.write(&String::from_utf8_lossy(&script))?)
}

/// What the Envoys said, taken apart into answers, each by how results call its Envoy, and errors.
pub(crate) fn split<T>(reports: Vec<Report<T>>) -> (Vec<(String, T)>, Vec<Error>) {
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    for Report { url, result } in reports {
        match result {
            Ok(answer) => answers.push((url, answer)),
            Err(error) => errors.push(error),
        }
    }
    (answers, errors)
}

/// Success, or the failure of those Envoys of `total` that had an error.
pub(crate) fn conclude(errors: Vec<Error>, total: usize) -> Result<(), Failure> {
    Failure::of_some(errors, total).map_or(Ok(()), Err)
}
