//! The arguments of the commands that only read files.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::positive_duration;

/// The arguments of `lint -f FILE…`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// A rollout file, the filter's configuration, or an Envoy configuration. Repeatable: files are also
    /// checked against each other
    #[arg(short = 'f', long = "file", value_name = "FILE", required_unless_present = "schema")]
    pub files: Vec<PathBuf>,

    /// Print the JSON schema of rollout files, for editors
    #[arg(long, conflicts_with = "files")]
    pub schema: bool,
}

/// `plan -f FILE [--rps N]`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The rollout file to use
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,

    /// Eligible requests per second, both versions together [default: measured on the rollout's Envoys]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rps: Option<f64>,

    /// Share of requests that fail today, such as 0.1% or 0.001 [default: stable's share if the traffic
    /// is measured, otherwise 0.1%]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub baseline: Option<f64>,

    /// The filter's configuration, for its `outcome_age` [default: that of the rollout's Envoys if the
    /// traffic is measured, otherwise 20s, which is the filter's default]
    #[arg(long, value_name = "FILE")]
    pub filter: Option<PathBuf>,

    /// How long to measure without --rps
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub measure: Duration,
}

/// `replay JOURNAL -f FILE`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A journal, or a recording with one observation per line
    #[arg(value_name = "JOURNAL")]
    pub recording: PathBuf,

    /// The rollout file to use
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected requests per second, a number above 0".to_owned())
}

/// Reads a share such as `0.1%` or `0.001`.
fn share(text: &str) -> Result<f64, String> {
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse().map(|percent: f64| percent / 100.0),
        None => text.parse(),
    };
    let share = parsed.ok().filter(|share: &f64| (0.0..1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to below 1, such as 0.1% or 0.001".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages_or_fractions() {
        for (text, expected) in
            [("0.1%", 0.001), ("0.001", 0.001), ("0", 0.0), ("0%", 0.0), ("12.5 %", 0.125)]
        {
            assert!((share(text).unwrap() - expected).abs() < 1e-12, "{text}");
        }
        for text in ["100%", "1", "-0.1", "-1%", "NaN", "", "%", "1e999%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
