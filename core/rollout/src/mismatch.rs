//! What an Envoy doesn't show as it should, as data.

use serde::{Deserialize, Serialize};

use super::inputs::EnvoyReading;
use super::target::WeightTarget;
use canary_model::role::Role;
use canary_model::runtime::{Lease, Setting, WeightValue};
use canary_model::weight::Weight;

/// The first thing in which an Envoy differs from the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mismatch", rename_all = "camelCase")]
pub enum EnvoyMismatch {
    /// It hasn't been looked at since the target was set.
    NotConfirmed,
    /// A key of its runtime has another value.
    Runtime {
        /// The key's last part, such as `weight`.
        key: String,
        /// What the runtime shows; `None` if the key is missing or unreadable.
        shown: Option<String>,
        /// What the target says.
        wanted: String,
    },
    /// Its runtime still shows an owner that should be gone.
    OwnerLeft {
        /// The owner that is still shown.
        owner: String,
    },
    /// Its runtime doesn't show this controller's lease.
    LeaseMissing,
    /// Its runtime still shows this controller's lease.
    LeaseLeft,
    /// Its filter reports no weight: it is missing, dead or misconfigured.
    NoWeightReported,
    /// Its lease ran out, so its filter is at weight 0.
    LeaseExpired,
    /// Its filter still has another weight in force.
    InForce {
        /// The weight that is in force.
        weight: Weight,
        /// What the target says.
        wanted: Weight,
    },
}

/// How the merged runtime differs from the target. `releasing`: the owner is being given up, so
/// another owner may already be there.
pub(crate) fn in_runtime(
    target: &WeightTarget,
    reading: &EnvoyReading,
    releasing: bool,
) -> Option<EnvoyMismatch> {
    let differs = |key: Setting, shown: Option<String>, wanted: String| {
        let key = key.as_str().to_owned();
        (shown.as_ref() != Some(&wanted)).then_some(EnvoyMismatch::Runtime { key, shown, wanted })
    };
    let value = |weight: Weight, version: &Option<String>| {
        WeightValue::new(weight, version.as_deref()).to_string()
    };
    let switch = |enabled: bool| if enabled { "100" } else { "0" }.to_owned();
    let shown = reading.weight.map(|weight| value(weight, &reading.weight_version));
    let owner = || match (&target.owner, &reading.owner) {
        (Some(wanted), shown) => differs(Setting::Owner, shown.clone(), wanted.clone()),
        (None, Some(owner)) if !releasing => {
            Some(EnvoyMismatch::OwnerLeft { owner: owner.clone() })
        }
        (None, _) => None,
    };
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    differs(Setting::Weight, shown, value(target.weight, &target.version))
        .or_else(|| in_labels(target, reading))
        .or_else(|| differs(Setting::Enabled, reading.enabled.map(switch), switch(target.enabled)))
        .or_else(|| differs(Setting::Epoch, number(reading.epoch), target.epoch.to_string()))
        .or_else(|| differs(Setting::Window, number(reading.window), target.window.to_string()))
        .or_else(owner)
        .or_else(|| in_lease(target, reading.lease.as_deref()))
}

/// The labels that the target has. An Envoy whose configuration is for other versions keeps them and ignores
/// them; that holds the rollout as another version.
fn in_labels(target: &WeightTarget, reading: &EnvoyReading) -> Option<EnvoyMismatch> {
    Role::ALL.into_iter().find_map(|role| {
        let wanted = target.labels.get(role).clone()?;
        let shown = reading.labels.get(role).clone();
        let key = Setting::version_of(role).as_str().to_owned();
        (shown.as_ref() != Some(&wanted)).then_some(EnvoyMismatch::Runtime { key, shown, wanted })
    })
}

fn in_lease(target: &WeightTarget, shown: Option<&str>) -> Option<EnvoyMismatch> {
    let shown = shown.and_then(|text| Lease::parse(text).ok());
    let ours = |lease: &Lease| lease.nonce().starts_with(&format!("{}-", target.epoch));
    match (target.lease_seconds, shown) {
        (Some(seconds), Some(lease)) if lease.seconds() == seconds && ours(&lease) => None,
        (Some(_), _) => Some(EnvoyMismatch::LeaseMissing),
        (None, Some(lease)) if ours(&lease) => Some(EnvoyMismatch::LeaseLeft),
        (None, _) => None,
    }
}

/// What the filter has not followed yet. If the kill switch is thrown, the filter doesn't matter.
pub(crate) fn in_filter(target: &WeightTarget, reading: &EnvoyReading) -> Option<EnvoyMismatch> {
    if !target.enabled || reading.in_force == Some(target.weight) {
        return None;
    }
    // A tripped guard keeps the weight at 0, whatever is set; the quorum decides what that means.
    let this_epoch = reading.epoch_in_force == Some(target.epoch);
    if reading.guard_tripped == Some(true) && this_epoch {
        return None;
    }
    Some(match reading.in_force {
        None => EnvoyMismatch::NoWeightReported,
        Some(_) if reading.lease_expired == Some(true) => EnvoyMismatch::LeaseExpired,
        Some(weight) => EnvoyMismatch::InForce { weight, wanted: target.weight },
    })
}
