//! What a rollout waits for, as data: what, how much of it there is, and how long it will take at
//! this traffic. [`Waits`] also renders it as a sentence.

use std::time::Duration;

use serde::Serialize;

/// Everything that a rollout waits for now; empty at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Waits {
    /// What must come before it goes on. All of it.
    pub waits: Vec<Wait>,
    /// Envoys that can't be reached, with what was said. Their leases bring them back to stable.
    pub unreachable: Vec<(String, String)>,
}

/// One thing that a rollout waits for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "for", rename_all = "camelCase")]
pub enum Wait {
    /// An Envoy that can be reached.
    AnyEnvoy,
    /// Envoys that do not show what they should yet, with what they show instead.
    Confirmation {
        /// Which, and what is amiss there.
        envoys: Vec<(String, String)>,
    },
    /// The leases of Envoys that can't be reached, before all traffic is surely back on stable.
    Leases {
        /// Which Envoys.
        envoys: Vec<String>,
        /// The longest that may take.
        left: Duration,
    },
    /// Counts: none could be read for so long.
    Counts {
        /// How long.
        missing: Duration,
    },
    /// Time at this weight.
    Time {
        /// What has passed.
        have: Duration,
        /// What the pause asks for.
        need: Duration,
    },
    /// Canary requests since the step's start.
    Requests {
        /// How many there were.
        have: u64,
        /// How many the pause asks for.
        need: u64,
        /// How long the rest takes at this traffic.
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
    Person {
        /// Why.
        why: Pausing,
    },
}

/// Why a rollout is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Pausing {
    /// The file says so: `pause: {}`.
    File,
    /// A person said so.
    Command,
    /// The pause's timeout passed.
    Timeout,
}
