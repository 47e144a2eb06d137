//! The second half of one request in a worker: labeled at its response's headers, followed while the
//! body passes, counted at its end.

use canary_model::config::Rollout;
use canary_model::role::Role;
use rand_core::Rng;

use crate::cookie;
use crate::effect::{Effect, ResponseChange};
use crate::ending::{ResponseEnd, is_local_reply, may_be_local, response_end};
use crate::host::{Host, Response};
use crate::outcome::{Outcome, grpc_status, http_status};
use crate::request::MatchedRequest;
use crate::responder::{Responder, responder, upstream_info};
use crate::rollout_state::RolloutState;
use crate::signal::{self, ResponseBody, SignalReading};
use crate::worker::FilterWorker;

/// What to do when a response's headers have come.
#[derive(Debug)]
pub struct Responded<'a> {
    /// The headers to set on the response.
    pub change: ResponseChange<'a>,
    /// What else is to be done.
    pub effects: Vec<Effect>,
}

/// A chunk of a response's body. Reading its bytes costs a call into the host, so they are read only if
/// something depends on them.
#[derive(Debug)]
pub struct BodyChunk<F> {
    /// Its length in bytes; the last one may be empty.
    pub size: usize,
    /// Whether the response ends with it.
    pub ended: bool,
    /// Reads its bytes.
    pub bytes: F,
}

impl FilterWorker {
    /// The response's headers have come: notes which version answered, and returns the headers to set
    /// on the response. `ended` says whether the response ends with them.
    pub fn respond(
        &mut self,
        request: &mut MatchedRequest,
        response: &impl Response,
        ended: bool,
        host: &impl Host,
    ) -> Option<Responded<'_>> {
        let body_hooks = self.body_hooks;
        let mut effects = Vec::new();
        let state = self.rollouts.get_mut(request.rollout)?;
        let status = response.header(":status").as_deref().and_then(http_status).unwrap_or(0);
        let by = match request.exchange.chosen() {
            Role::Stable => Responder::Chosen,
            Role::Canary => responder(&state.rollout, &upstream_info(&state.rollout, response)),
        };
        let answered = request.exchange.answered(status, by);
        if request.exchange.is_grpc()
            && let Some(status) = response.header("grpc-status")
        {
            request.exchange.set_grpc_status(grpc_status(&status));
        }
        if !body_hooks && !ended && may_be_local(status) {
            let details = response.attribute(&["response", "code_details"]);
            request.exchange.set_local_reply(is_local_reply(details.as_deref()));
        }
        request.exchange.set_begun();
        state.answer_came(request, response, host, &mut effects);
        request.read_headers(&state.rollout, response);
        if ended {
            state.end_response(request, host);
        }
        if request.exchange.is_upgraded() {
            state.conclude(request, ResponseEnd::Complete, 0, host, &mut effects);
        }
        let set_cookie = request
            .cookie
            .take()
            .map(|(made, secure)| cookie::set(&made.name, &made.id, made.max_age, secure));
        let version = state.rollout.backend(answered).version.as_str();
        let version = (self.config.headers.version.as_str(), version);
        Some(Responded { change: ResponseChange { version, set_cookie }, effects })
    }

    /// A chunk of the response's body passes.
    pub fn body<F: FnOnce() -> Option<Vec<u8>>>(
        &mut self,
        request: &mut MatchedRequest,
        chunk: BodyChunk<F>,
        host: &impl Host,
    ) {
        let Some(state) = self.rollouts.get_mut(request.rollout) else {
            return;
        };
        if let Some(body) = &mut request.body
            && body.wants_more()
            && let Some(bytes) = (chunk.bytes)()
        {
            body.push(&bytes);
        }
        if chunk.size > 0 {
            state.chunk_came(request, host);
        }
        if chunk.ended {
            state.end_response(request, host);
        }
    }

    /// The response has ended with trailers.
    pub fn trailers(
        &mut self,
        request: &mut MatchedRequest,
        trailer: impl FnOnce(&str) -> Option<Vec<u8>>,
        host: &impl Host,
    ) {
        if request.exchange.is_grpc()
            && let Some(status) = trailer("grpc-status")
        {
            request.exchange.set_grpc_status(grpc_status(&status));
        }
        if let Some(state) = self.rollouts.get_mut(request.rollout) {
            state.end_response(request, host);
        }
    }

    /// The request is over: after the last byte, a reset or a disconnect. Counts it, unless it was
    /// counted before, and shows it to the guard.
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
        state.take_overdue(&mut request, response, host, &mut effects);
        if request.is_counted() {
            return effects;
        }
        let details = || response.attribute(&["response", "code_details"]);
        let end = match request.exchange.needs_end() {
            true => response_end(details().as_deref()),
            false => ResponseEnd::Complete,
        };
        state.conclude(&mut request, end, self.random.next_u64(), host, &mut effects);
        effects
    }
}

impl RolloutState {
    /// The response has ended as its protocol requires: with its headers, its last chunk or its
    /// trailers.
    fn end_response(&mut self, request: &mut MatchedRequest, host: &impl Host) {
        request.exchange.set_ended();
        self.stop_deadlines(request, host);
        if let Some(body) = &mut request.body {
            body.end();
        }
    }

    /// Decides a request's outcome and counts it, unless it was counted before.
    fn conclude(
        &mut self,
        request: &mut MatchedRequest,
        end: ResponseEnd,
        draw: u64,
        host: &impl Host,
        effects: &mut Vec<Effect>,
    ) {
        if request.is_counted() {
            return;
        }
        self.stop_deadlines(request, host);
        let now_ns = host.now_ns();
        let outcome = request.exchange.finish(&self.rollout.failure, end, now_ns);
        let readings = request.readings(&self.rollout, &outcome, draw);
        request.counted = true;
        self.count(&outcome, &readings, now_ns, host, effects);
    }
}

impl MatchedRequest {
    /// Reads the signals in the response's headers, and starts to keep its body if a signal is in it.
    fn read_headers(&mut self, rollout: &Rollout, response: &impl Response) {
        if rollout.signals.is_empty() || !self.exchange.is_readable(&rollout.failure) {
            return;
        }
        self.readings.extend(signal::header_readings(rollout, |name| response.header(name)));
        if rollout.reads_bodies() {
            let encoding = response.header("content-encoding");
            self.body = ResponseBody::wanted(rollout, encoding.as_deref());
        }
    }

    /// What the request says for the signals: nothing unless it went well. `draw` is a uniformly random
    /// number.
    fn readings(&mut self, rollout: &Rollout, outcome: &Outcome, draw: u64) -> Vec<SignalReading> {
        if !outcome.is_success() {
            return Vec::new();
        }
        let mut readings = std::mem::take(&mut self.readings);
        if let Some(body) = self.body.take() {
            readings.extend(signal::body_readings(rollout, &body, draw));
        }
        readings
    }
}

#[cfg(test)]
mod tests;
