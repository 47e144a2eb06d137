//! The arguments of the verbs that only read files.

use std::path::PathBuf;

use clap::Args;

/// `lint -f FILE`.
#[derive(Debug, Args)]
pub struct Lint {
    /// The rollout file, or the filter's configuration
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
}

/// `plan -f FILE --rps N`.
#[derive(Debug, Args)]
pub struct PlanFile {
    /// The rollout file
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,

    /// Eligible requests a second, both versions together
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rps: f64,

    /// The share of requests that fail as it is, as a fraction
    #[arg(long, value_name = "SHARE", default_value = "0.001", value_parser = share)]
    pub baseline: f64,
}

/// `replay RECORDING -f FILE`.
#[derive(Debug, Args)]
pub struct ReplayFile {
    /// The recording: one observation a line, or a journal
    pub recording: PathBuf,

    /// The rollout file
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected requests a second, a number above 0".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| (0.0..1.0).contains(share));
    share.ok_or_else(|| "expected a fraction from 0 to below 1, such as 0.001".to_owned())
}
