//! The command line: commands, arguments, and the checks that need no Envoy.

mod cohort;
mod controller;
mod files;
mod render;
mod serve;

use std::path::PathBuf;
use std::time::Duration;

use canary_model::duration;
use canary_model::names::ROLLOUT_EXPECTED;
use canary_model::names::is_rollout_name;
use canary_model::redact::redacted;
use canary_model::runtime::MAX_LEASE_SECONDS;
use canary_model::weight::Weight;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use clap_complete::engine::ArgValueCandidates;

use crate::api::client::CONTROLLER_VARIABLE;
use crate::completion::{rollout_names, shells};
use crate::envoy::EnvoyUrl;
use crate::error::Error;
use crate::render::Format;
pub use cohort::CohortArgs;
pub use controller::{
    FinishArgs, HistoryArgs, PromoteArgs, ReportArgs, RunArgs, StatusArgs, SteerArgs,
};
pub use files::{LintArgs, PlanArgs, ReplayArgs};
pub use render::{ControllerPlace, ExtensionKind, Render, RenderIstio, RenderWhat, Service};
pub use serve::{ListenArgs, ServeArgs, StartArgs};

/// The environment's list of Envoys, used without `--envoy`.
pub const ENVOYS_VARIABLE: &str = "CANARYCTL_ENVOYS";

/// Control and observe canary rollouts on one or many Envoys
///
/// Exit codes: 0 done or healthy · 1 failed or degraded, some of several Envoys failed, or another
/// owner holds the rollout · 2 usage error, invalid input or unknown rollout · 3 timed out · 4 can't
/// reach or use what it needs (no Envoy, no admin layer, no controller).
#[derive(Debug, Parser)]
#[command(name = "canaryctl", version, max_term_width = 100)]
pub struct Cli {
    /// Envoy's admin interface: http://host:port or unix:///path. Repeatable; a DNS name stands for
    /// all its addresses. [env: CANARYCTL_ENVOYS, separated by commas or spaces]
    #[arg(long = "envoy", global = true, value_name = "URL")]
    envoys: Vec<EnvoyUrl>,

    /// Output format of results
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub output: Format,

    /// Time limit of a single request to an Envoy. `run` caps it at 2s and at a sixth of the lease,
    /// because it scrapes every second
    #[arg(long, global = true, default_value = "5s", value_parser = positive_duration, value_name = "DURATION")]
    pub request_timeout: Duration,

    /// The controller that `run` or `serve` started [default: http://127.0.0.1:8411] [env: CANARYCTL_CONTROLLER]
    #[arg(long, global = true, value_name = "URL", value_parser = controller::url)]
    pub controller: Option<reqwest::Url>,

    /// File with the controller's token [env: CANARYCTL_TOKEN has the token itself]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `canaryctl`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Change a rollout without a controller
    Set(Set),
    /// Show one rollout in detail
    Get(Get),
    /// Show all rollouts, one per line
    List,
    /// Run a rollout: start its controller and wait for its end
    Run(RunArgs),
    /// Serve the rollouts of many files with one controller
    ///
    /// Files and folders are checked every 2 s. `start` begins a release of a served rollout.
    Serve(ServeArgs),
    /// Begin a release of a served rollout
    Start(StartArgs),
    /// Print a rollout's status in one word
    ///
    /// The word is Pending, Progressing, Paused, Healthy or Degraded; the exit code is 1 for Degraded
    /// only.
    Status(StatusArgs),
    /// Advance a running rollout: finish the current step, or end a pause
    Promote(PromoteArgs),
    /// Hold a running rollout at its current weight
    Pause(SteerArgs),
    /// Continue a paused rollout
    Resume(SteerArgs),
    /// Restart a rolled-back rollout
    Retry(SteerArgs),
    /// Hand all traffic over to the new version in stable's place, after a release
    ///
    /// Put the new version in stable's place first, unless the rollout file has a deploy hook. Half of the
    /// traffic goes there and is judged; if it is no worse there than in the canary's place, the weight
    /// becomes 0. If a controller runs the rollout, it does this; otherwise `finish -f FILE` does it itself.
    Finish(FinishArgs),
    /// Show past rollouts, read from their journals
    History(HistoryArgs),
    /// Print one rollout as a self-contained HTML page
    Report(ReportArgs),
    /// Check rollout files and filter configurations
    Lint(LintArgs),
    /// Forecast a rollout's duration, detectable regressions and worst-case cost
    Plan(PlanArgs),
    /// Show what a rollout file would have decided on recorded counters or on a journal
    Replay(ReplayArgs),
    /// Print the version that each affinity key is assigned to, as key<TAB>version
    ///
    /// To join data that arrives later (labels, revenue) to versions. The keys are what the filter's
    /// `affinity` finds in requests: the header's value, the decoded parameter, the cookie's value.
    Cohort(CohortArgs),
    /// Render manifests that deploy a rollout
    Render(Render),
    /// Send all traffic back to stable now: weight 0 and the kill switch, in one update
    ///
    /// If a controller runs the rollout, it does this; otherwise `abort` does it itself. It is never
    /// refused because of another owner. The kill switch takes effect on the next request;
    /// `set weight` above 0 turns it off again.
    Abort(SteerArgs),
    /// Print this program's version
    Version,
    /// Print a shell's completion script, for example for: source <(canaryctl completion bash)
    Completion {
        /// The shell to complete in
        #[arg(value_parser = PossibleValuesParser::new(shells()))]
        shell: String,
    },
}

/// The arguments of `set`.
#[derive(Debug, Args)]
#[command(subcommand_required = true)]
pub struct Set {
    /// What the command sets.
    #[command(subcommand)]
    pub what: SetWhat,
}

/// What can be set.
#[derive(Debug, Subcommand)]
pub enum SetWhat {
    /// Set the canary's share of the traffic, and wait until it is in force
    Weight(SetWeight),
}

/// The arguments of `set weight`.
#[derive(Debug, Args)]
pub struct SetWeight {
    /// Name of the rollout
    #[arg(value_parser = rollout_name, add = ArgValueCandidates::new(rollout_names))]
    pub name: String,

    /// Share in percent: 0 to 100, up to four decimals
    #[arg(value_parser = Weight::parse_percent, allow_negative_numbers = true)]
    pub percent: Weight,

    /// Return to weight 0 after this time unless set again: 1s to 24h, whole seconds. Without this
    /// option an earlier lease is removed, so that it can't end the new weight
    #[arg(long, value_parser = lease, value_name = "DURATION")]
    pub lease: Option<u32>,

    /// Set the weight even if another owner holds the rollout, and become its owner
    #[arg(long)]
    pub takeover: bool,

    /// Start a new epoch, which clears a tripped guard
    #[arg(long)]
    pub reset_guard: bool,

    /// How long to wait until the weight is in force
    #[arg(long, default_value = "10s", value_parser = positive_duration, value_name = "DURATION")]
    pub timeout: Duration,
}

/// The arguments of `get`.
#[derive(Debug, Args)]
#[command(subcommand_required = true)]
pub struct Get {
    /// What the command shows.
    #[command(subcommand)]
    pub what: GetWhat,
}

/// What can be shown.
#[derive(Debug, Subcommand)]
pub enum GetWhat {
    /// Show a rollout: its weight, and both versions side by side
    Rollout {
        /// Name of the rollout
        #[arg(value_parser = rollout_name, add = ArgValueCandidates::new(rollout_names))]
        name: String,

        /// Keep showing it, until interrupted
        #[arg(short, long)]
        watch: bool,

        /// Time between two updates with --watch
        #[arg(long, default_value = "1s", value_parser = positive_duration, value_name = "DURATION")]
        interval: Duration,
    },
}

impl Cli {
    /// Whether Envoys are named on the command line.
    pub const fn names_envoys(&self) -> bool {
        !self.envoys.is_empty()
    }

    /// The controller's URL: that of `--controller`, else that of the environment; `None` without both.
    ///
    /// # Errors
    /// If the environment names something other than a controller's URL.
    pub fn controller_url(&self) -> Result<Option<reqwest::Url>, Error> {
        let named = std::env::var(CONTROLLER_VARIABLE).ok().filter(|url| !url.is_empty());
        let Some(named) = named.filter(|_| self.controller.is_none()) else {
            return Ok(self.controller.clone());
        };
        let wrong = |why| Error::Usage {
            what: format!("{CONTROLLER_VARIABLE}: {}: {why}", redacted(&named)),
        };
        controller::url(&named).map(Some).map_err(wrong)
    }

    /// The Envoys to talk to: those of `--envoy`, else those of the environment.
    ///
    /// # Errors
    /// If there are none, or the environment names something other than an admin interface.
    pub fn targets(&self) -> Result<Vec<EnvoyUrl>, Error> {
        if !self.envoys.is_empty() {
            return Ok(self.envoys.clone());
        }
        let listed = std::env::var(ENVOYS_VARIABLE).unwrap_or_default();
        let targets = listed
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|part| !part.is_empty())
            .map(|part| {
                let wrong = |why| Error::Usage {
                    what: format!("{ENVOYS_VARIABLE}: {}: {why}", redacted(part)),
                };
                part.parse::<EnvoyUrl>().map_err(wrong)
            })
            .collect::<Result<Vec<EnvoyUrl>, Error>>()?;
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
    if duration.is_zero() { Err("must be longer than 0".to_owned()) } else { Ok(duration) }
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
