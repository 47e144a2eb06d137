//! What a rollout waits for, as data: what, how much of it there is, and how long it will take at
//! this traffic. [`Blockers`] also renders it as a sentence.

pub(crate) mod checks;
mod find;
mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::mismatch::EnvoyMismatch;
use canary_model::role::Role;
use canary_model::weight::Weight;

pub use find::blockers;
pub(crate) use find::of_step;
pub use text::span;

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
    pub of: usize,
    /// Its weight.
    pub weight: Weight,
}

/// One thing that a rollout waits for. Times are written in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "for", rename_all = "camelCase")]
pub enum Blocker {
    /// An Envoy that can be reached.
    AnyEnvoy,
    /// The canary's version: no Envoy says which it is, and a weight names its version.
    CanaryVersion,
    /// Envoys whose canary is of another version than the rollout's.
    OtherVersion {
        /// The rollout's version.
        expected: String,
        /// Which, and the version there.
        envoys: Vec<(String, String)>,
    },
    /// A signal that a metric names and a filter doesn't have.
    Signal {
        /// The metric.
        metric: String,
        /// The signal.
        signal: String,
        /// The Envoys whose filters don't have it.
        envoys: Vec<String>,
        /// The signals that they have instead.
        known: Vec<String>,
    },
    /// A cluster without an endpoint.
    Endpoints {
        /// Whose cluster.
        #[serde(serialize_with = "role_name")]
        role: Role,
        /// On which Envoys.
        envoys: Vec<String>,
    },
    /// Envoys that refuse a pushed configuration, with what they say.
    RefusedConfiguration {
        /// Which, and what they say.
        envoys: Vec<(String, String)>,
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
        /// Which Envoys.
        envoys: Vec<String>,
        /// The longest that may take.
        #[serde(serialize_with = "seconds")]
        left: Duration,
    },
    /// Counts: none could be read for so long.
    Counts {
        /// How long.
        #[serde(serialize_with = "seconds")]
        missing: Duration,
    },
    /// Time at this weight.
    Time {
        /// What has passed.
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
    /// A metric's data.
    Data {
        /// The metric.
        metric: String,
        /// What it lacks, in words.
        lacks: String,
    },
    /// A metric's certificate.
    Certificate {
        /// The metric.
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
    /// A gate's consent.
    Gate {
        /// Whom it asks.
        url: String,
        /// How often it was asked.
        attempts: u32,
        /// What it said last.
        said: Option<String>,
    },
    /// A person.
    Operator {
        /// Why.
        why: PauseReason,
    },
}

/// Why a rollout is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PauseReason {
    /// The file says so: `pause: {}`.
    File,
    /// A person said so.
    Command,
    /// The pause's timeout passed.
    Timeout,
    /// More of an external metric's measurements were neither good nor bad than its
    /// `inconclusiveLimit` allows.
    Inconclusive {
        /// The metric.
        metric: String,
    },
    /// A sentence of an older version's journal.
    #[serde(untagged)]
    Sentence(String),
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
