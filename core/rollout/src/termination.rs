//! Why a rollout ended, as data and in a sentence.

use std::fmt;

use canary_judge::counts::{Pair, Trials};
use serde::{Deserialize, Serialize};

/// Why a rollout ended or is being ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "camelCase")]
pub enum TerminationReason {
    /// Every step's conditions held: the canary has all traffic.
    Completed,
    /// A person sent all traffic to the canary without waiting for the steps.
    #[serde(rename = "promotedByPerson")]
    PromotedByOperator,
    /// A metric's test found the canary worse than tolerated.
    Metric {
        /// The metric's name, as in the file.
        metric: String,
        /// Its verdict in a sentence, with both versions' figures.
        verdict: String,
    },
    /// The guard tripped on enough Envoys.
    Guard {
        /// The Envoys whose guard tripped.
        envoys: Vec<String>,
        /// Requests and failures of both versions since the epoch's start, when the rollback began.
        /// The guard itself counts in each Envoy; these are the fleet's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counts: Option<Pair<Trials>>,
    },
    /// A person asked for it.
    #[serde(rename = "person")]
    Operator,
    /// Somebody threw the kill switch on an Envoy, past this controller.
    KillSwitch {
        /// The Envoy whose switch was thrown.
        envoy: String,
    },
    /// Somebody else drives the rollout now; nothing is written any more.
    OtherOwner {
        /// As which Envoy shows.
        envoy: String,
        /// The name in the owner key.
        owner: String,
    },
}

/// The reason in a sentence, without its full stop.
impl fmt::Display for TerminationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("every step's conditions held"),
            Self::PromotedByOperator => f.write_str("promoted by a person, past the steps"),
            Self::Metric { verdict, .. } => f.write_str(verdict),
            Self::Guard { envoys, counts } => {
                write!(f, "the guard tripped on {}", envoys.join(", "))?;
                let Some(Pair { canary, stable }) = counts else { return Ok(()) };
                write!(
                    f,
                    ": so far the canary failed {} of {} requests, stable {} of {}",
                    canary.events, canary.trials, stable.events, stable.trials
                )
            }
            Self::Operator => f.write_str("aborted by a person"),
            Self::KillSwitch { envoy } => {
                write!(f, "the kill switch was thrown on {envoy}, past this controller")
            }
            Self::OtherOwner { envoy, owner } => {
                write!(f, "{owner} drives this rollout now, as {envoy} shows")
            }
        }
    }
}
