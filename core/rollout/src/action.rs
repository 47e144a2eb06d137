//! What the shell has to do after a step. Nothing of it does harm when it is done twice.

use serde::{Deserialize, Serialize};

use super::event::RolloutEvent;
use super::spec::Topic;
use super::target::WeightTarget;
use canary_judge::counts::Pair;
use canary_model::role::Role;
use canary_model::runtime::{Lease, Setting, Update, VersionLabel, WeightValue};
use canary_model::weight::Weight;

/// One thing to do. The shell journals it first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase")]
pub enum Action {
    /// Write the target to these Envoys, each in one atomic update. What came of it shows when the
    /// Envoys are looked at again.
    Write {
        /// Which Envoys, by the names under which they were seen.
        envoys: Vec<String>,
        /// What they should show.
        target: WeightTarget,
        /// What tells this lease from those before.
        nonce: String,
    },
    /// Ask a gate; the answer is a [`super::inputs::GateAnswer`].
    AskGate {
        /// Its index in the file.
        gate: usize,
        /// How often it was asked, this time included.
        attempt: u32,
    },
    /// Ask Prometheus for a metric; the answer is a measurement under the metric's name.
    Measure {
        /// The metric's name, as in the file.
        metric: String,
    },
    /// Put a version into a role's place with the file's deploy hook; its end is a
    /// [`super::inputs::DeployAnswer`]. It may be called again after a restart of the controller.
    Deploy {
        /// The role whose place gets it.
        #[serde(with = "super::role_text")]
        role: Role,
        /// The version that should serve there.
        version: String,
        /// Which call of the hook it is in this rollout, from 1; the answer carries it.
        attempt: u32,
    },
    /// Stop a deploy hook that is no longer wanted; a hook that has ended needs nothing.
    CancelDeploy {
        /// Which call of the hook.
        attempt: u32,
    },
    /// Tell a web hook; what came of it is a [`super::inputs::DeliveryReport`].
    Notify(Notification),
}

/// What an Envoy lost in a restart after the rollout's end, and what it gets back: only keys that are
/// missing, without lease and owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoration {
    /// The Envoy, by the name under which it was seen.
    pub envoy: String,
    /// The final weight, if the key is missing.
    pub weight: Option<Weight>,
    /// The canary version that the weight names.
    pub version: Option<String>,
    /// The kill switch, if the key is missing.
    pub enabled: Option<bool>,
    /// The version labels whose keys are missing.
    pub labels: Pair<Option<String>>,
}

impl Restoration {
    /// The update that sets the missing keys and no others.
    pub fn update(&self, rollout: &str) -> Update {
        let mut update = Update::new();
        if let Some(weight) = self.weight {
            update = update.weight(rollout, &WeightValue::new(weight, self.version.as_deref()));
        }
        if let Some(enabled) = self.enabled {
            update = update.enabled(rollout, enabled);
        }
        with_labels(update, rollout, &self.labels)
    }
}

/// A notification on its way. It may arrive twice: the number tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Its number, one for each event and hook.
    pub number: u64,
    /// The index of the file's `notify` entry.
    pub hook: usize,
    /// Under what it is told.
    pub topic: Topic,
    /// The event that is told.
    pub event: RolloutEvent,
    /// How often it was tried, this time included.
    pub attempt: u32,
}

impl Notification {
    /// The event that this notification was given up.
    pub const fn lost(&self) -> RolloutEvent {
        let (topic, hook) = (Some(self.topic), Some(self.hook));
        RolloutEvent::NoticeLost { notice: self.number, topic, hook }
    }
}

/// The update that makes an Envoy show a target.
pub fn update(rollout: &str, target: &WeightTarget, nonce: &str) -> Update {
    let update = Update::new()
        .weight(rollout, &WeightValue::new(target.weight, target.version.as_deref()))
        .enabled(rollout, target.enabled)
        .epoch(rollout, target.epoch)
        .window(rollout, target.window);
    let update = with_labels(update, rollout, &target.labels);
    let lease = target.lease_seconds.and_then(|seconds| Lease::new(seconds, nonce).ok());
    let update = match &lease {
        Some(lease) => update.lease(rollout, lease),
        None => update.remove(rollout, Setting::Lease),
    };
    match &target.owner {
        Some(owner) => update.owner(rollout, owner),
        None => update.remove(rollout, Setting::Owner),
    }
}

/// Adds the labels that are given; a role without one keeps what its key says.
fn with_labels(update: Update, rollout: &str, labels: &Pair<Option<String>>) -> Update {
    Role::ALL.into_iter().fold(update, |update, role| {
        let label = labels.get(role).as_deref().and_then(|text| VersionLabel::parse(text).ok());
        match label {
            Some(label) => update.version(rollout, role, &label),
            None => update,
        }
    })
}
