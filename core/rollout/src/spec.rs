//! The rollout file as checked types: what a person planned, with everything that was left out
//! filled in.
//!
//! ```yaml
//! rollout: scorer
//! goal: promote
//! envoys: [http://127.0.0.1:9901]
//! lease: 30s
//! versions: {canary: "3.2"}
//! steps:
//!   - setWeight: 1
//!   - pause: {duration: 10m, minRequests: 500}
//!   - setWeight: 25
//!   - pause: {}
//! analysis:
//!   falseAbort: 1%
//!   metrics:
//!     - {name: failures, kind: failureRate, margin: 0.1%}
//! gates:  [{before: promotion, url: "https://ci.example.com/approve", timeout: 10s}]
//! notify: [{on: [aborted, completed], url: "https://chat.example.com/hook"}]
//! deploy: {command: [./deploy.sh], timeout: 10m, minRequests: 500}
//! ```

pub(super) mod fields;
mod goal;
pub(super) mod read;
pub(super) mod read_release;
pub(super) mod read_steps;
mod release;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use canary_judge::counts::Pair;
use canary_judge::spec::{Analysis, MetricRule};
use canary_model::document::{ConfigError, ConfigErrors, Node};
use canary_model::weight::Weight;

pub use goal::{Afterwards, Goal};
pub use release::{Deploy, DeployHook, HANDOVER_REQUESTS, MlflowRegistry};

/// A rollout as its file plans it.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The rollout's name, as in the filter's configuration.
    pub rollout: String,
    /// Whether behind the steps comes a promotion, or the rollout only measures.
    pub goal: Goal,
    /// The Envoys' admin interfaces as the file names them; empty where the file leaves that to the
    /// command line.
    pub envoys: Vec<String>,
    /// How long a weight holds without renewal, in whole seconds, 1 to 86,400; 30 by default.
    pub lease_seconds: u32,
    /// The versions that the file names (`versions:`); `None` leaves a role to the command line and to what
    /// Envoy's configuration and runtime say.
    pub versions: Pair<Option<String>>,
    /// The steps, their weights rising from above 0 to below 100 %; behind the last one comes the
    /// promotion to 100 %, unless the rollout only measures.
    pub steps: Vec<StepSpec>,
    /// What is compared, and what is tolerated; without metrics only in a `manual` rollout.
    pub analysis: Analysis,
    /// Whom to ask before going on.
    pub gates: Vec<Gate>,
    /// The web hooks that are told what happens.
    pub notify: Vec<Notify>,
    /// Failures that the canary may add, as a fraction of *all* traffic: each step certifies
    /// this, divided by the next step's weight.
    pub harm_budget: Option<f64>,
    /// Whether the file says out loud that nothing can roll it back but a person and the guard.
    pub manual: bool,
    /// On how many Envoys the guard must trip for the whole rollout to be rolled back; 1 by default.
    /// All that can be reached are always enough.
    pub guard_quorum: u32,
    /// How versions get into their places; `None`: operators put them there.
    pub deploy: Option<Deploy>,
    /// The registry that starts rollouts and is told their results.
    pub registry: Option<MlflowRegistry>,
}

/// One weight and what must have been before the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSpec {
    /// The canary's share of requests in this step.
    pub weight: Weight,
    /// The pauses at this weight, in order.
    pub pauses: Vec<PauseSpec>,
}

/// What a pause waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum PauseSpec {
    /// A person who promotes: `pause: {}`.
    Operator,
    /// Conditions, all of which must hold.
    Until(Conditions),
}

/// Conditions of a pause, all of which must hold; at least one of the first three is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// So much time at this weight.
    pub duration: Option<Duration>,
    /// So many canary requests since the step's start.
    pub min_requests: Option<u64>,
    /// The certificate of every metric that has one.
    pub until_confident: bool,
    /// After so much time at this weight a person decides.
    pub timeout: Option<Duration>,
}

/// A web hook that must answer 2xx before the rollout goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// What it stands before.
    pub before: GatePosition,
    /// The URL that is asked; it may hold secrets.
    pub url: String,
    /// How long an answer may take; 10 s by default.
    pub timeout: Duration,
}

/// What a gate stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatePosition {
    /// The step with this index.
    Step(usize),
    /// The promotion to 100 %.
    Promotion,
}

/// A web hook that is told what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// What it is told.
    pub on: Vec<Topic>,
    /// The URL that is told; it may hold secrets.
    pub url: String,
}

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// The rollout began, or began again.
    Started,
    /// A step of the file began.
    Step,
    /// It waits for a person.
    Paused,
    /// It goes on after a pause.
    Resumed,
    /// The canary has all traffic.
    Completed,
    /// It was rolled back, or given up.
    Aborted,
    /// The steps of a measurement are over.
    Measured,
    /// Counts or an external metric can't be read.
    Outage,
}

impl Spec {
    /// Reads a rollout file: JSON, or YAML that was made into a JSON value.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its path.
    pub fn read(value: &Value) -> Result<Self, Vec<ConfigError>> {
        let mut problems = ConfigErrors::default();
        let spec = read::spec(&Node::root(value), &mut problems);
        problems.finish(spec)
    }

    /// What the file says and can't have meant, though it can be run.
    pub fn warnings(&self) -> Vec<ConfigError> {
        let confident = |step: &StepSpec| {
            step.pauses.iter().filter_map(PauseSpec::until).any(|until| until.until_confident)
        };
        let confident = self.steps.iter().any(confident);
        let never = |rule: &MetricRule| match rule {
            MetricRule::FailureRate { ratio, margin } => {
                *margin <= 0.0 && *ratio <= 1.0 && self.harm_budget.is_none()
            }
            MetricRule::Conversion { margin, .. } => *margin <= 0.0,
            MetricRule::Latency { .. }
            | MetricRule::Distribution { .. }
            | MetricRule::Values { .. }
            | MetricRule::Prometheus(_) => false,
        };
        let metrics = self.analysis.metrics.iter().enumerate();
        let doubtful = metrics.filter(|(_, metric)| confident && never(&metric.rule));
        let message = "with margin 0 no version is ever certified to be no worse, not even the same one \
                       again, so `untilConfident` waits for ever: give a margin, such as 1%";
        let doubt = |(index, _)| ConfigError {
            path: format!("analysis.metrics[{index}].margin"),
            message: message.to_owned(),
        };
        doubtful.map(doubt).collect()
    }

    /// How long the file plans to take, in seconds: the sum of its durations, else of its timeouts,
    /// else an hour. The judge spreads its start mixtures over it.
    pub fn planned_seconds(&self) -> u64 {
        const HOUR: u64 = 3_600;
        let conditions =
            || self.steps.iter().flat_map(|step| &step.pauses).filter_map(PauseSpec::until);
        let sum = |times: &mut dyn Iterator<Item = Duration>| {
            times.fold(Duration::ZERO, Duration::saturating_add).as_secs()
        };
        let durations = sum(&mut conditions().filter_map(|until| until.duration));
        let timeouts = sum(&mut conditions().filter_map(|until| until.timeout));
        [durations, timeouts].into_iter().find(|seconds| *seconds > 0).unwrap_or(HOUR)
    }

    /// What puts a version into a place, if the controller does that.
    pub fn deploy_hook(&self) -> Option<&DeployHook> {
        self.deploy.as_ref()?.hook.as_ref()
    }

    /// How many requests of each role the handover to the new stable judges.
    pub fn handover_requests(&self) -> u64 {
        self.deploy.as_ref().map_or(HANDOVER_REQUESTS, |deploy| deploy.min_requests)
    }

    /// The weight that comes after a step; behind the last step of a measurement none does, so its own.
    pub fn weight_after(&self, step: usize) -> Weight {
        let own = || self.steps.get(step).filter(|_| self.goal.is_measure());
        let next = self.steps.get(step.saturating_add(1)).or_else(own);
        next.map_or(Weight::FULL, |next| next.weight)
    }

    /// The margin of failures that a step certifies, as a fraction, where a harm budget sets it: the
    /// budget divided by the next weight, since that is where it would be spent.
    pub fn certificate_margin(&self, step: usize) -> Option<f64> {
        let next = self.weight_after(step).fraction();
        self.harm_budget.map(|budget| (budget / next).min(1.0))
    }
}

impl PauseSpec {
    /// The conditions, unless it waits for a person.
    pub const fn until(&self) -> Option<&Conditions> {
        match self {
            Self::Until(conditions) => Some(conditions),
            Self::Operator => None,
        }
    }
}

impl Topic {
    /// All of them, in the order of a rollout's life.
    pub const ALL: [Self; 8] = [
        Self::Started,
        Self::Step,
        Self::Paused,
        Self::Resumed,
        Self::Completed,
        Self::Aborted,
        Self::Measured,
        Self::Outage,
    ];

    /// The topic's word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Step => "step",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
            Self::Measured => "measured",
            Self::Outage => "outage",
        }
    }
}

#[cfg(test)]
mod tests;
