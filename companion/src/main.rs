//! `canaryctl`, the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    canaryctl::run(std::env::args_os())
}
