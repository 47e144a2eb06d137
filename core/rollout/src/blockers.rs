//! What a rollout waits for, as data: what, how much of it there is, and how long it will take at
//! this traffic.

pub(crate) mod checks;
pub(crate) mod finalizing;
mod find;
pub(crate) mod versions;

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::mismatch::EnvoyMismatch;
use super::pause::PauseReason;
use canary_judge::counts::Pair;
use canary_judge::verdict::{InsufficientData, NoAnswer};
use canary_model::role::Role;
use canary_model::weight::Weight;

pub use find::blockers;
pub(crate) use find::of_step;

/// Everything that a rollout waits for now; nothing at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Blockers {
    /// The step it is in, if it is in one.
    pub step: Option<StepPosition>,
    /// What must come before it goes on. All of it.
    pub waiting_for: Vec<Blocker>,
    /// Envoys that can't be reached, with what was said. Their leases bring them back to stable.
    pub unreachable: Vec<(String, String)>,
}

/// A step's place among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StepPosition {
    /// Its number, from 1.
    pub number: usize,
    /// How many there are.
    #[serde(rename = "of")]
    pub total: usize,
    /// The weight that the step sets.
    pub weight: Weight,
}

/// One thing that a rollout waits for. Times are written in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "for", rename_all = "camelCase")]
pub enum Blocker {
    /// The journal: it can't be written, and nothing advances that isn't written down.
    Journal,
    /// An Envoy that can be reached.
    AnyEnvoy,
    /// The canary's version: no Envoy says which it is, and a weight names its version.
    CanaryVersion,
    /// The configured version of a role that gets a label: no Envoy shows its configuration, and a label
    /// names the version that it replaces.
    ConfiguredVersion {
        /// The role that the label is for.
        #[serde(serialize_with = "role_name")]
        role: Role,
    },
    /// The end of a deploy hook.
    Deploy {
        /// Whose place gets the version.
        #[serde(serialize_with = "role_name")]
        role: Role,
        /// The version that is being deployed.
        version: String,
        /// How long the hook has been running.
        #[serde(serialize_with = "seconds")]
        running: Duration,
    },
    /// Judged requests of both places in the handover.
    Handover {
        /// How many were judged: in stable's place, which runs the new version, and in the canary's.
        have: Pair<u64>,
        /// How many the file asks for, of each.
        need: u64,
        /// How long the rest takes at this traffic.
        #[serde(serialize_with = "maybe_seconds")]
        left: Option<Duration>,
    },
    /// Envoys whose canary is of another version than the rollout's.
    OtherVersion {
        /// The version that the rollout is about.
        expected: String,
        /// Which, and the version there.
        envoys: Vec<(String, String)>,
    },
    /// A signal that a metric names and a filter doesn't have.
    Signal {
        /// The metric that names the signal.
        metric: String,
        /// The signal's name, as the metric writes it.
        signal: String,
        /// Whether the metric compares numbers, so that the signal must have `values`.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        values: bool,
        /// The Envoys whose filters don't have it.
        envoys: Vec<String>,
        /// The signals that they have instead.
        known: Vec<String>,
    },
    /// A cluster without an endpoint.
    Endpoints {
        /// The version whose cluster it is.
        #[serde(serialize_with = "role_name")]
        role: Role,
        /// The Envoys on which the cluster is empty.
        envoys: Vec<String>,
    },
    /// Envoys that refuse a pushed configuration, with what they say.
    RefusedConfiguration {
        /// Which, and what they say.
        envoys: Vec<(String, String)>,
    },
    /// Filters that don't say at which age they count outcomes.
    OutdatedFilter {
        /// The Envoys that run them.
        envoys: Vec<String>,
    },
    /// Filters that count outcomes at different ages.
    OneOutcomeAge {
        /// The Envoys, with the age of each in seconds.
        envoys: Vec<(String, u64)>,
    },
    /// A timing that a latency metric compares and a filter doesn't measure.
    Timing {
        /// The metric that compares the timing.
        metric: String,
        /// The timing, as the metric writes it.
        timing: String,
        /// The Envoys whose filters don't measure it.
        envoys: Vec<String>,
    },
    /// Requests of this step: the first ones haven't reached the age at which they are counted.
    Age {
        /// The age at which requests are counted.
        #[serde(serialize_with = "seconds")]
        age: Duration,
        /// How much of it is left.
        #[serde(serialize_with = "seconds")]
        left: Duration,
    },
    /// Answers of the canary: most requests had none at the age at which they are counted.
    Answers {
        /// How many had no answer.
        unanswered: u64,
        /// How many there were in all.
        requests: u64,
        /// The age at which they are counted.
        #[serde(serialize_with = "seconds")]
        age: Duration,
    },
    /// Envoys that do not show what they should yet, with what they show instead.
    Confirmation {
        /// Which, and what differs there.
        envoys: Vec<(String, EnvoyMismatch)>,
    },
    /// Envoys that must be reached to confirm the rollback, with what was said.
    Reachable {
        /// Which, and why they can't be reached.
        envoys: Vec<(String, String)>,
    },
    /// The leases of Envoys that can't be reached, before all traffic is surely back on stable.
    Leases {
        /// The Envoys that can't be reached.
        envoys: Vec<String>,
        /// The longest that may take.
        #[serde(serialize_with = "seconds")]
        left: Duration,
    },
    /// Counts: none could be read for so long.
    Counts {
        /// How long there have been no counts.
        #[serde(serialize_with = "seconds")]
        missing: Duration,
    },
    /// Time at this weight.
    Time {
        /// Time at this weight so far.
        #[serde(serialize_with = "seconds")]
        have: Duration,
        /// What the pause asks for.
        #[serde(serialize_with = "seconds")]
        need: Duration,
    },
    /// Canary requests since the step's start.
    Requests {
        /// How many there were.
        have: u64,
        /// How many the pause asks for.
        need: u64,
        /// How long the rest takes at this traffic.
        #[serde(serialize_with = "maybe_seconds")]
        left: Option<Duration>,
    },
    /// Data that a metric still lacks.
    Data {
        /// The metric's name, as in the file.
        metric: String,
        /// What it needs to go on.
        lacks: MissingInput,
    },
    /// The certificate that a metric is within its margin (non-inferiority).
    Certificate {
        /// The metric's name, as in the file.
        metric: String,
        /// The evidence there is, as a natural logarithm.
        log_e: f64,
        /// What it must reach.
        log_limit: f64,
        /// The margin that is certified, as a fraction.
        margin: f64,
        /// How long the rest takes at this traffic, if the canary is as good as stable.
        #[serde(serialize_with = "maybe_seconds")]
        left: Option<Duration>,
    },
    /// The canary's share of requests contradicts its weight, so no comparison can be trusted
    /// (`splitMismatch: hold`).
    SampleRatio {
        /// The weight, as a fraction.
        weight: f64,
        /// The canary's share of requests at this weight, if any were counted.
        measured: Option<f64>,
    },
    /// The consent of a gate.
    Gate {
        /// The gate's URL, without secrets.
        url: String,
        /// How often it was asked.
        attempts: u32,
        /// What it said last.
        said: Option<String>,
    },
    /// An operator who lets the rollout go on.
    Operator {
        /// Why the rollout is paused.
        why: PauseReason,
    },
}

/// What a metric needs before it can conclude anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MissingInput {
    /// A measurement that says something; the last one doesn't, for this reason.
    Answer(NoAnswer),
    /// More data of this kind.
    Data(InsufficientData),
    /// Anything: it was never asked.
    Anything,
}

fn role_name<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(role.as_str())
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn maybe_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}
