//! The verbs: each gathers what it needs, lets a pure function decide, applies and reports.

mod abort;
mod files;
mod get;
pub(crate) mod history;
mod list;
mod render;
mod report;
mod run;
mod set_weight;
mod status;
mod steer;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use canary_rollout::spec::Spec;
use clap::CommandFactory;
use serde_json::json;

use crate::api::access::Token;
use crate::api::client::Client;
use crate::cli::{Cli, Command, Get, GetWhat, Render, RenderWhat, Set, SetWhat};
use crate::controller::status::Status;
use crate::envoy::{EnvoyReply, EnvoyUrl};
use crate::error::{Error, Failure};
use crate::output::Output;

/// What every verb is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// The Envoys; empty where none is named.
    targets: Vec<EnvoyUrl>,
    /// Whether they were named on the command line, and not just in the environment.
    pub(crate) envoys_given: bool,
    /// The controller, which may not be there.
    pub(crate) controller: Client,
    /// Whether it was named.
    pub(crate) controller_given: bool,
    /// Where the controller's token is.
    pub(crate) token_file: Option<PathBuf>,
    /// The longest that one request may take.
    pub(crate) deadline: Duration,
    /// Where results go.
    pub(crate) output: Output,
}

impl Context {
    pub(crate) fn of(cli: &Cli, output: Output) -> Result<Self, Error> {
        let targets = match cli.targets() {
            Err(Error::NoEnvoy) => Vec::new(),
            targets => targets?,
        };
        let token = Token::find(cli.token_file.as_deref())?;
        Ok(Self {
            targets,
            envoys_given: cli.names_envoys(),
            controller: Client::new(cli.controller.as_ref(), token)?,
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

    /// What the controller says of a rollout; `None` where it says nothing. A controller that was named
    /// must answer.
    pub(crate) async fn ask_controller(&self, rollout: &str) -> Result<Option<Status>, Error> {
        match self.controller.status(rollout).await {
            Ok(status) => Ok(Some(status)),
            Err(error) if self.controller_given => Err(error),
            Err(_) => Ok(None),
        }
    }
}

/// The rollout in a file's text, if it can be read.
pub(crate) fn read_spec(source: &str) -> Option<Spec> {
    files::spec(source, "the file").ok()
}

/// Runs a verb that only reads files, which is done without an HTTP client and its certificates;
/// `None` where it is another.
pub(crate) fn without_network(command: &Command, output: &Output) -> Option<Result<(), Failure>> {
    Some(match command {
        Command::Version => version(output),
        Command::Completion { shell } => completion(*shell, output),
        Command::Lint(args) => files::lint(output, args),
        Command::Plan(args) => files::forecast(output, args, args.rps?),
        Command::Replay(args) => files::replay_file(output, args),
        Command::Render(Render { what: RenderWhat::Istio(args) }) => render::istio(output, args),
        _ => return None,
    })
}

/// Runs a verb.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Set(Set { what: SetWhat::Weight(args) }) => set_weight::run(context, &args).await,
        Command::Get(Get { what: GetWhat::Rollout { name, watch, interval } }) => {
            get::run(context, &name, watch.then_some(interval)).await
        }
        Command::List => list::run(context).await,
        Command::Run(args) => run::run(context, &args).await,
        Command::Status(args) => status::run(context, &args).await,
        Command::Promote(args) => steer::run(context, &args.name, "promote", args.full).await,
        Command::Pause(args) => steer::run(context, &args.name, "pause", false).await,
        Command::Resume(args) => steer::run(context, &args.name, "resume", false).await,
        Command::Retry(args) => steer::run(context, &args.name, "retry", false).await,
        Command::History(args) => history::run(context, &args),
        Command::Report(args) => report::run(context, &args),
        Command::Abort { name } => abort::run(context, &name).await,
        Command::Plan(args) => files::forecast_measured(context, &args).await,
        // Done before anybody asked for the network.
        Command::Lint(_)
        | Command::Replay(_)
        | Command::Render(_)
        | Command::Version
        | Command::Completion { .. } => Ok(()),
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

/// Success, or the failure of those Envoys of `total` that had an error.
pub(crate) fn conclude(errors: Vec<Error>, total: usize) -> Result<(), Failure> {
    Failure::of_some(errors, total).map_or(Ok(()), Err)
}
