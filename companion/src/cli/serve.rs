//! The arguments of `serve` and `start`, and those that `run` shares.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use canary_model::names::is_version;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use reqwest::Url;

use super::{positive_duration, rollout_name};
use crate::completion::rollout_names;

/// Where the API and the page are, and who may use them.
#[derive(Clone, Debug, Args)]
pub struct ListenArgs {
    /// Address of the controller's API and page; beyond loopback it requires a token
    #[arg(long, default_value = "127.0.0.1:8411", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Additional Host header value to accept, besides addresses and localhost. Repeatable
    #[arg(long = "allow-host", value_name = "NAME")]
    pub allow_hosts: Vec<String>,

    /// Refuse every command over the API and the page; reading stays possible
    #[arg(long)]
    pub read_only: bool,
}

/// The arguments of `serve PATH…`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Rollout files, and folders whose *.yaml and *.yml files are rollout files
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    /// Where the API and the page are.
    #[command(flatten)]
    pub listen: ListenArgs,

    /// Folder of the journals, one file per rollout [default: $XDG_STATE_HOME/canaryctl]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Address under which people see this controller's pages; a registry's versions are tagged with
    /// their report's
    #[arg(long, value_name = "URL", value_parser = super::controller::url)]
    pub public_url: Option<Url>,

    /// Time between two looks at the Envoys; for tests
    #[arg(long, hide = true, default_value = "1s", value_parser = positive_duration)]
    pub tick: Duration,
}

/// The arguments of `start NAME`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Name of the rollout
    #[arg(value_parser = rollout_name, add = ArgValueCandidates::new(rollout_names))]
    pub name: String,

    /// Version under trial [default: the file's, else that of Envoy's configuration]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub canary_version: Option<String>,

    /// Version that serves now [default: what this controller released last, else the file's, else that
    /// of Envoy's configuration]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub stable_version: Option<String>,

    /// Why; it goes into the journal
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

fn version(text: &str) -> Result<String, String> {
    let expected = "expected a version label, such as 3.2";
    is_version(text).then(|| text.to_owned()).ok_or_else(|| expected.to_owned())
}
