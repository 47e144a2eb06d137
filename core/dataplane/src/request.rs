//! One request in a worker, once it is assigned: labeled at its response's headers, counted at its end.

use std::rc::Rc;

use canary_model::config::Rollout;
use canary_model::role::Role;

use crate::assign::{Assignment, NewCookie};
use crate::cookie;
use crate::effect::{Effect, ResponseChange};
use crate::host::{Headers, Host, Response};
use crate::judged::{JudgedRequest, JudgedRequests};
use crate::judged_counters::take_conversions;
use crate::outcome::{
    self, Exchange, Outcome, RequestResult, Responder, grpc_status, http_status, is_grpc,
    upstream_info,
};
use crate::response_body::{ResponseBody, ResponseStart};
use crate::rollout_state::{AssignedUnder, RolloutState};
use crate::signal::{self, SignalReading};
use crate::worker::FilterWorker;
use rand_core::Rng;

/// A request that a rollout matches, until it ends.
#[derive(Debug)]
pub struct MatchedRequest {
    /// The rollout's place in the worker.
    pub(crate) rollout: usize,
    /// What it was assigned under.
    under: AssignedUnder,
    /// Its place among the requests to be judged.
    judged: JudgedRequest,
    pub(crate) exchange: Exchange,
    /// A cohort cookie to set, and whether the request came over https.
    cookie: Option<(NewCookie, bool)>,
    /// What the response's headers say for the signals.
    readings: Vec<SignalReading>,
    /// The response's body, if anything that is configured depends on it.
    body: Option<ResponseBody>,
}

impl FilterWorker {
    /// The response's headers have come: notes which version answered, and returns the headers to set
    /// on the response. `ended` says whether the response ends with them.
    pub fn respond<'a>(
        &'a mut self,
        request: &'a mut MatchedRequest,
        response: &impl Response,
        ended: bool,
        host: &impl Host,
    ) -> Option<ResponseChange<'a>> {
        let draw = self.random.next_u64();
        let rollout = Rc::clone(&request.under.rollout);
        let rollout = &*rollout;
        let status = response.header(":status").as_deref().and_then(http_status);
        let by = match request.exchange.chosen() {
            Role::Stable => Responder::Chosen,
            Role::Canary => outcome::responder(rollout, &upstream_info(rollout, response)),
        };
        let answered = request.exchange.answered(status.unwrap_or(0), by);
        if request.exchange.is_grpc()
            && let Some(status) = response.header("grpc-status")
        {
            request.exchange.set_grpc_status(grpc_status(&status));
        }
        let signals = request.exchange.is_readable(&rollout.failure);
        if signals {
            let header = |name: &str| response.header(name);
            request.readings.extend(signal::header_readings(rollout, header));
        }
        if let Some(state) = self.rollouts.get_mut(request.rollout) {
            request.judge(&mut state.judged.requests, by);
        }
        if rollout.reads_response_bodies() {
            let (status, now_ns) = (status.unwrap_or(0), host.now_ns());
            let start = ResponseStart { status, ended, signals, now_ns, draw };
            request.body = ResponseBody::new(rollout, response, &start);
        }
        if ended {
            self.end_response(request);
        }
        let set_cookie =
            request.cookie.take().map(|(made, https)| cookie::set(&made.cookie, &made.id, https));
        let version = request.under.rollout.backend(answered).version.as_str();
        let version = (self.config.headers.version.as_str(), version);
        Some(ResponseChange { version, set_cookie })
    }

    /// A chunk of the response's body has come. `read` fetches its bytes, if they are needed.
    pub fn read_chunk(
        &self,
        request: &mut MatchedRequest,
        size: usize,
        read: impl FnOnce() -> Option<Vec<u8>>,
        host: &impl Host,
    ) {
        if let (Some(body), Some(state)) = (&mut request.body, self.rollouts.get(request.rollout)) {
            let bytes = if body.needs_bytes(&state.rollout) { read() } else { None };
            body.push(&state.rollout, size, bytes.as_deref(), host.now_ns());
        }
    }

    /// The response has ended, with its headers, its last chunk or its trailers: only now does its body
    /// count.
    pub fn end_response(&self, request: &mut MatchedRequest) {
        if let (Some(body), Some(state)) = (&mut request.body, self.rollouts.get(request.rollout)) {
            body.end(&state.rollout);
        }
    }

    /// The request is over: after the last byte, a reset or a disconnect. Counts it and shows it to the
    /// guard.
    pub fn finish(
        &mut self,
        mut request: MatchedRequest,
        response: &impl Response,
        host: &impl Host,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(state) = self.rollouts.get_mut(request.rollout) else {
            return effects;
        };
        let now_ns = host.now_ns();
        if request.exchange.broke_off() {
            let flags = response.attribute_u64(&["response", "flags"]);
            request.exchange.set_response_flags(flags.unwrap_or(0));
        }
        let rollout = Rc::clone(&request.under.rollout);
        let outcome = request.exchange.finish(&rollout.failure, now_ns);
        request.settle(&mut state.judged.requests, &outcome);
        let mut readings = request.readings(&rollout, &outcome);
        let conversions = take_conversions(&rollout, &mut readings);
        state.judged.requests.converted(&mut request.judged, conversions);
        state.count(&request.under, &outcome, &readings, now_ns, host, &mut effects);
        effects
    }
}

impl RolloutState {
    /// Follows a request that was just assigned. Its own times run from its headers, at `begun_ns`. The
    /// judge's age runs from its assignment, because requests that are assigned together are compared;
    /// for a request that was held, that is up to a second later.
    pub(crate) fn follow(
        &mut self,
        place: usize,
        assignment: &Assignment,
        request: &impl Headers,
        begun_ns: u64,
        now_ns: u64,
    ) -> MatchedRequest {
        let grpc = request.get("content-type").is_some_and(|content| is_grpc(&content));
        let cookie = assignment.cookie().map(|cookie| (cookie.clone(), is_https(request)));
        let unit = self.clients.unit(assignment, &self.cached);
        let exchange = Exchange::begin(assignment, unit, grpc, begun_ns);
        let get = |name| move || request.get(name);
        let mut readings = signal::request_readings(&self.rollout, get(":method"), get(":path"));
        let conversions = take_conversions(&self.rollout, &mut readings);
        let judged = self.judge(assignment, conversions, now_ns);
        MatchedRequest {
            rollout: place,
            under: self.assigned_under(now_ns),
            judged,
            exchange,
            cookie,
            readings: Vec::new(),
            body: None,
        }
    }
}

impl MatchedRequest {
    /// The response's headers have come from `by`.
    fn judge(&mut self, judged: &mut JudgedRequests, by: Responder) {
        match by {
            Responder::KillSwitch => judged.diverted(&mut self.judged),
            Responder::Rescue => judged.failed(&mut self.judged),
            Responder::Chosen if self.exchange.has_failed(&self.under.rollout.failure) => {
                judged.failed(&mut self.judged);
            }
            Responder::Chosen => judged.began(&mut self.judged),
        }
        let conversions = take_conversions(&self.under.rollout, &mut self.readings);
        judged.converted(&mut self.judged, conversions);
    }

    /// The request is over with this outcome.
    fn settle(&mut self, judged: &mut JudgedRequests, outcome: &Outcome) {
        let Outcome::Compared(request) = outcome else {
            return;
        };
        match request.result {
            RequestResult::Success => judged.began(&mut self.judged),
            RequestResult::Failure => judged.failed(&mut self.judged),
            RequestResult::Abandoned => judged.abandoned(&mut self.judged),
        }
    }

    /// The response's trailers have come.
    pub fn read_trailers(&mut self, trailer: impl FnOnce(&str) -> Option<Vec<u8>>) {
        if self.exchange.is_grpc()
            && let Some(status) = trailer("grpc-status")
        {
            self.exchange.set_grpc_status(grpc_status(&status));
        }
    }

    /// What the request says for the signals: nothing unless it went well.
    fn readings(&mut self, rollout: &Rollout, outcome: &Outcome) -> Vec<SignalReading> {
        if !outcome.is_success() {
            return Vec::new();
        }
        let mut readings = std::mem::take(&mut self.readings);
        if let Some(body) = self.body.take() {
            readings.extend(body.readings(rollout));
        }
        readings
    }
}

/// Whether the client sent the request over https, as `:scheme` or x-forwarded-proto says.
fn is_https(request: &impl Headers) -> bool {
    let https =
        |name| request.get(name).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"));
    https(":scheme") || https("x-forwarded-proto")
}
