//! One request in a worker: assigned at its headers, labeled at its response's, counted at its end.

use canary_model::config::Rollout;
use canary_model::role::Role;

use crate::assign::{Assignment, Decision, NewCookie, decide};
use crate::cookie;
use crate::effect::{Effect, RequestChange, ResponseChange};
use crate::held::{HeldRequest, StreamId};
use crate::host::{Headers, Host, Response};
use crate::matching::{self, RequestTarget};
use crate::outcome::{
    self, Exchange, Outcome, Responder, grpc_status, http_status, is_grpc, upstream_info,
};
use crate::request_body::{RequestBody, is_json};
use crate::rollout_state::RolloutState;
use crate::signal::{self, ResponseBody, SignalReading};
use crate::worker::FilterWorker;
use rand_core::Rng;

/// A request that a rollout matches, until it ends.
#[derive(Debug)]
pub struct MatchedRequest {
    /// The rollout's place in the worker.
    rollout: usize,
    exchange: Exchange,
    /// A cohort cookie to set, and whether the request came over https.
    cookie: Option<(NewCookie, bool)>,
    /// What the request and the response's headers say for the signals.
    readings: Vec<SignalReading>,
    /// The response's body, if a signal reads it.
    body: Option<ResponseBody>,
}

/// What to do with a request that has just come.
#[derive(Debug)]
pub enum Begun<'a> {
    /// It goes on.
    Decided(Decided<'a>),
    /// It waits for its body: stop it, and hand over each part of the body to
    /// [`FilterWorker::read_body`].
    Held,
}

/// A request that is decided.
#[derive(Debug)]
pub struct Decided<'a> {
    /// The changes to its headers, in order. Usually none on a stable request, because Envoy routes a
    /// changed request twice.
    pub changes: Vec<RequestChange<'a>>,
    /// The request to follow; `None` if no rollout matches it.
    pub request: Option<MatchedRequest>,
}

/// A rollout that matches a request, and the decision about it.
struct Matched {
    /// The rollout's place in the worker.
    place: usize,
    assignment: Assignment,
    /// When the request's headers came.
    begun_ns: u64,
}

/// The decision depends on bytes of the body that haven't come.
struct Undecided;

impl FilterWorker {
    /// A request's headers have come: matches it to a rollout, assigns it to a version and says how to
    /// tell the router and the upstream. A client's copies of the filter's headers are removed, and so
    /// are all testers' tokens, whichever rollout they belong to.
    ///
    /// If that depends on its body, the request is held, but only if it has one that can be read.
    pub fn begin(
        &mut self,
        stream: StreamId,
        request: &impl Headers,
        host: &impl Host,
    ) -> Begun<'_> {
        let mut matched = self.match_and_assign(request, &RequestBody::unread(), None, host);
        if matched.is_err() {
            let reads = || request.get("content-type").is_some_and(|content| is_json(&content));
            if request.has_body() && reads() {
                let rollouts = self.rollouts.iter().map(|state| &state.rollout);
                self.held.insert(stream, HeldRequest::new(host.now_ns(), rollouts));
                return Begun::Held;
            }
            matched = self.match_and_assign(request, &RequestBody::none(), None, host);
        }
        Begun::Decided(self.decided(matched.unwrap_or_default(), request))
    }

    /// More of a request's body has come: decides the request like [`begin`](Self::begin) if it is held
    /// and what is known of its body suffices, on what is in force now. `None` if it isn't held.
    /// `bytes` returns the body from an offset on, as far as it has come.
    pub fn read_body(
        &mut self,
        stream: StreamId,
        bytes: impl FnOnce(usize) -> Vec<u8>,
        ended: bool,
        request: &impl Headers,
        host: &impl Host,
    ) -> Option<Begun<'_>> {
        let mut held = self.held.take(stream)?;
        let chunk = bytes(held.read);
        held.read += chunk.len();
        let mut clear = held.body.push(&chunk);
        if ended {
            held.body.end();
            clear = true;
        }
        let matched = match clear {
            true => self.match_and_assign(request, &held.body, Some(held.begun_ns), host),
            false => Err(Undecided),
        };
        let Ok(matched) = matched else {
            self.held.insert(stream, held);
            return Some(Begun::Held);
        };
        Some(Begun::Decided(self.decided(matched, request)))
    }

    /// The stream of a request that has been held for too long. Let it go with
    /// [`release`](Self::release).
    pub fn overlong(&self, now_ns: u64) -> Option<StreamId> {
        self.held.overlong(now_ns)
    }

    /// Decides a held request without the rest of its body. As no stream is there to take the request,
    /// hand it to [`keep`](Self::keep).
    pub fn release(
        &mut self,
        stream: StreamId,
        request: &impl Headers,
        host: &impl Host,
    ) -> Option<Decided<'_>> {
        let mut held = self.held.take(stream)?;
        held.body.give_up();
        let matched = self.match_and_assign(request, &held.body, Some(held.begun_ns), host);
        Some(self.decided(matched.unwrap_or_default(), request))
    }

    /// Keeps a released request for its stream.
    pub fn keep(&mut self, stream: StreamId, released: Option<MatchedRequest>) {
        self.held.keep(stream, released);
    }

    /// A stream's response begins, or the stream is over: it isn't held any more. Returns the request
    /// to follow if [`keep`](Self::keep) has it.
    pub fn end_hold(&mut self, stream: StreamId) -> Option<MatchedRequest> {
        self.held.forget(stream)
    }

    /// The first rollout that matches the request, with the decision about it. `begun_ns` is when the
    /// request's headers came; `None` for now.
    fn match_and_assign(
        &mut self,
        request: &impl Headers,
        body: &RequestBody,
        begun_ns: Option<u64>,
        host: &impl Host,
    ) -> Result<Option<Matched>, Undecided> {
        let target = RequestTarget::new(request);
        for place in 0..self.rollouts.len() {
            let Some(state) = self.rollouts.get(place) else { continue };
            if matching::matches(&state.rollout.matches, &target, body).ok_or(Undecided)? {
                let now_ns = host.now_ns();
                let assignment = self.assign(place, request, body, now_ns, host)?;
                let begun_ns = begun_ns.unwrap_or(now_ns);
                return Ok(Some(Matched { place, assignment, begun_ns }));
            }
        }
        Ok(None)
    }

    /// What a decision changes, and the request to follow.
    fn decided(&self, matched: Option<Matched>, request: &impl Headers) -> Decided<'_> {
        let mut changes = Vec::new();
        if request.get(&self.config.headers.route).is_some() {
            changes.push(RequestChange::Remove(self.config.headers.route.as_str()));
        }
        let tokens = self.token_headers.iter().filter(|name| request.get(name).is_some());
        changes.extend(tokens.map(|name| RequestChange::Remove(name)));
        let followed = matched.and_then(|Matched { place, assignment, begun_ns }| {
            let state = self.rollouts.get(place)?;
            self.announce(&state.rollout, assignment.role(), request, &mut changes);
            Some(state.follow(place, &assignment, request, begun_ns))
        });
        if followed.is_none() && request.get(&self.config.headers.version).is_some() {
            changes.push(RequestChange::Remove(&self.config.headers.version));
        }
        Decided { changes, request: followed }
    }

    /// Assigns a request. The canary is chosen only after the record that all workers share, read at
    /// this moment, confirms it. So a rollback takes effect the moment it is written, and only canary
    /// requests pay for the read.
    fn assign(
        &mut self,
        place: usize,
        request: &impl Headers,
        body: &RequestBody,
        now_ns: u64,
        host: &impl Host,
    ) -> Result<Assignment, Undecided> {
        let state = self.rollouts.get_mut(place).ok_or(Undecided)?;
        let cached = state.cached_in_force(now_ns);
        let draw = || self.random.next_u64();
        match decide(&self.config, &state.rollout, request, body, cached, draw) {
            Decision::Assigned(assignment) => Ok(assignment),
            Decision::Tentative(tentative) => {
                let record = state.refresh(host).map(|_| ());
                let record = record.map(|()| &state.cached);
                Ok(tentative.confirm(&state.rollout, record, now_ns))
            }
            Decision::Undecided => Err(Undecided),
        }
    }

    /// Tells the router and the upstream what was decided. A stable request is left unchanged wherever
    /// possible.
    fn announce<'a>(
        &'a self,
        rollout: &'a Rollout,
        role: Role,
        request: &impl Headers,
        changes: &mut Vec<RequestChange<'a>>,
    ) {
        let names = &self.config.headers;
        let version = &rollout.backend(role).version;
        match role {
            Role::Canary => changes.extend([
                RequestChange::Set(&names.version, version),
                RequestChange::Set(&names.route, &rollout.canary.cluster),
                RequestChange::Reroute,
            ]),
            Role::Stable if rollout.propagate => {
                changes.push(RequestChange::Set(&names.version, version));
            }
            Role::Stable => {
                let sent = request.get(&names.version);
                let kept = rollout.inherit && sent.as_deref() == Some(version.as_bytes());
                if sent.is_some() && !kept {
                    changes.push(RequestChange::Remove(&names.version));
                }
            }
        }
    }

    /// The response's headers have come: notes which version answered, and returns the headers to set
    /// on the response.
    pub fn respond(
        &self,
        request: &mut MatchedRequest,
        response: &impl Response,
    ) -> Option<ResponseChange<'_>> {
        let rollout = &self.rollouts.get(request.rollout)?.rollout;
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
        request.read_headers(rollout, response);
        let version =
            (self.config.headers.version.as_str(), rollout.backend(answered).version.as_str());
        let set_cookie =
            request.cookie.take().map(|(made, https)| cookie::set(&made.cookie, &made.id, https));
        Some(ResponseChange { version, set_cookie })
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
        let outcome = request.exchange.finish(&state.rollout.failure, now_ns);
        let readings = request.readings(&state.rollout, &outcome, self.random.next_u64());
        state.count(&outcome, &readings, now_ns, host, &mut effects);
        effects
    }
}

impl RolloutState {
    /// Follows a request that was just assigned.
    fn follow(
        &self,
        place: usize,
        assignment: &Assignment,
        request: &impl Headers,
        now_ns: u64,
    ) -> MatchedRequest {
        let grpc = request.get("content-type").is_some_and(|content| is_grpc(&content));
        let cookie = assignment.cookie().map(|cookie| (cookie.clone(), is_https(request)));
        let unit = self.clients.unit(assignment, &self.cached);
        let exchange = Exchange::begin(assignment, unit, grpc, now_ns);
        let get = |name| move || request.get(name);
        let readings = signal::request_readings(&self.rollout, get(":method"), get(":path"));
        MatchedRequest { rollout: place, exchange, cookie, readings, body: None }
    }
}

impl MatchedRequest {
    /// Whether the response's body is to be read.
    pub fn wants_body(&self) -> bool {
        self.body.as_ref().is_some_and(ResponseBody::wants_more)
    }

    /// A chunk of the response's body.
    pub fn push_body(&mut self, chunk: &[u8]) {
        if let Some(body) = &mut self.body {
            body.push(chunk);
        }
    }

    /// The response has ended, with its headers or its last chunk: only now does its body count.
    pub fn end_response(&mut self) {
        if let Some(body) = &mut self.body {
            body.end();
        }
    }

    /// The response has ended with trailers.
    pub fn read_trailers(&mut self, trailer: impl FnOnce(&str) -> Option<Vec<u8>>) {
        self.end_response();
        if self.exchange.is_grpc()
            && let Some(status) = trailer("grpc-status")
        {
            self.exchange.set_grpc_status(grpc_status(&status));
        }
    }

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

/// Whether the client sent the request over https, as `:scheme` or x-forwarded-proto says.
fn is_https(request: &impl Headers) -> bool {
    let https =
        |name| request.get(name).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"));
    https(":scheme") || https("x-forwarded-proto")
}

#[cfg(test)]
mod tests;
