//! `canaryctl`: sets and watches canary rollouts on one or many Envoys.
//!
//! This crate is the imperative shell around the pure crates in `core/`. Dependencies point one way:
//! `cli` → `commands` → `serve` → `controller`, `api` → `observe`, `journal` → `envoy`. `render` has all
//! user-facing text and makes it from typed data; `error` knows the exit code and the hint of every
//! failure.

#![allow(
    unreachable_pub,
    reason = "`pub` marks what a module offers to the others; the crate itself offers `run` alone"
)]

mod api;
mod cli;
mod cohort;
mod commands;
mod completion;
mod controller;
mod envoy;
mod error;
mod filter_file;
mod http;
mod identity;
mod istio;
mod journal;
mod lint;
mod observe;
mod registry;
mod render;
mod report;
mod rollout_file;
mod sentences;
mod serve;
mod text;
mod yaml;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::error::{Error, Failure};
use crate::render::{Output, Paint};

/// Runs the command line to its end: results on stdout, messages on stderr.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    if completion::answer(Cli::command) {
        return ExitCode::SUCCESS;
    }
    let errors = Paint::for_stderr();
    let matches = Cli::command().color(render::clap_colors()).try_get_matches_from(args);
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
            render::report(&failure, &errors);
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
    let context = commands::Context::new(&cli, output)?;
    // One thread is plenty: the work is waiting for Envoys.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::System)?.block_on(commands::execute(&context, cli.command))
}
