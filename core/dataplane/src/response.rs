//! The second half of one request in a worker: labeled at its response's headers, followed while the
//! body passes, counted at its end.

use std::rc::Rc;

use canary_model::role::Role;
use rand_core::Rng;

use crate::READS_BODIES;
use crate::cookie;
use crate::effect::{Effect, ResponseChange};
use crate::ending::{ResponseEnd, is_local_reply, may_be_local, response_end};
use crate::host::{Host, Response};
use crate::judged_counters::take_conversions;
use crate::outcome::{Outcome, RequestResult};
use crate::protocol::{grpc_status, http_status};
use crate::request::MatchedRequest;
use crate::responder::{Responder, responder, upstream_info};
use crate::response_body::{ResponseBody, ResponseStart};
use crate::rollout_state::RolloutState;
use crate::signal;
use crate::sse::is_event_stream;
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
    /// Reads its bytes from the host, which costs a call.
    pub bytes: F,
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
    ) -> Option<Responded<'a>> {
        let body_hooks = READS_BODIES && self.body_hooks;
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
        let content_type =
            if body_hooks && !ended { response.header("content-type") } else { None };
        let event_stream = content_type.is_some_and(|content| is_event_stream(&content));
        if !state.answer_came(request, response, host, &mut effects) {
            let judged = &mut state.judged.requests;
            match by {
                Responder::KillSwitch => request.with_judged(|request| judged.diverted(request)),
                Responder::Rescue => request.with_judged(|request| judged.failed(request)),
                Responder::Chosen => {}
            }
            if !event_stream {
                state.response_began(request);
            }
            let draw = self.random.next_u64();
            let start =
                ResponseStart { status, ended, event_stream, signals: false, now_ns: 0, draw };
            state.read_headers(request, start, response, host);
            if ended {
                state.end_response(request, host, &mut effects);
            }
            if request.exchange.is_upgraded() {
                state.conclude(request, ResponseEnd::Complete, host, &mut effects);
            }
        }
        let set_cookie =
            request.cookie.take().map(|(made, https)| cookie::set(&made.cookie, &made.id, https));
        let version = request.under.rollout.backend(answered).version.as_str();
        let version = (self.config.headers.version.as_str(), version);
        Some(Responded { change: ResponseChange { version, set_cookie }, effects })
    }

    /// A chunk of the response's body passes.
    pub fn body<F: FnOnce() -> Option<Vec<u8>>>(
        &mut self,
        request: &mut MatchedRequest,
        chunk: BodyChunk<F>,
        host: &impl Host,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(state) = self.rollouts.get_mut(request.rollout) else {
            return effects;
        };
        if state.is_overdue(request, |_| None, host, &mut effects) {
            return effects;
        }
        if chunk.size > 0 {
            if !request.exchange.has_begun() {
                state.response_began(request);
            }
            if let Some(body) = &mut request.body {
                let needed = body.needs_bytes(&state.rollout);
                let bytes = if needed { (chunk.bytes)() } else { None };
                let now_ns = host.now_ns();
                let progress = body.push(&state.rollout, chunk.size, bytes.as_deref(), now_ns);
                state.chunk_came(request, progress, now_ns);
                if progress.error {
                    state.conclude(request, ResponseEnd::Complete, host, &mut effects);
                }
            }
        }
        if chunk.ended {
            state.end_response(request, host, &mut effects);
        }
        effects
    }

    /// The response has ended with trailers.
    pub fn trailers(
        &mut self,
        request: &mut MatchedRequest,
        trailer: impl FnOnce(&str) -> Option<Vec<u8>>,
        host: &impl Host,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if request.exchange.is_grpc()
            && let Some(status) = trailer("grpc-status")
        {
            request.exchange.set_grpc_status(grpc_status(&status));
        }
        if let Some(state) = self.rollouts.get_mut(request.rollout)
            && !state.is_overdue(request, |_| None, host, &mut effects)
        {
            state.end_response(request, host, &mut effects);
        }
        effects
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
        let attribute = |path: &[&str]| response.attribute(path);
        if !state.is_overdue(&request, attribute, host, &mut effects) {
            let end = if request.exchange.needs_end() {
                response_end(attribute(&["response", "code_details"]).as_deref())
            } else {
                ResponseEnd::Complete
            };
            state.conclude(&mut request, end, host, &mut effects);
        }
        effects
    }
}

impl RolloutState {
    /// Reads the signals in the response's headers, and follows its body if anything that is configured
    /// depends on it.
    fn read_headers(
        &mut self,
        request: &mut MatchedRequest,
        mut start: ResponseStart,
        response: &impl Response,
        host: &impl Host,
    ) {
        let rollout = Rc::clone(&request.under.rollout);
        let rollout = &*rollout;
        start.signals = request.exchange.is_readable(&rollout.failure);
        if start.signals {
            let readings = signal::header_readings(rollout, |name| response.header(name));
            request.readings.extend(readings);
            let conversions = take_conversions(rollout, &mut request.readings);
            let judged = &mut self.judged.requests;
            request.with_judged(|request| judged.converted(request, conversions));
        }
        if READS_BODIES && rollout.reads_response_bodies() && request.exchange.is_compared() {
            start.now_ns = host.now_ns();
            request.body = ResponseBody::new(rollout, response, &start);
        }
    }

    /// The response has begun: with its headers, or an event stream with its first byte.
    fn response_began(&mut self, request: &mut MatchedRequest) {
        request.exchange.set_begun();
        let failed = request.exchange.has_failed(&self.rollout.failure);
        let judged = &mut self.judged.requests;
        request.with_judged(|request| match failed {
            true => judged.failed(request),
            false => judged.began(request),
        });
    }

    /// The response has ended as its protocol requires: with its headers, its last chunk or its
    /// trailers.
    fn end_response(
        &mut self,
        request: &mut MatchedRequest,
        host: &impl Host,
        effects: &mut Vec<Effect>,
    ) {
        request.exchange.set_ended();
        self.stop_deadlines(request);
        if READS_BODIES
            && let Some(body) = &mut request.body
            && body.end(&self.rollout).error
        {
            self.conclude(request, ResponseEnd::Complete, host, effects);
        }
    }

    /// Decides a request's outcome and counts it, unless it was counted before.
    fn conclude(
        &mut self,
        request: &mut MatchedRequest,
        end: ResponseEnd,
        host: &impl Host,
        effects: &mut Vec<Effect>,
    ) {
        if request.is_counted() {
            return;
        }
        request.counted = true;
        self.stop_deadlines(request);
        let now_ns = host.now_ns();
        let rollout = Rc::clone(&request.under.rollout);
        let rollout = &*rollout;
        let body = request.body.take().filter(|_| READS_BODIES);
        let fault = body.as_ref().and_then(|body| body.fault(rollout));
        let mut outcome = request.exchange.finish(&rollout.failure, end, fault, now_ns);
        if let (Outcome::Compared(compared), Some(body)) = (&mut outcome, &body) {
            compared.add_timings(rollout.timings, body, request.exchange.started_ns(), end);
        }
        if let Outcome::Compared(compared) = &outcome {
            let judged = &mut self.judged.requests;
            request.with_judged(|request| match compared.result {
                RequestResult::Success => judged.began(request),
                RequestResult::Failure => judged.failed(request),
                RequestResult::Abandoned => judged.abandoned(request),
            });
        }
        let mut readings = Vec::new();
        if outcome.is_success() {
            readings = std::mem::take(&mut request.readings);
            readings.extend(body.iter().flat_map(|body| body.readings(rollout)));
            let conversions = take_conversions(rollout, &mut readings);
            let judged = &mut self.judged.requests;
            request.with_judged(|request| judged.converted(request, conversions));
        }
        self.count(&request.under, &outcome, &readings, now_ns, host, effects);
    }
}

#[cfg(test)]
mod tests;
