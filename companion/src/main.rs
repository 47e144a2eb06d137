//! `canaryctl`: the command line of the release system.

use std::process::ExitCode;

fn main() -> ExitCode {
    canaryctl::run(std::env::args_os())
}
