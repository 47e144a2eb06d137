//! The arguments of the commands that start, steer and show a controller.

use std::path::{Path, PathBuf};
use std::time::Duration;

use canary_model::names::{VERSION_EXPECTED, is_version};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use reqwest::Url;

use super::{ListenArgs, positive_duration, rollout_name};
use crate::completion::rollout_names;

/// `run -f FILE` or, shorter, `run FILE`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Short form of -f FILE
    #[arg(value_name = "FILE", required_unless_present = "file", conflicts_with = "file")]
    positional: Option<PathBuf>,

    /// The rollout file to run
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Where the API and the page are.
    #[command(flatten)]
    pub listen: ListenArgs,

    /// Keep serving the API and the page after the rollout's end
    #[arg(long)]
    pub stay: bool,

    /// The journal [default: $XDG_STATE_HOME/canaryctl/<rollout>.jsonl]
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,

    /// Take the rollout over from another owner
    #[arg(long)]
    pub takeover: bool,

    /// The version that serves now [default: the file's, or that of Envoy's configuration]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub stable_version: Option<String>,

    /// The version to release [default: the file's, or that of Envoy's configuration]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub canary_version: Option<String>,

    /// Time between two scrapes; for tests
    #[arg(long, hide = true, default_value = "1s", value_parser = positive_duration)]
    pub tick: Duration,
}

impl RunArgs {
    /// The rollout file, however it was given.
    pub fn file(&self) -> &Path {
        let file = self.file.as_ref().or(self.positional.as_ref());
        // The parser requires one of the two.
        file.map_or(Path::new(""), PathBuf::as_path)
    }
}

/// The arguments of `finish NAME`.
#[derive(Debug, Args)]
pub struct FinishArgs {
    /// Name of the rollout
    #[arg(value_parser = rollout_name, add = ArgValueCandidates::new(rollout_names))]
    pub name: String,

    /// The rollout file: without a controller, this command does the handover itself
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Where the API and the page are while it does.
    #[command(flatten)]
    pub listen: ListenArgs,

    /// Why; it goes into the journal of a controller
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// The journal of the rollout [default: $XDG_STATE_HOME/canaryctl/<rollout>.jsonl]
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,

    /// Take the rollout over from another owner
    #[arg(long)]
    pub takeover: bool,

    /// Time between two scrapes; for tests
    #[arg(long, hide = true, default_value = "1s", value_parser = positive_duration)]
    pub tick: Duration,
}

impl FinishArgs {
    /// The arguments with which a controller does the handover; `None` without a rollout file.
    pub fn as_run(&self) -> Option<RunArgs> {
        Some(RunArgs {
            positional: None,
            file: Some(self.file.clone()?),
            listen: self.listen.clone(),
            stay: false,
            journal: self.journal.clone(),
            takeover: self.takeover,
            stable_version: None,
            canary_version: None,
            tick: self.tick,
        })
    }
}

/// The arguments of `status NAME`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Name of the rollout
    #[arg(value_parser = rollout_name, add = ArgValueCandidates::new(rollout_names))]
    pub name: String,

    /// Wait until the rollout is Healthy or Degraded
    #[arg(short, long)]
    pub watch: bool,

    /// How long to wait with --watch; then the exit code is 3
    #[arg(long, default_value = "60s", value_parser = positive_duration, value_name = "DURATION")]
    pub timeout: Duration,
}

/// The arguments of `promote NAME`.
#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// Name of the rollout
    #[arg(value_parser = rollout_name, add = ArgValueCandidates::new(rollout_names))]
    pub name: String,

    /// Send all traffic to the canary now and skip all steps: for emergencies
    #[arg(long)]
    pub full: bool,

    /// Why; it goes into the journal
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// A command that needs only a name.
#[derive(Debug, Args)]
pub struct SteerArgs {
    /// Name of the rollout
    #[arg(value_parser = rollout_name, add = ArgValueCandidates::new(rollout_names))]
    pub name: String,

    /// Why; it goes into the journal
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// The arguments of `history [NAME]`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Name of the rollout: shows everything that happened in it. Without a name, one line per rollout
    #[arg(value_parser = rollout_name, add = ArgValueCandidates::new(rollout_names))]
    pub name: Option<String>,

    /// The journal to read [default: all journals of the folder]
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,

    /// The folder of the journals [default: $XDG_STATE_HOME/canaryctl]
    #[arg(long, value_name = "DIR", conflicts_with = "journal")]
    pub state: Option<PathBuf>,
}

/// The arguments of `report NAME`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Name of the rollout
    #[arg(value_parser = rollout_name, add = ArgValueCandidates::new(rollout_names))]
    pub name: String,

    /// The journal to read [default: <rollout>.jsonl in the folder]
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,

    /// The folder of the journals [default: $XDG_STATE_HOME/canaryctl]
    #[arg(long, value_name = "DIR", conflicts_with = "journal")]
    pub state: Option<PathBuf>,

    /// Write the page to a file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// Reads a version's label.
pub(super) fn version(text: &str) -> Result<String, String> {
    if is_version(text) { Ok(text.to_owned()) } else { Err(format!("expected {VERSION_EXPECTED}")) }
}

/// Reads a controller's URL: http or https, nothing secret in it.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; expected http://host:port"))?;
    let secret = !url.username().is_empty() || url.password().is_some();
    let plain = !secret && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !plain {
        return Err("expected http://host:port".to_owned());
    }
    Ok(url)
}
