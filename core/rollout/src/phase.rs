//! Where a rollout stands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing was written yet: it waits for an Envoy, or for a gate before the first step.
    Pending,
    /// It goes from step to step.
    Progressing,
    /// It holds at a weight until a person says more.
    Paused,
    /// The last step is done; all Envoys are being set to 100 %.
    Promoting,
    /// The canary has all traffic. The end.
    Healthy,
    /// All Envoys are being set back to stable.
    Aborting,
    /// Everything is back on stable. The end, unless it is tried again.
    Degraded,
}

impl Phase {
    /// Whether it is an end.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }

    /// The phase's name, as status and journal write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Progressing => "Progressing",
            Self::Paused => "Paused",
            Self::Promoting => "Promoting",
            Self::Healthy => "Healthy",
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
