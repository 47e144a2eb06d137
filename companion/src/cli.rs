//! The command line: what can be asked, and the checks that need no Envoy.

mod controller;
mod files;
mod render;

use std::path::PathBuf;
use std::time::Duration;

use canary_model::duration;
use canary_model::names::ROLLOUT_EXPECTED;
use canary_model::names::is_rollout_name;
use canary_model::runtime::MAX_LEASE_SECONDS;
use canary_model::weight::Weight;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::envoy::Target;
use crate::error::Error;
pub use controller::{History, Promote, Report, Run, Status, Steer};
pub use files::{Lint, PlanFile, ReplayFile};
pub use render::{ControllerPlace, ExtensionKind, Render, RenderIstio, RenderWhat, Service};

/// The environment's list of Envoys, used where there is no `--envoy`.
pub const ENVOYS_VARIABLE: &str = "CANARYCTL_ENVOYS";

/// Sets, shows and stops canary rollouts on one or many Envoys.
///
/// Exit codes: 0 done · 1 failed, or some of several Envoys failed, or another owner holds the
/// rollout · 2 usage, invalid input, unknown rollout · 3 timed out · 4 can't reach or use what it
/// needs.
#[derive(Debug, Parser)]
#[command(name = "canaryctl", version, max_term_width = 100)]
pub struct Cli {
    /// Envoy's admin interface: http://host:port or unix:///path. Repeatable; a DNS name stands for
    /// all its addresses. Without it, CANARYCTL_ENVOYS (separated by commas or spaces)
    #[arg(long = "envoy", global = true, value_name = "URL")]
    envoys: Vec<Target>,

    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub output: Format,

    /// The longest that a single request to an Envoy may take
    #[arg(long, global = true, default_value = "5s", value_parser = positive_duration, value_name = "DURATION")]
    pub request_timeout: Duration,

    /// The controller that `run` started, for the verbs that steer or show it
    #[arg(long, global = true, value_name = "URL", value_parser = controller::url)]
    pub controller: Option<reqwest::Url>,

    /// A file with the token of a controller that demands one; else CANARYCTL_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one JSON document (one a line with --watch)
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Change a rollout
    Set(Set),
    /// Show a rollout
    Get(Get),
    /// Show all rollouts
    List,
    /// Execute a rollout file: the controller
    Run(Run),
    /// Say in one word how a rollout is: Healthy, Progressing, Paused or Degraded
    ///
    /// The exit code is 1 for Degraded alone.
    Status(Status),
    /// Leave the step that a running rollout is in, or go on after a pause
    Promote(Promote),
    /// Hold a running rollout at its weight
    Pause(Steer),
    /// Let a paused rollout go on
    Resume(Steer),
    /// Begin a rollout again that was rolled back
    Retry(Steer),
    /// Show past rollouts, as their journals tell them
    History(History),

    /// Print one rollout as a self-contained HTML page
    Report(Report),
    /// Check a rollout file or the filter's configuration: every fault with its line and path
    Lint(Lint),
    /// Tell beforehand how long a rollout takes, what it can see and what it can cost
    Plan(PlanFile),
    /// Tell what a rollout file would have decided on recorded counts, or on a journal
    Replay(ReplayFile),
    /// Print what puts a rollout where it shall run
    Render(Render),
    /// Send everything back to stable at once: weight 0 and the kill switch, in one update
    ///
    /// Goes to the controller where one runs the rollout, and works without one, too. Never refused
    /// because of an owner. The kill switch holds from the very next request on; `set weight` above 0
    /// releases it.
    Abort {
        /// The rollout
        #[arg(value_parser = rollout_name)]
        name: String,
    },
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `set …`.
#[derive(Debug, Args)]
#[command(subcommand_required = true)]
pub struct Set {
    /// What to set.
    #[command(subcommand)]
    pub what: SetWhat,
}

/// What can be set.
#[derive(Debug, Subcommand)]
pub enum SetWhat {
    /// Send a share of the requests to the canary
    Weight(SetWeight),
}

/// `set weight …`.
#[derive(Debug, Args)]
pub struct SetWeight {
    /// The rollout
    #[arg(value_parser = rollout_name)]
    pub name: String,

    /// The canary's share in percent: 0 to 100, up to four decimals
    #[arg(value_parser = Weight::parse_percent, allow_negative_numbers = true)]
    pub percent: Weight,

    /// Go back to weight 0 after this long unless set again: 1s to 24h, whole seconds. Without it, a
    /// lease that was set before is removed, so that it can't run out under the new weight
    #[arg(long, value_parser = lease, value_name = "DURATION")]
    pub lease: Option<u32>,

    /// Set it though another owner drives the rollout, and become its owner
    #[arg(long)]
    pub takeover: bool,

    /// Begin a new epoch, which clears a guard that has tripped
    #[arg(long)]
    pub reset_guard: bool,

    /// How long to wait for the weight to come into force
    #[arg(long, default_value = "10s", value_parser = positive_duration, value_name = "DURATION")]
    pub timeout: Duration,
}

/// `get …`.
#[derive(Debug, Args)]
#[command(subcommand_required = true)]
pub struct Get {
    /// What to show.
    #[command(subcommand)]
    pub what: GetWhat,
}

/// What can be shown.
#[derive(Debug, Subcommand)]
pub enum GetWhat {
    /// Show a rollout: its weight, and both versions side by side
    ///
    /// Figures count from the start of each Envoy. With --watch, the measured share is that of the
    /// last interval.
    Rollout {
        /// The rollout
        #[arg(value_parser = rollout_name)]
        name: String,

        /// Go on showing it
        #[arg(short, long)]
        watch: bool,

        /// How often, with --watch
        #[arg(long, default_value = "1s", value_parser = positive_duration, value_name = "DURATION")]
        interval: Duration,
    },
}

impl Cli {
    /// Whether Envoys are named on the command line.
    pub const fn names_envoys(&self) -> bool {
        !self.envoys.is_empty()
    }

    /// The Envoys to talk to: those of `--envoy`, else those of the environment.
    ///
    /// # Errors
    /// Where there are none, or the environment names something that is no admin interface.
    pub fn targets(&self) -> Result<Vec<Target>, Error> {
        if !self.envoys.is_empty() {
            return Ok(self.envoys.clone());
        }
        let listed = std::env::var(ENVOYS_VARIABLE).unwrap_or_default();
        let targets = listed
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|part| !part.is_empty())
            .map(|part| {
                let wrong =
                    |why| Error::Usage { what: format!("{ENVOYS_VARIABLE}: {part}: {why}") };
                part.parse::<Target>().map_err(wrong)
            })
            .collect::<Result<Vec<Target>, Error>>()?;
        if targets.is_empty() { Err(Error::NoEnvoy) } else { Ok(targets) }
    }
}

fn rollout_name(text: &str) -> Result<String, String> {
    if is_rollout_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!("expected {ROLLOUT_EXPECTED}"))
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration =
        duration::parse(text).ok_or_else(|| format!("expected {}", duration::EXPECTED))?;
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// A lease in whole seconds.
fn lease(text: &str) -> Result<u32, String> {
    let wrong = || "a lease is 1s to 24h, in whole seconds, such as 30s".to_owned();
    let duration = duration::parse(text).ok_or_else(wrong)?;
    let seconds = u32::try_from(duration.as_secs()).map_err(|_| wrong())?;
    let fits = duration.subsec_nanos() == 0 && (1..=MAX_LEASE_SECONDS).contains(&seconds);
    fits.then_some(seconds).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn leases() {
        assert_eq!(lease("30s"), Ok(30));
        assert_eq!(lease("24h"), Ok(86_400));
        assert_eq!(lease("2000ms"), Ok(2));
        for text in ["0s", "500ms", "1500ms", "25h", "30", "", "9999d"] {
            assert!(lease(text).is_err(), "{text}");
        }
    }
}
