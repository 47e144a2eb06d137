//! The filter's log lines: what is said, as data, and the only place with their text.

use std::fmt;

use canary_model::document::ConfigError;
use canary_model::role::Role;
use canary_model::runtime::{ReadError, RuntimeKey};
use canary_model::weight::Weight;

use crate::control::UnreadableValue;
use crate::guard::GuardCounts;

/// One line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A configuration is in force; the names of its rollouts.
    Configured(Vec<String>),
    /// A configuration was refused; one of the reasons.
    ConfigRefused(ConfigError),
    /// A poll of the runtime failed, for another reason than the poll before.
    PollFailed(PollError),
    /// The first poll that worked after some that failed.
    PollRecovered,
    /// A runtime value can't be read.
    UnreadableValue {
        /// The rollout that it belongs to.
        rollout: String,
        /// The key, its text, and what was expected.
        value: UnreadableValue,
    },
    /// The runtime's weight is meant for another version of the canary.
    OtherVersion {
        /// The name of the rollout.
        rollout: String,
        /// The configured canary version.
        canary: String,
        /// The version that the weight is meant for.
        meant_for: String,
    },
    /// This worker's guard has tripped.
    GuardTripped(GuardTrip),
}

/// What made a guard trip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardTrip {
    /// The name of the rollout.
    pub rollout: String,
    /// The canary's version and its requests in the epoch.
    pub canary: (String, GuardCounts),
    /// The stable version and its requests in the epoch.
    pub stable: (String, GuardCounts),
    /// The weight in force until now.
    pub weight: Weight,
}

/// Why a poll of the runtime failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollError {
    /// Envoy refused to send it.
    Refused {
        /// The cluster that was to be called.
        cluster: String,
        /// Envoy's reason, in the ABI's words.
        reason: String,
    },
    /// It timed out, or the connection failed.
    NoAnswer,
    /// The status wasn't 200; its text.
    Status(String),
    /// The body can't be read.
    Body(ReadError),
}

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It works as configured.
    Info,
    /// Something needs attention; traffic is safe.
    Warning,
    /// A configuration can't be used.
    Error,
}

impl Message {
    /// How important the line is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Configured(_) | Self::PollRecovered => Severity::Info,
            Self::ConfigRefused(_) => Severity::Error,
            Self::PollFailed(_)
            | Self::UnreadableValue { .. }
            | Self::OtherVersion { .. }
            | Self::GuardTripped(_) => Severity::Warning,
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("canary: ")?;
        match self {
            Self::Configured(names) => {
                write!(f, "configured with {} rollouts: {}", names.len(), names.join(", "))
            }
            Self::ConfigRefused(error) => write!(f, "configuration refused: {error}"),
            Self::PollFailed(error) => {
                write!(f, "cannot read Envoy's runtime, keeping the last weights: {error}")
            }
            Self::PollRecovered => f.write_str("Envoy's runtime is readable again"),
            Self::UnreadableValue { rollout, value } => {
                let key = RuntimeKey::new(rollout, value.setting);
                let UnreadableValue { found, error, .. } = value;
                write!(f, "runtime key {key} is `{found}`: {error}; keeping the last good value")
            }
            Self::OtherVersion { rollout, canary, meant_for } => write!(
                f,
                "the weight of rollout {rollout} is set for version {meant_for}, but the canary is \
                 {canary}; all requests go to stable until a weight is set for {canary}"
            ),
            Self::GuardTripped(trip) => trip.fmt(f),
        }
    }
}

impl fmt::Display for GuardTrip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((canary, failed), (stable, stable_failed)) = (&self.canary, &self.stable);
        write!(
            f,
            "guard tripped for rollout {}: {} {canary} failed {} of {} requests, {} {stable} failed \
             {} of {}, at a weight of {} %; all requests go to stable until canary.{}.epoch changes",
            self.rollout,
            Role::Canary,
            failed.failure,
            failed.total,
            Role::Stable,
            stable_failed.failure,
            stable_failed.total,
            self.weight,
            self.rollout,
        )
    }
}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { cluster, reason } => write!(
                f,
                "Envoy refuses to call cluster `{cluster}` ({reason}); check runtime.cluster in the \
                 plugin's configuration against Envoy's clusters"
            ),
            Self::NoAnswer => f.write_str("no answer"),
            Self::Status(status) => write!(f, "status {status}, expected 200"),
            Self::Body(error) => error.fmt(f),
        }
    }
}
