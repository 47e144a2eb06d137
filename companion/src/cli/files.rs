//! The arguments of the verbs that only read files.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::positive_duration;

/// `lint -f FILE`.
#[derive(Debug, Args)]
pub struct Lint {
    /// The rollout file, or the filter's configuration
    #[arg(short, long, value_name = "FILE", required_unless_present = "schema")]
    pub file: Option<PathBuf>,

    /// Print the JSON schema of rollout files, for editors
    #[arg(long, conflicts_with = "file")]
    pub schema: bool,
}

/// `plan -f FILE [--rps N]`.
#[derive(Debug, Args)]
pub struct PlanFile {
    /// The rollout file
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,

    /// Eligible requests a second, both versions together. Without it, as many as the rollout's Envoys
    /// count now
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rps: Option<f64>,

    /// The share of requests that fail as it is, as a fraction. Without it 0.001, or stable's share
    /// where the traffic is measured
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub baseline: Option<f64>,

    /// How long to measure where --rps is missing
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub measure: Duration,
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
