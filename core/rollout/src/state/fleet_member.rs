//! What is known of one Envoy of the fleet.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::mismatch::EnvoyMismatch;
use canary_judge::counts::Pair;

/// What is known of one Envoy of the fleet; each look replaces most of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FleetMember {
    /// Why it could not be reached at the last look.
    pub(crate) lost: Option<String>,
    /// What it does not show as it should; `None`: it confirmed the target.
    pub(crate) mismatch: Option<EnvoyMismatch>,
    /// Whether its runtime has to be written.
    pub(crate) stale: bool,
    /// The epoch in which it last confirmed a target of ours.
    pub(crate) took: Option<u64>,
    /// Whether its lease may have been given up: nothing but a write brings it back to stable.
    pub(crate) free: bool,
    /// Whether it has confirmed the rollback.
    pub(crate) stable: bool,
    /// The version labels in force, when last read.
    #[serde(default)]
    pub(crate) versions: Pair<Option<String>>,
    /// The version labels of its configuration alone, when last read.
    #[serde(default)]
    pub(crate) configured: Pair<Option<String>>,
    /// The signals that its filter has for this rollout, when last read.
    #[serde(default)]
    pub(crate) signals: Option<BTreeSet<String>>,
    /// Those of them that are recorded as numbers, when last read.
    #[serde(default)]
    pub(crate) value_signals: Option<BTreeSet<String>>,
    /// The timings that its filter measures for this rollout, when last read.
    #[serde(default)]
    pub(crate) timings: Option<BTreeSet<String>>,
    /// Its filter's `outcome_age` in seconds, when last read.
    #[serde(default)]
    pub(crate) outcome_age: Option<u64>,
    /// Whether its filter works and yet says no `outcome_age`: it is older than canaryctl.
    #[serde(default)]
    pub(crate) outdated: bool,
    /// How many endpoints each role's cluster has, when last read.
    #[serde(default)]
    pub(crate) endpoints: Pair<Option<u64>>,
    /// The pushed configuration that it refuses, in its words.
    #[serde(default)]
    pub(crate) refused: Option<String>,
}
