//! The commands: each gathers what it needs, lets a pure function decide, applies and reports.

mod abort;
mod cohort;
mod finish;
mod get;
mod history;
mod lint;
mod list;
mod plan;
mod render;
mod replay;
mod report;
mod run;
mod serve;
mod service;
mod set_weight;
mod status;
mod steer;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::api::access::Token;
use crate::api::client::Client;
use crate::api::command_body::CommandBody;
use crate::cli::{
    Cli, Command, Get, GetWhat, PromoteArgs, Render, RenderWhat, Set, SetWhat, StartArgs, SteerArgs,
};
use crate::completion;
use crate::controller::status::Status;
use crate::envoy::{EnvoyReply, EnvoyUrl};
use crate::error::{Error, Failure};
use crate::render::Output;

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// The Envoys; empty where none is named.
    targets: Vec<EnvoyUrl>,
    /// Whether they were named on the command line, and not just in the environment.
    pub(crate) envoys_given: bool,
    /// The controller, which may not be there.
    pub(crate) controller: Client,
    /// Whether it was named on the command line, and not just in the environment.
    pub(crate) controller_given: bool,
    /// The file with the controller's token.
    pub(crate) token_file: Option<PathBuf>,
    /// The longest that one request may take.
    pub(crate) deadline: Duration,
    /// Where and how results are printed.
    pub(crate) output: Output,
}

impl Context {
    pub(crate) fn new(cli: &Cli, output: Output) -> Result<Self, Error> {
        let targets = match cli.targets() {
            Err(Error::NoEnvoy) => Vec::new(),
            targets => targets?,
        };
        let token = Token::find(cli.token_file.as_deref())?;
        Ok(Self {
            targets,
            envoys_given: cli.names_envoys(),
            controller: Client::new(cli.controller_url()?.as_ref(), token)?,
            controller_given: cli.controller.is_some(),
            token_file: cli.token_file.clone(),
            deadline: cli.request_timeout,
            output,
        })
    }

    /// The Envoys.
    ///
    /// # Errors
    /// Where none is named.
    pub(crate) fn targets(&self) -> Result<&[EnvoyUrl], Error> {
        if self.targets.is_empty() { Err(Error::NoEnvoy) } else { Ok(&self.targets) }
    }

    /// The controller's status of a rollout; `None` if it doesn't answer. A controller that was named on
    /// the command line must answer.
    pub(crate) async fn ask_controller(&self, rollout: &str) -> Result<Option<Status>, Error> {
        match self.controller.status(rollout).await {
            Ok(status) => Ok(Some(status)),
            Err(error) if self.controller_given => Err(error),
            Err(_) => Ok(None),
        }
    }
}

/// Runs a command that only reads files, without an HTTP client and its certificates; `None` if it is
/// another command.
pub(crate) fn without_network(command: &Command, output: &Output) -> Option<Result<(), Failure>> {
    Some(match command {
        Command::Version => version(output),
        Command::Completion { shell } => print_completion(shell, output),
        Command::Lint(args) => lint::lint(output, args),
        Command::Plan(args) => plan::forecast(output, args, args.rps?),
        Command::Replay(args) => replay::replay_file(output, args),
        Command::Cohort(args) => cohort::cohort(output, args),
        Command::Render(Render { what: RenderWhat::Istio(args) }) => render::istio(output, args),
        _ => return None,
    })
}

/// Runs a command that may use the network.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Set(Set { what: SetWhat::Weight(args) }) => set_weight::run(context, &args).await,
        Command::Get(Get { what: GetWhat::Rollout { name, watch, interval } }) => {
            get::run(context, &name, watch.then_some(interval)).await
        }
        Command::List => list::run(context).await,
        Command::Run(args) => run::run(context, &args).await,
        Command::Status(args) => status::run(context, &args).await,
        Command::Serve(args) => serve::run(context, &args).await,
        Command::Start(args) => {
            let StartArgs { name, canary_version, stable_version, reason } = args;
            let body = CommandBody { reason, canary_version, stable_version, full: false };
            steer::run(context, &name, "start", &body).await
        }
        Command::Promote(PromoteArgs { name, full, reason }) => {
            let body = CommandBody { reason, full, ..CommandBody::default() };
            steer::run(context, &name, "promote", &body).await
        }
        Command::Pause(args) => steer::run(context, &args.name, "pause", &because(&args)).await,
        Command::Resume(args) => steer::run(context, &args.name, "resume", &because(&args)).await,
        Command::Retry(args) => steer::run(context, &args.name, "retry", &because(&args)).await,
        Command::Finish(args) => finish::run(context, &args).await,
        Command::History(args) => history::run(context, &args),
        Command::Report(args) => report::run(context, &args),
        Command::Abort(args) => abort::run(context, &args.name, &because(&args)).await,
        Command::Plan(args) => plan::forecast_measured(context, &args).await,
        // `without_network` has run these.
        Command::Lint(_)
        | Command::Replay(_)
        | Command::Cohort(_)
        | Command::Render(_)
        | Command::Version
        | Command::Completion { .. } => Ok(()),
    }
}

/// What goes with a command that has a reason alone.
fn because(args: &SteerArgs) -> CommandBody {
    CommandBody { reason: args.reason.clone(), ..CommandBody::default() }
}

/// Prints this program's version.
pub(crate) fn version(output: &Output) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    Ok(output.print(|| json!({ "version": version }), |_| format!("canaryctl {version}\n"))?)
}

/// Prints a shell's completion script.
pub(crate) fn print_completion(shell: &str, output: &Output) -> Result<(), Failure> {
    let unknown = || Error::Usage { what: format!("no completion for {shell}") };
    Ok(output.write(&completion::script(shell).ok_or_else(unknown)?)?)
}

/// The Envoys' replies, split into answers (each with its Envoy's URL) and errors.
pub(crate) fn split<T>(reports: Vec<EnvoyReply<T>>) -> (Vec<(String, T)>, Vec<Error>) {
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    for EnvoyReply { url, result } in reports {
        match result {
            Ok(answer) => answers.push((url, answer)),
            Err(error) => errors.push(error),
        }
    }
    (answers, errors)
}

/// Success, or a failure if some of `total` Envoys had an error.
pub(crate) fn conclude(errors: Vec<Error>, total: usize) -> Result<(), Failure> {
    Failure::of_some(errors, total).map_or(Ok(()), Err)
}
