//! How a request went: which version was chosen, which one answered, and what is counted.
//!
//! The chosen version isn't always the one that answers: the kill switch diverts a canary request to
//! stable, and a rescue lets stable answer a request that failed on the canary. The version header
//! names the version that answered; the counters blame the one that failed. Counters, units of
//! counting and guard events all follow from one [`Outcome`], which is decided once per request: by
//! the first deadline that passes ([`Outcome::overdue`]), or when the exchange is over
//! ([`Exchange::finish`]).

use crate::assign::Assignment;
use crate::cohort::KeyHash;
use crate::deadlines::Deadline;
use crate::ending::ResponseEnd;
use crate::protocol::grpc_of_http;
use crate::responder::Responder;
use crate::response_body::ResponseBody;
use crate::sse::StreamFault;
use canary_model::config::{FailureRule, Timings};
use canary_model::role::Role;

/// A request whose response is still to come or to end: assigned, then answered, begun, ended.
#[derive(Clone, Debug)]
pub struct Exchange {
    trial: Trial,
    overridden: bool,
    grpc: bool,
    answered: Option<Answered>,
    grpc_status: Option<u32>,
    /// A response begins with its headers, an event stream with the first byte of its body.
    begun: bool,
    /// The response ended as its protocol requires.
    ended: bool,
}

/// What a request is in the comparison, from its assignment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The role that was chosen, which it counts for.
    pub role: Role,
    /// What it counts as for the judge.
    pub unit: CountingUnit,
    /// When its headers came, by the host's monotonic clock.
    pub started_ns: u64,
}

/// The response's headers: HTTP status and origin.
#[derive(Clone, Copy, Debug)]
struct Answered {
    http: u16,
    by: Responder,
    /// Envoy made the response itself.
    local: bool,
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
    /// What else than its status made it a failure.
    pub fault: Option<ResponseFault>,
    /// Failed on the canary, answered well by stable.
    pub rescued: bool,
    /// Request headers to end of response in microseconds. `None` if the client left, and for an
    /// upgraded connection, whose length says nothing about the service.
    pub time_us: Option<u64>,
    /// Request headers to the first byte of the body, if `timings` asks for it and one came.
    pub ttfb_us: Option<u64>,
    /// The mean time between the chunks of the body, if `timings` asks for it and the body ended.
    pub gap_us: Option<u64>,
}

/// What makes a response a failure, whatever its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFault {
    /// It broke off after its headers.
    Broken,
    /// A deadline passed before it came, or before it went on.
    Overdue(Deadline),
}

impl ComparedRequest {
    /// Adds how its body progressed, as far as `timings` asks for it. How far its chunks lie apart
    /// doesn't count if its client left.
    pub fn add_timings(
        &mut self,
        timings: Timings,
        body: &ResponseBody,
        started_ns: u64,
        end: ResponseEnd,
    ) {
        if self.result == RequestResult::Abandoned {
            return;
        }
        if timings.ttfb {
            self.ttfb_us = body.ttfb_us(started_ns);
        }
        if timings.gap && end != ResponseEnd::ClientLeft {
            self.gap_us = body.gap_us();
        }
    }
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
    /// A request whose deadline passed at `due_ns`, before its response was over. The time until then
    /// counts as its time; otherwise, the version that hangs more would look faster.
    /// `ttfb_us` is its time to the first byte, if one came; `None` counts as the time until then.
    pub fn overdue(
        trial: &Trial,
        timings: Timings,
        passed: (Deadline, u64),
        ttfb_us: Option<u64>,
    ) -> Self {
        let (deadline, due_ns) = passed;
        let time_us = due_ns.saturating_sub(trial.started_ns) / 1_000;
        Self::Compared(ComparedRequest {
            role: trial.role,
            unit: trial.unit,
            result: RequestResult::Failure,
            class: 0,
            fault: Some(ResponseFault::Overdue(deadline)),
            rescued: false,
            time_us: Some(time_us),
            ttfb_us: timings.ttfb.then_some(ttfb_us.unwrap_or(time_us)),
            gap_us: None,
        })
    }

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

impl Exchange {
    /// A request that was just assigned.
    pub fn begin(assignment: &Assignment, unit: CountingUnit, grpc: bool, now_ns: u64) -> Self {
        Self {
            trial: Trial { role: assignment.role(), unit, started_ns: now_ns },
            overridden: assignment.is_override(),
            grpc,
            answered: None,
            grpc_status: None,
            begun: false,
            ended: false,
        }
    }

    /// What the request is in the comparison; `None` if it is overridden and not compared.
    pub fn trial(&self) -> Option<Trial> {
        (!self.overridden).then_some(self.trial)
    }

    /// When the request's headers came, by the host's monotonic clock.
    pub fn started_ns(&self) -> u64 {
        self.trial.started_ns
    }

    /// The role that was chosen for the request.
    pub fn chosen(&self) -> Role {
        self.trial.role
    }

    /// Whether the request is gRPC, so that its gRPC status decides.
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// The response's headers have come. Returns the role that answered.
    pub fn answered(&mut self, http: u16, by: Responder) -> Role {
        self.answered = Some(Answered { http, by, local: false });
        match by {
            Responder::Chosen => self.chosen(),
            Responder::KillSwitch | Responder::Rescue => Role::Stable,
        }
    }

    /// Whether Envoy made the response itself, so that it is complete.
    pub fn set_local_reply(&mut self, local: bool) {
        if let Some(answered) = &mut self.answered {
            answered.local = local;
        }
    }

    /// The response has begun: with its headers, or an event stream with its first byte.
    pub fn set_begun(&mut self) {
        self.begun = true;
    }

    /// The response has ended as its protocol requires: with headers, its last chunk or trailers.
    pub fn set_ended(&mut self) {
        (self.begun, self.ended) = (true, true);
    }

    /// Whether the response has begun.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether the response's headers have come, and it counts as the chosen version's.
    pub fn is_compared(&self) -> bool {
        let diverted = |answered: Answered| answered.by == Responder::KillSwitch;
        !self.overridden && !self.answered.is_some_and(diverted)
    }

    /// Whether the connection was upgraded: that succeeds with its headers.
    pub fn is_upgraded(&self) -> bool {
        self.answered.is_some_and(|answered| answered.http == 101)
    }

    /// The gRPC status, from the response's headers or trailers. The trailers come last and decide.
    pub fn set_grpc_status(&mut self, status: u32) {
        self.grpc_status = Some(status);
    }

    /// Whether it matters how the response ended, and no hook has seen it.
    pub fn needs_end(&self) -> bool {
        let local = |answered: Answered| answered.local;
        let open = self.answered.is_some_and(|answered| !local(answered));
        open && !self.ended && !self.is_upgraded() && self.is_compared()
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
        (!self.grpc || self.grpc_status.is_some()) && self.fails_by_status(failure)
    }

    /// The request is over: what it is to the statistics. `end` says how its response ended, and
    /// `stream` what the events of its body say against it.
    pub fn finish(
        &self,
        failure: &FailureRule,
        end: ResponseEnd,
        stream: Option<StreamFault>,
        now_ns: u64,
    ) -> Outcome {
        let by = self.answered.map_or(Responder::Chosen, |answered| answered.by);
        match (self.overridden, by) {
            (true, Responder::KillSwitch) => return Outcome::Overridden(Role::Stable),
            (true, _) => return Outcome::Overridden(self.trial.role),
            (false, Responder::KillSwitch) => return Outcome::Diverted(self.trial.unit),
            (false, _) => {}
        }
        let (result, fault) = self.result(failure, end, stream);
        let rescued = by == Responder::Rescue && result == RequestResult::Success;
        let http = self.answered.map_or(0, |answered| answered.http);
        let time_us = now_ns.saturating_sub(self.trial.started_ns) / 1_000;
        let timed = result != RequestResult::Abandoned
            && end != ResponseEnd::ClientLeft
            && !self.is_upgraded();
        Outcome::Compared(ComparedRequest {
            role: self.trial.role,
            unit: self.trial.unit,
            result: if by == Responder::Rescue { RequestResult::Failure } else { result },
            class: u8::try_from(http / 100).unwrap_or(0),
            fault,
            rescued,
            time_us: timed.then_some(time_us),
            ttfb_us: None,
            gap_us: None,
        })
    }

    /// What the client got.
    fn result(
        &self,
        failure: &FailureRule,
        end: ResponseEnd,
        stream: Option<StreamFault>,
    ) -> (RequestResult, Option<ResponseFault>) {
        let Some(answered) = self.answered else {
            return (RequestResult::Abandoned, None);
        };
        let left = end == ResponseEnd::ClientLeft;
        let no_status = self.grpc && self.grpc_status.is_none();
        if left && (no_status || !self.begun) {
            return (RequestResult::Abandoned, None);
        }
        let broken = end == ResponseEnd::Broken || (no_status && answered.http == 200);
        let stream = stream.filter(|_| !left);
        if (broken && failure.broken) || stream == Some(StreamFault::Incomplete) {
            return (RequestResult::Failure, Some(ResponseFault::Broken));
        }
        let failed = stream.is_some() || self.fails_by_status(failure);
        (if failed { RequestResult::Failure } else { RequestResult::Success }, None)
    }

    /// Whether the status that the client got is a failure.
    fn fails_by_status(&self, failure: &FailureRule) -> bool {
        let Some(answered) = self.answered else {
            return false;
        };
        match (self.grpc, self.grpc_status) {
            (true, Some(status)) => failure.grpc(status),
            // Only with `broken: false`: otherwise it is broken.
            (true, None) if answered.http == 200 => false,
            (true, None) => failure.grpc(grpc_of_http(answered.http)),
            (false, _) => failure.http(answered.http),
        }
    }
}

#[cfg(test)]
mod tests;
