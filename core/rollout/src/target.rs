//! What every Envoy should show: the weight and the keys that go with it.

use serde::{Deserialize, Serialize};

use canary_judge::counts::Pair;
use canary_model::weight::Weight;

/// What every Envoy should show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightTarget {
    /// The canary's share of requests.
    pub weight: Weight,
    /// The canary version that the weight is for; `None` if it isn't known, which only a weight of 0
    /// may be.
    #[serde(default)]
    pub version: Option<String>,
    /// The kill switch; true lets requests pass to the canary.
    pub enabled: bool,
    /// The guard's epoch; a larger one resets the guard.
    pub epoch: u64,
    /// The window of first observations.
    pub window: u64,
    /// The lease under which the weight stands, in seconds; `None`: no lease.
    pub lease_seconds: Option<u32>,
    /// Who drives the rollout; `None`: nobody any more.
    pub owner: Option<String>,
    /// The version labels (`3.1=3.2`) that are set with it, by role; `None` leaves a role's key as it is.
    #[serde(default, skip_serializing_if = "no_labels")]
    pub labels: Pair<Option<String>>,
}

/// For serde, which passes references.
fn no_labels(labels: &Pair<Option<String>>) -> bool {
    *labels == Pair::default()
}
