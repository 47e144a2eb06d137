//! `canaryctl`: sets and watches canary rollouts on one or many Envoys.
//!
//! The crate is the imperative shell around `canary-core`. [`envoy`] talks to Envoy's admin
//! interface, [`observe`] scrapes it and turns
//! what it says into what an operator asked for, the verbs tie them together, and [`error`] is the one place that knows what each
//! failure means for the exit code and what to do about it.

pub mod api;
pub mod cli;
pub mod controller;
pub mod envoy;
pub mod error;
pub mod istio;
pub mod journal;
pub mod observe;
pub mod report;
pub mod yaml;

mod commands;
mod http;
mod identity;
mod output;
mod text;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::error::{Error, Failure};
use crate::output::{Output, Paint};

/// Runs the command line to its end: results on stdout, messages on stderr.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let errors = Paint::for_stderr();
    let matches = Cli::command().color(output::clap_colors()).try_get_matches_from(args);
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way, too. A closed pipe is the reader's choice.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let code = match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.nobody_reads() => ExitCode::SUCCESS,
        Err(failure) => {
            output::report(&failure, &errors);
            ExitCode::from(failure.exit.code())
        }
    };
    journal::let_go();
    code
}

fn execute(cli: Cli) -> Result<(), Failure> {
    let output = Output::new(cli.output);
    if let Some(done) = commands::without_network(&cli.command, &output) {
        return done;
    }
    let context = commands::Context::of(&cli, output)?;
    // One thread is plenty: the work is waiting for Envoys.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::System)?.block_on(commands::execute(&context, cli.command))
}
