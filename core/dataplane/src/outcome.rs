//! How a request went: which version was chosen, which one answered, and what is counted.
//!
//! The chosen version isn't always the one that answers: the kill switch diverts a canary request to
//! stable, and a rescue lets stable answer a request that failed on the canary. The version header
//! names the version that answered; the counters blame the one that failed. Counters, units of
//! counting and guard events all follow from one [`Outcome`].

use crate::assign::Assignment;
use crate::cohort::KeyHash;
use crate::host::Response;
use canary_model::config::{FailureRule, Rollout};
use canary_model::role::Role;

/// A request whose response is still to come or to end.
#[derive(Clone, Debug)]
pub struct Exchange {
    chosen: Role,
    overridden: bool,
    unit: CountingUnit,
    started_ns: u64,
    grpc: bool,
    answered: Option<Answered>,
    grpc_status: Option<u32>,
    client_left: bool,
}

/// The response's headers: HTTP status and origin.
#[derive(Clone, Copy, Debug)]
struct Answered {
    http: u16,
    by: Responder,
}

/// What a request counts as for the judge, whose unit is the unit of randomization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountingUnit {
    /// The rollout has no affinity: each request counts for itself.
    Request,
    /// The rollout is sticky: clients count.
    Client {
        /// The client; a request without a key is a client of its own.
        key: Option<KeyHash>,
        /// Whether this is the client's first request in the window.
        first: bool,
        /// The generation of the window in which it was sent.
        window: u32,
    },
}

impl CountingUnit {
    /// The client's key, if the request has one.
    pub fn key(&self) -> Option<KeyHash> {
        match self {
            Self::Client { key, .. } => *key,
            Self::Request => None,
        }
    }
}

/// Which version answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Responder {
    /// The role that was chosen.
    Chosen,
    /// Stable, because the kill switch closed the canary's route.
    KillSwitch,
    /// Stable, after the canary had failed.
    Rescue,
}

/// What Envoy knows about the upstream that answered a canary request.
#[derive(Clone, Debug, Default)]
pub struct UpstreamInfo {
    /// The cluster of the route (`xds.cluster_name`).
    pub cluster: Option<Vec<u8>>,
    /// How often the request was sent (`upstream.request_attempt_count`).
    pub attempts: Option<u64>,
    /// The role in the metadata of the endpoint that answered.
    pub role: Option<Vec<u8>>,
}

/// What a finished request is to the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not counted: the kill switch diverted a canary request to stable. Its client stays unseen.
    Diverted(CountingUnit),
    /// An overridden request of a role: counted separately.
    Overridden(Role),
    /// A request that enters the comparison.
    Compared(ComparedRequest),
}

/// A finished request that enters the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComparedRequest {
    /// The role that it counts for.
    pub role: Role,
    /// What it counts as for the judge.
    pub unit: CountingUnit,
    /// Success, failure or abandoned.
    pub result: RequestResult,
    /// The response's status class, 1 to 5; 0 if there was no response.
    pub class: u8,
    /// Failed on the canary, answered well by stable.
    pub rescued: bool,
    /// Request headers to end of response in microseconds. `None` for an abandoned request, which has
    /// no response, and for an upgraded connection, whose length says nothing about the service.
    pub time_us: Option<u64>,
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestResult {
    /// Answered, and not a failure by the configuration.
    Success,
    /// A failure by the configuration, or rescued from one.
    Failure,
    /// The client left before the response began, or ended a gRPC stream before its status came:
    /// neither a success nor a failure, and not a trial in any test.
    Abandoned,
}

impl Outcome {
    /// The client of a compared request, if the request has a key.
    pub fn client(&self) -> Option<KeyHash> {
        match self {
            Self::Compared(request) => request.unit.key(),
            Self::Diverted(_) | Self::Overridden(_) => None,
        }
    }

    /// Whether it is a compared request that went well, so that its signals count.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Compared(request) if request.result == RequestResult::Success)
    }
}

/// Envoy's response flags that say that the client left: `DownstreamConnectionTermination` (DC) and
/// `DownstreamRemoteReset` (DR), by their places in `CoreResponseFlag`.
const CLIENT_LEFT: u64 = 1 << 14 | 1 << 28;

/// The suffix of the aggregate cluster of a rescue, after the canary's cluster.
const RESCUE_SUFFIX: &[u8] = b"-rescued";

impl Exchange {
    /// A request that was just assigned.
    pub fn begin(assignment: &Assignment, unit: CountingUnit, grpc: bool, now_ns: u64) -> Self {
        Self {
            chosen: assignment.role(),
            overridden: assignment.is_override(),
            unit,
            started_ns: now_ns,
            grpc,
            answered: None,
            grpc_status: None,
            client_left: false,
        }
    }

    /// The role that was chosen for the request.
    pub fn chosen(&self) -> Role {
        self.chosen
    }

    /// Whether the request is gRPC, so that its gRPC status decides.
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// The response's headers have come. Returns the role that answered.
    pub fn answered(&mut self, http: u16, by: Responder) -> Role {
        self.answered = Some(Answered { http, by });
        match by {
            Responder::Chosen => self.chosen,
            Responder::KillSwitch | Responder::Rescue => Role::Stable,
        }
    }

    /// The gRPC status, from the response's headers or trailers. The trailers come last and decide.
    pub fn set_grpc_status(&mut self, status: u32) {
        self.grpc_status = Some(status);
    }

    /// Whether the response began and its gRPC status never came. Then it matters which side ended it.
    pub fn broke_off(&self) -> bool {
        self.grpc && self.answered.is_some() && self.grpc_status.is_none()
    }

    /// How an exchange that [broke off](Self::broke_off) ended, by Envoy's `response.flags`: a client
    /// that cancels a stream or hangs up is not a failure of the service.
    pub fn set_response_flags(&mut self, response_flags: u64) {
        self.client_left = response_flags & CLIENT_LEFT != 0;
    }

    /// Whether to read the response for signals, as far as its headers tell: the chosen version
    /// answered, and it isn't a failure.
    pub fn is_readable(&self, failure: &FailureRule) -> bool {
        let chosen = self.answered.is_some_and(|answered| answered.by == Responder::Chosen);
        chosen && !self.overridden && !self.has_failed(failure)
    }

    /// Whether the response is known to be a failure. The status of a gRPC response may still be to
    /// come, in its trailers.
    pub fn has_failed(&self, failure: &FailureRule) -> bool {
        (!self.grpc || self.grpc_status.is_some()) && self.result(failure) == RequestResult::Failure
    }

    /// The request is over: what it is to the statistics.
    pub fn finish(&self, failure: &FailureRule, now_ns: u64) -> Outcome {
        let by = self.answered.map_or(Responder::Chosen, |answered| answered.by);
        match (self.overridden, by) {
            (true, Responder::KillSwitch) => return Outcome::Overridden(Role::Stable),
            (true, _) => return Outcome::Overridden(self.chosen),
            (false, Responder::KillSwitch) => return Outcome::Diverted(self.unit),
            (false, _) => {}
        }
        let result = self.result(failure);
        let rescued = by == Responder::Rescue && result == RequestResult::Success;
        let http = self.answered.map_or(0, |answered| answered.http);
        let time_us = now_ns.saturating_sub(self.started_ns) / 1_000;
        Outcome::Compared(ComparedRequest {
            role: self.chosen,
            unit: self.unit,
            result: if by == Responder::Rescue { RequestResult::Failure } else { result },
            class: u8::try_from(http / 100).unwrap_or(0),
            rescued,
            time_us: (http / 100 != 1 && result != RequestResult::Abandoned).then_some(time_us),
        })
    }

    /// What the client got.
    fn result(&self, failure: &FailureRule) -> RequestResult {
        let Some(answered) = self.answered else {
            return RequestResult::Abandoned;
        };
        let failed = match (self.grpc, self.grpc_status) {
            (true, Some(status)) => failure.grpc(status),
            (true, None) if self.client_left => return RequestResult::Abandoned,
            (true, None) => failure.grpc(grpc_of_http(answered.http)),
            (false, _) => failure.http(answered.http),
        };
        if failed { RequestResult::Failure } else { RequestResult::Success }
    }
}

/// Asks which version answered, as far as it matters: only behind the aggregate of a rescue can it be
/// another endpoint than the route's cluster says.
pub fn upstream_info(rollout: &Rollout, response: &impl Response) -> UpstreamInfo {
    let cluster = response.attribute(&["xds", "cluster_name"]);
    if !cluster.as_deref().is_some_and(|cluster| is_rescue(rollout, cluster)) {
        return UpstreamInfo { cluster, ..UpstreamInfo::default() };
    }
    let metadata = ["xds", "upstream_host_metadata", "filter_metadata", "canary", "role"];
    let role = response.attribute(&metadata);
    // If the endpoint doesn't say which role it has, the number of attempts tells.
    let attempts = match role {
        Some(_) => None,
        None => response.attribute_u64(&["upstream", "request_attempt_count"]),
    };
    UpstreamInfo { cluster, attempts, role }
}

/// Which version answered a request that was chosen for the canary.
pub fn responder(rollout: &Rollout, upstream: &UpstreamInfo) -> Responder {
    let Some(cluster) = upstream.cluster.as_deref() else {
        return Responder::Chosen;
    };
    if cluster == rollout.stable.cluster.as_bytes() {
        return Responder::KillSwitch;
    }
    let retried = upstream.attempts.is_some_and(|attempts| attempts > 1);
    let by = |role: Role| upstream.role.as_deref() == Some(role.as_str().as_bytes());
    // If the canary has no healthy endpoint, stable answers the first attempt.
    let by_stable = by(Role::Stable) || (retried && !by(Role::Canary));
    if is_rescue(rollout, cluster) && by_stable {
        return Responder::Rescue;
    }
    Responder::Chosen
}

/// Whether a cluster is the canary's aggregate with stable behind it.
pub fn is_rescue(rollout: &Rollout, cluster: &[u8]) -> bool {
    cluster.strip_suffix(RESCUE_SUFFIX) == Some(rollout.canary.cluster.as_bytes())
}

/// Whether a content type is gRPC's: `application/grpc`, `application/grpc+proto` and so on. Not
/// gRPC-Web's: its status is in the body, which the filter doesn't read, so its HTTP status decides.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let begins = |prefix: &[u8]| {
        content_type.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    begins(b"application/grpc") && !begins(b"application/grpc-web")
}

/// Reads a `:status`; `None` if it isn't an HTTP status.
pub fn http_status(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|code| (100..=599).contains(code))
}

/// Reads a `grpc-status`. An unreadable one is UNKNOWN (2), as it is for gRPC's clients.
pub fn grpc_status(text: &[u8]) -> u32 {
    const UNKNOWN: u32 = 2;
    let text = std::str::from_utf8(text.trim_ascii());
    text.ok().and_then(|text| text.parse().ok()).unwrap_or(UNKNOWN)
}

/// The gRPC status that an HTTP status stands for if the response has none
/// (gRPC's `http-grpc-status-mapping.md`).
fn grpc_of_http(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests;
