//! A run under load in which everything fails that can: `scripts/chaos` builds and runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    canary_integration::chaos::main(&arguments)
}
