//! What is known of one Envoy of the fleet.

use serde::{Deserialize, Serialize};

/// One Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FleetMember {
    /// Why it could not be reached at the last look.
    pub(crate) lost: Option<String>,
    /// What it does not show as it should; `None`: it confirmed the target.
    pub(crate) mismatch: Option<String>,
    /// Whether its runtime has to be written.
    pub(crate) stale: bool,
    /// The epoch in which it last confirmed a target of ours.
    pub(crate) took: Option<u64>,
    /// Whether its lease may have been given up: nothing but a write brings it back to stable.
    pub(crate) free: bool,
    /// Whether it has confirmed the rollback.
    pub(crate) stable: bool,
}
