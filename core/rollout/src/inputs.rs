//! What the shell found out since the last step: counts, every Envoy's state, responses, commands.
//!
//! Everything here can be written as JSON and read again, so that a journal of the inputs, with the
//! times, is enough to arrive at the same state. Serialized names are part of the journal's format:
//! rename a field in Rust, not in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use canary_judge::counts::Pair;
use canary_judge::observation::{Measurement, Observation};
use canary_model::runtime::{Reading, RolloutRuntime};
use canary_model::weight::Weight;

/// Everything that was found out since the last step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inputs {
    /// What operators asked for, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<OperatorCommand>,
    /// The counts since the last time there were some, summed over the fleet; `None` if nothing
    /// could be read. The rollout fills in `t`, `weight` and `window`, whatever they say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<Observation>,
    /// What external metrics measured, by the metric's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub measurements: BTreeMap<String, Measurement>,
    /// Every Envoy of the fleet as it is now, by the name that messages give it. An Envoy that is
    /// missing here has left the fleet; if the map is empty, no Envoy was looked at.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub envoys: BTreeMap<String, EnvoyInput>,
    /// What gates answered since the last step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateAnswer>,
    /// What happened to notifications.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notified: Vec<DeliveryReport>,
    /// Whether this step can't be written down: then nothing starts or advances, and of the commands only
    /// `pause` and `abort` are obeyed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unrecorded: bool,
    /// What became of deploy hooks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deployed: Vec<DeployAnswer>,
}

/// What an operator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorCommand {
    /// Leave this step as soon as there is data; in a pause: go on.
    Promote,
    /// 100 % now, without waiting for anything.
    PromoteFull,
    /// Hold at this weight.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Send all traffic back to stable.
    Abort,
    /// Start again from the first step, after a rollback.
    Retry,
    /// Hand all traffic over to the new version in stable's place, judged.
    Finish,
}

/// One Envoy as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvoyInput {
    /// It answered, with this.
    #[serde(rename = "shows")]
    Reached(Box<EnvoyReading>),
    /// It could not be asked, and why.
    #[serde(rename = "unreachable")]
    Unreachable(String),
}

/// What one Envoy says about the rollout: its merged runtime, its filter's gauges and its
/// configuration. `None` stands for absent or unreadable, and holds nothing up unless a field says
/// so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnvoyReading {
    /// The weight that the runtime holds.
    pub weight: Option<Weight>,
    /// The version that the runtime's weight names: `3.2` of `5@3.2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_version: Option<String>,
    /// The kill switch; true lets requests pass to the canary.
    pub enabled: Option<bool>,
    /// The lease, as it is written.
    pub lease: Option<String>,
    /// The guard's epoch in the runtime.
    pub epoch: Option<u64>,
    /// The window of first observations in the runtime.
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
    /// The age at which the filter counts outcomes for the judge, in seconds, as its gauge says. A filter
    /// that reports a weight but not this is older than canaryctl and holds the rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome_age: Option<u64>,
    /// Keys that have a value which can't be read, such as `weight`: the field above is `None`, and yet
    /// the key isn't missing.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub unreadable: BTreeSet<String>,
    /// The version labels in force on this Envoy: those of the configuration that it runs, or what
    /// `stable_version` and `canary_version` say instead. A canary version other than the rollout's
    /// holds the rollout.
    #[serde(skip_serializing_if = "no_versions")]
    pub versions: Pair<Option<String>>,
    /// The version labels of the configuration alone; `None` if it could not be read.
    #[serde(skip_serializing_if = "no_versions")]
    pub configured: Pair<Option<String>>,
    /// The runtime's `stable_version` and `canary_version`, as they are written.
    #[serde(skip_serializing_if = "no_versions")]
    pub labels: Pair<Option<String>>,
    /// The names of the signals that this rollout's configuration has in the filter; `None` if the
    /// configuration could not be read, which holds nothing up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signals: Option<BTreeSet<String>>,
    /// Those of them that are recorded as numbers (`values`); `None` as for `signals`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_signals: Option<BTreeSet<String>>,
    /// The timings that this rollout's configuration measures beside the total time; `None` as for
    /// `signals`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<BTreeSet<String>>,
    /// How many endpoints each role's cluster has, whatever their health; `Some(0)` for a cluster
    /// that has none or doesn't exist, `None` if it isn't known.
    #[serde(skip_serializing_if = "no_endpoints")]
    pub endpoints: Pair<Option<u64>>,
    /// A pushed configuration that this Envoy refuses now, in Envoy's words (at most 300
    /// characters); it goes on with the configuration before. `None` if none is being refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

fn no_endpoints(pair: &Pair<Option<u64>>) -> bool {
    *pair == Pair::default()
}

fn no_versions(pair: &Pair<Option<String>>) -> bool {
    *pair == Pair::default()
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

/// What happened to a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReport {
    /// The number of the notification.
    pub notice: u64,
    /// Whether the answer was a 2xx.
    pub delivered: bool,
}

/// What became of a deploy hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployAnswer {
    /// Which call of the hook; see [`super::action::Action::Deploy`].
    pub attempt: u32,
    /// Why the version doesn't serve, in the hook's words; `None`: it serves.
    pub failed: Option<String>,
}

impl EnvoyReading {
    /// What the runtime says; the caller adds the gauges and the configuration.
    pub fn of_runtime(runtime: &RolloutRuntime) -> Self {
        Self {
            weight: runtime.weight.value().map(|value| value.weight),
            enabled: runtime.enabled.value().copied(),
            lease: runtime.lease.value().map(ToString::to_string),
            epoch: runtime.epoch.value().copied(),
            window: runtime.window.value().copied(),
            owner: match &runtime.owner {
                // Whatever the key says, another controller or an operator wrote it.
                Reading::Set(owner) | Reading::Unreadable(owner, _) => Some(owner.clone()),
                Reading::Absent => None,
            },
            labels: Pair {
                stable: runtime.stable_version.value().map(ToString::to_string),
                canary: runtime.canary_version.value().map(ToString::to_string),
            },
            weight_version: runtime.weight.value().and_then(|value| value.version.clone()),
            unreadable: runtime.unreadable().into_iter().map(|(key, ..)| key.to_string()).collect(),
            ..Self::default()
        }
    }
}

impl OperatorCommand {
    /// The command as an operator types it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote --full",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Finish => "finish",
        }
    }
}

impl fmt::Display for OperatorCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
