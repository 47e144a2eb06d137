//! One request and its response: what was decided, who answered, and what of it is counted.
//!
//! Who was chosen isn't always who answered: the kill switch sends a chosen canary request to
//! stable, and a rescue answers a failed one from there. The stamp names who really answered; the
//! counters blame who failed.

use crate::assign::Assignment;
use crate::cohort::KeyHash;
use canary_model::config::{FailureRule, Rollout};
use canary_model::role::Role;

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Exchange {
    chosen: Role,
    forced: bool,
    unit: Unit,
    started_ns: u64,
    grpc: bool,
    answered: Option<Answered>,
    grpc_status: Option<u32>,
    left: bool,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    http: u16,
    by: Responder,
}

/// What a request counts as for the judge, whose unit is the unit of randomisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The rollout has no affinity: each request counts for itself.
    Request,
    /// The rollout has affinity: clients count.
    Client {
        /// The client; without a key each request is a client of its own.
        key: Option<KeyHash>,
        /// Whether the client was new in the window when it sent this.
        first: bool,
        /// The window in which it was sent.
        window_turn: u32,
    },
}

/// Who answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Responder {
    /// The role that was chosen.
    Chosen,
    /// Stable, because the kill switch closed the canary's route.
    KillSwitch,
    /// Stable, after the canary had failed.
    Rescue,
}

/// What Envoy knows of the upstream that answered a canary request.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// The cluster of the route (`xds.cluster_name`).
    pub cluster: Option<Vec<u8>>,
    /// How often the request was sent (`upstream.request_attempt_count`).
    pub attempts: Option<u64>,
    /// The role in the metadata of the endpoint that answered.
    pub role: Option<Vec<u8>>,
}

/// What a finished request adds to the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Nothing: the kill switch answered a request that was chosen for the canary.
    Nothing,
    /// One overridden request of a role.
    Forced(Role),
    /// One compared request.
    Compared(Compared),
}

/// A request that enters the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Whose it is.
    pub role: Role,
    /// What it counts as.
    pub unit: Unit,
    /// How it went.
    pub outcome: Outcome,
    /// The response's status class, 1 to 5; 0 if there was no response.
    pub class: u8,
    /// Failed on the canary, answered well by stable.
    pub rescued: bool,
    /// Request headers to end of response in microseconds; none for an upgraded connection, whose
    /// length says nothing about the service.
    pub time_us: Option<u64>,
}

impl Tally {
    /// Whether it is a compared request that went well: one whose signals count.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Compared(compared) if compared.outcome == Outcome::Success)
    }
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered, and no failure as configured.
    Success,
    /// A failure as configured, or rescued from one.
    Failure,
    /// The client left before there was an answer, or before a gRPC stream came to its status:
    /// neither.
    Unanswered,
}

/// Of Envoy's response flags those that say that the client left: `DownstreamConnectionTermination`
/// (DC) and `DownstreamRemoteReset` (DR), by their places in `CoreResponseFlag`.
const CLIENT_LEFT: u64 = 1 << 14 | 1 << 28;

/// What the aggregate cluster of a rescue is called beside its canary.
const RESCUE_SUFFIX: &[u8] = b"-rescued";

impl Exchange {
    /// A request that was just assigned, at a time of the monotonic clock.
    pub fn begin(assignment: &Assignment, unit: Unit, grpc: bool, now_ns: u64) -> Self {
        Self {
            chosen: assignment.role,
            forced: assignment.forced(),
            unit,
            started_ns: now_ns,
            grpc,
            answered: None,
            grpc_status: None,
            left: false,
        }
    }

    /// The role that was chosen.
    pub fn chosen(&self) -> Role {
        self.chosen
    }

    /// Whether the request is gRPC, so that its outcome is its gRPC status.
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// The response's headers are here. Answers with the role to stamp.
    pub fn answered(&mut self, http: u16, by: Responder) -> Role {
        self.answered = Some(Answered { http, by });
        match by {
            Responder::Chosen => self.chosen,
            Responder::KillSwitch | Responder::Rescue => Role::Stable,
        }
    }

    /// The gRPC status, from the response's headers or trailers; the trailers come last and hold.
    pub fn grpc_status(&mut self, status: u32) {
        self.grpc_status = Some(status);
    }

    /// Whether the answer began and its gRPC status never came: then it matters who broke it off.
    pub fn broken_off(&self) -> bool {
        self.grpc && self.answered.is_some() && self.grpc_status.is_none()
    }

    /// How an exchange that [broke off](Self::broken_off) ended, by Envoy's `response.flags`: a
    /// client that cancels a stream or hangs up is nobody's failure.
    pub fn ended(&mut self, response_flags: u64) {
        self.left = response_flags & CLIENT_LEFT != 0;
    }

    /// Whether the answer is worth reading for signals, as far as its headers tell: it comes from who
    /// was chosen and is no failure.
    pub fn readable(&self, failure: &FailureRule) -> bool {
        let chosen = self.answered.is_some_and(|answered| answered.by == Responder::Chosen);
        // A gRPC answer's status may still be to come, in its trailers.
        let failed =
            (!self.grpc || self.grpc_status.is_some()) && self.outcome(failure) == Outcome::Failure;
        chosen && !self.forced && !failed
    }

    /// The request is over: what it adds to the statistics.
    pub fn finish(&self, failure: &FailureRule, now_ns: u64) -> Tally {
        let by = self.answered.map_or(Responder::Chosen, |answered| answered.by);
        match (self.forced, by) {
            (true, Responder::KillSwitch) => return Tally::Forced(Role::Stable),
            (true, _) => return Tally::Forced(self.chosen),
            (false, Responder::KillSwitch) => return Tally::Nothing,
            (false, _) => {}
        }
        let answer = self.outcome(failure);
        let rescued = by == Responder::Rescue && answer == Outcome::Success;
        let http = self.answered.map_or(0, |answered| answered.http);
        let time_us = now_ns.saturating_sub(self.started_ns) / 1_000;
        Tally::Compared(Compared {
            role: self.chosen,
            unit: self.unit,
            outcome: if by == Responder::Rescue { Outcome::Failure } else { answer },
            class: u8::try_from(http / 100).unwrap_or(0),
            rescued,
            time_us: (http / 100 != 1).then_some(time_us),
        })
    }

    /// What the client got.
    fn outcome(&self, failure: &FailureRule) -> Outcome {
        let Some(answered) = self.answered else {
            return Outcome::Unanswered;
        };
        let failed = match (self.grpc, self.grpc_status) {
            (true, Some(status)) => failure.grpc(status),
            (true, None) if self.left => return Outcome::Unanswered,
            (true, None) => failure.grpc(grpc_of_http(answered.http)),
            (false, _) => failure.http(answered.http),
        };
        if failed { Outcome::Failure } else { Outcome::Success }
    }
}

/// Who answered a request that was chosen for the canary.
pub fn responder(rollout: &Rollout, upstream: &Upstream) -> Responder {
    let Some(cluster) = upstream.cluster.as_deref() else {
        return Responder::Chosen;
    };
    if cluster == rollout.stable.cluster.as_bytes() {
        return Responder::KillSwitch;
    }
    let retried = upstream.attempts.is_some_and(|attempts| attempts > 1);
    let by = |role: Role| upstream.role.as_deref() == Some(role.as_str().as_bytes());
    // Where the canary has no healthy endpoint, stable answers the first attempt.
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
/// gRPC-Web's, whose status stands in the body, where nobody looks: it goes by its HTTP status.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let begins = |prefix: &[u8]| {
        content_type.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    begins(b"application/grpc") && !begins(b"application/grpc-web")
}

/// Reads a `:status`; `None` for what is no HTTP status.
pub fn http_status(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|code| (100..=599).contains(code))
}

/// Reads a `grpc-status`. What can't be read is UNKNOWN (2), as gRPC's clients take it.
pub fn grpc_status(text: &[u8]) -> u32 {
    const UNKNOWN: u32 = 2;
    let text = std::str::from_utf8(text.trim_ascii());
    text.ok().and_then(|text| text.parse().ok()).unwrap_or(UNKNOWN)
}

/// The gRPC status that an HTTP status stands for where the response has none
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
