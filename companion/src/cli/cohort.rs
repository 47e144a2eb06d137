//! The arguments of `cohort`.

use std::path::PathBuf;

use canary_model::names::{VERSION_EXPECTED, is_version};
use canary_model::weight::Weight;
use clap::Args;

use super::rollout_name;

/// `cohort NAME --filter FILE --weight PERCENT`.
#[derive(Debug, Args)]
pub struct CohortArgs {
    /// Name of the rollout in the filter's configuration
    #[arg(value_parser = rollout_name)]
    pub name: String,

    /// The filter's configuration, as JSON
    #[arg(long, value_name = "FILE")]
    pub filter: PathBuf,

    /// The canary's share in percent: 0 to 100, up to four decimals
    #[arg(long, value_name = "PERCENT", value_parser = Weight::parse_percent, allow_negative_numbers = true)]
    pub weight: Weight,

    /// The version in stable's place [default: the configuration's]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub stable_version: Option<String>,

    /// The version in the canary's place [default: the configuration's]. Without a `salt` in the
    /// configuration, cohorts depend on it
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub canary_version: Option<String>,

    /// File with affinity keys, one per line (LF or CR LF) [default: standard input]
    #[arg(short = 'f', long = "file", value_name = "KEYS")]
    pub keys: Option<PathBuf>,
}

/// A version's label, as everywhere else.
fn version(text: &str) -> Result<String, String> {
    if is_version(text) { Ok(text.to_owned()) } else { Err(format!("expected {VERSION_EXPECTED}")) }
}
