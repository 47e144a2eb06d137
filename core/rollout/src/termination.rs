//! Why a rollout ended.

use canary_judge::counts::{Pair, Trials};
use canary_judge::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// Why a rollout ended or is being ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "camelCase")]
pub enum TerminationReason {
    /// Every step's conditions held: the canary has all traffic.
    Completed,
    /// The steps of a rollout that only measures are over.
    Measured,
    /// A person sent all traffic to the canary without waiting for the steps.
    #[serde(rename = "promotedByPerson")]
    PromotedByOperator,
    /// A metric's test found the canary worse than tolerated.
    Metric {
        /// The metric's name, as in the file.
        metric: String,
        /// What its test found.
        verdict: FailedVerdict,
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
    /// The deploy hook could not put the new version into the canary's place; no weight has moved.
    DeployFailed {
        /// The version that was to be deployed.
        version: String,
        /// What the hook said.
        why: String,
    },
    /// The guard tripped in the handover: the canary's place failed where the new stable didn't, so all
    /// traffic went to stable's place at once. The rollout is Healthy.
    GuardInHandover {
        /// The Envoys whose guard tripped.
        envoys: Vec<String>,
    },
    /// Somebody else drives the rollout now; nothing is written any more.
    OtherOwner {
        /// As which Envoy shows.
        envoy: String,
        /// The name in the owner key.
        owner: String,
    },
}

/// The verdict of a metric that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FailedVerdict {
    /// Its conclusion with both versions' figures.
    Verdict(Box<Verdict>),
    /// A sentence of an older version's journal.
    Sentence(String),
}
