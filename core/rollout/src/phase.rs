//! Where a rollout stands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing was written yet: it waits for an Envoy, or for a gate before the first step.
    Pending,
    /// The new version is being put into the canary's place; no weight has moved.
    Deploying,
    /// It goes from step to step.
    Progressing,
    /// It holds at a weight until a person says more.
    Paused,
    /// The last step is done; all Envoys are being set to 100 %.
    Promoting,
    /// All traffic is in the canary's place, and stable's place is being replaced: the new version is
    /// deployed there and takes over, judged. Stable is not safe here.
    Finalizing,
    /// The new version has all traffic: in the canary's place, or after the handover in stable's. The end.
    Healthy,
    /// The steps of a rollout that only measures are over. The end.
    Measured,
    /// All Envoys are being set back to stable.
    Aborting,
    /// Everything is back on stable. The end, unless it is tried again.
    Degraded,
}

impl Phase {
    /// Whether it is an end.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Healthy | Self::Measured | Self::Degraded)
    }

    /// The phase's name, as status and journal write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Deploying => "Deploying",
            Self::Progressing => "Progressing",
            Self::Paused => "Paused",
            Self::Promoting => "Promoting",
            Self::Finalizing => "Finalizing",
            Self::Healthy => "Healthy",
            Self::Measured => "Measured",
            Self::Aborting => "Aborting",
            Self::Degraded => "Degraded",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
