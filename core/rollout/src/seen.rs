//! What the shell found out since the last step: counts, every Envoy's state, answers, commands.
//!
//! Everything here can be written as JSON and read again, so that a journal of what was seen, with
//! the times, is enough to arrive at the same state.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use canary_judge::observation::{Measurement, Observation};
use canary_model::runtime::{Reading, RolloutRuntime};
use canary_model::weight::Weight;

/// Everything that was seen since the last step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inputs {
    /// What a person asked for, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
    /// The counts since the last time there were some, summed over the fleet; `None` where nothing
    /// could be read. `t`, `weight` and `window` are the rollout's to fill in, whatever they say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<Observation>,
    /// What external metrics measured, by the metric's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub measurements: BTreeMap<String, Measurement>,
    /// Every Envoy of the fleet as it is now, by the name that messages call it. Who is not here is
    /// no longer a member; where nobody is here, nobody looked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub envoys: BTreeMap<String, Envoy>,
    /// What gates answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateAnswer>,
    /// What became of notifications.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notified: Vec<Delivery>,
}

/// What a person can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Leave this step as soon as there is data; in a pause: go on.
    Promote,
    /// 100 % now, without waiting for anything.
    PromoteFull,
    /// Hold at this weight.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Back to stable.
    Abort,
    /// Begin again from the first step, after a rollback.
    Retry,
}

/// One Envoy as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Envoy {
    /// It answered, and shows this.
    Shows(Shown),
    /// It could not be asked; why.
    Unreachable(String),
}

/// What one Envoy shows of the rollout: its merged runtime and its filter's gauges. `None` where
/// there is nothing, or nothing that can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shown {
    /// The runtime's weight.
    pub weight: Option<Weight>,
    /// The kill switch; true lets requests pass to the canary.
    pub enabled: Option<bool>,
    /// The lease, as it is written.
    pub lease: Option<String>,
    /// The guard's epoch.
    pub epoch: Option<u64>,
    /// The window.
    pub window: Option<u64>,
    /// Who drives the rollout.
    pub owner: Option<String>,
    /// The weight in force, as the filter's gauge says.
    pub in_force: Option<Weight>,
    /// The epoch that the filter knows, as its gauge says; it follows the runtime's.
    pub epoch_in_force: Option<u64>,
    /// Whether the guard has tripped in that epoch.
    pub guard_tripped: Option<bool>,
    /// Whether the lease ran out.
    pub lease_expired: Option<bool>,
}

/// What a gate answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateAnswer {
    /// The gate's index in the file.
    pub gate: usize,
    /// Whether the answer was a 2xx.
    pub passed: bool,
    /// The status, or why there was no answer.
    pub said: String,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The notification's number.
    pub notice: u64,
    /// Whether the answer was a 2xx.
    pub delivered: bool,
}

impl Shown {
    /// What the runtime says; the gauges are the caller's to add.
    pub fn of_runtime(runtime: &RolloutRuntime) -> Self {
        Self {
            weight: runtime.weight.value().map(|value| value.weight),
            enabled: runtime.enabled.value().copied(),
            lease: runtime.lease.value().map(ToString::to_string),
            epoch: runtime.epoch.value().copied(),
            window: runtime.window.value().copied(),
            owner: match &runtime.owner {
                // Whatever stands there, somebody else wrote it.
                Reading::Set(owner) | Reading::Unreadable(owner, _) => Some(owner.clone()),
                Reading::Absent => None,
            },
            ..Self::default()
        }
    }
}

impl Command {
    /// The command as a person writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote --full",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
