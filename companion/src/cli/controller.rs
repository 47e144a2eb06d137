//! The arguments of the verbs that start, steer and show a controller.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Url;

use super::{positive_duration, rollout_name};

/// `run FILE`.
#[derive(Debug, Args)]
pub struct Run {
    /// The rollout file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Where the controller's interface listens; beyond loopback it demands a token
    #[arg(long, default_value = "127.0.0.1:8411", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// A name under which the interface may be asked, besides addresses and localhost. Repeatable
    #[arg(long = "allow-host", value_name = "NAME")]
    pub allow_hosts: Vec<String>,

    /// Go on serving the interface after the rollout's end
    #[arg(long)]
    pub stay: bool,

    /// The journal; else $XDG_STATE_HOME/canaryctl/<rollout>.jsonl
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,

    /// Take the rollout from another owner
    #[arg(long)]
    pub takeover: bool,

    /// How often the Envoys are looked at; for tests
    #[arg(long, hide = true, default_value = "1s", value_parser = positive_duration)]
    pub tick: Duration,
}

/// `status NAME`.
#[derive(Debug, Args)]
pub struct Status {
    /// The rollout
    #[arg(value_parser = rollout_name)]
    pub name: String,

    /// Wait until it is Healthy or Degraded
    #[arg(long)]
    pub watch: bool,

    /// How long to wait, with --watch; exit code 3 when it is over
    #[arg(long, default_value = "60s", value_parser = positive_duration, value_name = "DURATION")]
    pub timeout: Duration,
}

/// `promote NAME`.
#[derive(Debug, Args)]
pub struct Promote {
    /// The rollout
    #[arg(value_parser = rollout_name)]
    pub name: String,

    /// Send all traffic to the canary now, past all steps: for emergencies
    #[arg(long)]
    pub full: bool,
}

/// A verb that needs a name alone.
#[derive(Debug, Args)]
pub struct Steer {
    /// The rollout
    #[arg(value_parser = rollout_name)]
    pub name: String,
}

/// `history [NAME]`.
#[derive(Debug, Args)]
pub struct History {
    /// The rollout; without it all of them, a line each
    #[arg(value_parser = rollout_name)]
    pub name: Option<String>,

    /// The journal to read; else those under $XDG_STATE_HOME/canaryctl
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}

/// `report NAME`.
#[derive(Debug, Args)]
pub struct Report {
    /// The rollout
    #[arg(value_parser = rollout_name)]
    pub name: String,

    /// The journal to read; else $XDG_STATE_HOME/canaryctl/<rollout>.jsonl
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,

    /// Write the page to a file instead of printing it
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// Where a controller is.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; expected http://host:port"))?;
    let plain = url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !plain {
        return Err("expected http://host:port".to_owned());
    }
    Ok(url)
}
