//! One request in a worker: assigned at its headers, labeled at its response's, counted at its end.

use std::rc::Rc;

use canary_model::config::Rollout;
use canary_model::role::Role;

use crate::assign::{Assignment, Decision, NewCookie, decide};
use crate::cookie;
use crate::effect::{Effect, RequestChange, ResponseChange};
use crate::host::{Headers, Host, Response};
use crate::judged::{JudgedRequest, JudgedRequests};
use crate::judged_counters::take_conversions;
use crate::matching::{self, RequestTarget};
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
    rollout: usize,
    /// What it was assigned under.
    under: AssignedUnder,
    /// Its place among the requests to be judged.
    judged: JudgedRequest,
    exchange: Exchange,
    /// A cohort cookie to set, and whether the request came over https.
    cookie: Option<(NewCookie, bool)>,
    /// What the response's headers say for the signals.
    readings: Vec<SignalReading>,
    /// The response's body, if anything that is configured depends on it.
    body: Option<ResponseBody>,
}

/// What to do with a request that has just come.
#[derive(Debug)]
pub struct Begun<'a> {
    /// The changes to its headers, in order. Usually none on a stable request, because Envoy routes a
    /// changed request twice.
    pub changes: Vec<RequestChange<'a>>,
    /// The request to follow; `None` if no rollout matches it.
    pub request: Option<MatchedRequest>,
}

impl FilterWorker {
    /// A request's headers have come: matches it to a rollout, assigns it to a version and says how to
    /// tell the router and the upstream. A client's copies of the filter's headers are removed, and so
    /// are all testers' tokens, whichever rollout they belong to.
    pub fn begin(&mut self, request: &impl Headers, host: &impl Host) -> Begun<'_> {
        let route_sent = request.get(&self.config.headers.route).is_some();
        let target = RequestTarget::new(request);
        let matches = |state: &RolloutState| matching::matches(&state.rollout.matches, &target);
        let matched = self.rollouts.iter().position(matches).and_then(|place| {
            let now_ns = host.now_ns();
            let assignment = self.assign(place, request, now_ns, host)?;
            let state = self.rollouts.get_mut(place)?;
            Some(state.follow(place, &assignment, request, now_ns))
        });
        let this: &Self = self;
        let mut changes = Vec::new();
        if route_sent {
            changes.push(RequestChange::Remove(this.config.headers.route.as_str()));
        }
        let tokens = this.token_headers.iter().filter(|name| request.get(name).is_some());
        changes.extend(tokens.map(|name| RequestChange::Remove(name)));
        if let Some(matched) = &matched
            && let Some(state) = this.rollouts.get(matched.rollout)
        {
            this.announce(&state.rollout, matched.exchange.chosen(), request, &mut changes);
        }
        if matched.is_none() && request.get(&this.config.headers.version).is_some() {
            changes.push(RequestChange::Remove(&this.config.headers.version));
        }
        Begun { changes, request: matched }
    }

    /// Assigns a request. The canary is chosen only after the record that all workers share, read at
    /// this moment, confirms it. So a rollback takes effect the moment it is written, and only canary
    /// requests pay for the read. If the record names other versions, the request is assigned again,
    /// because the salt may be another.
    fn assign(
        &mut self,
        place: usize,
        request: &impl Headers,
        now_ns: u64,
        host: &impl Host,
    ) -> Option<Assignment> {
        let state = self.rollouts.get_mut(place)?;
        let mut decide = |state: &RolloutState| {
            let cached = state.cached_in_force(now_ns);
            decide(&self.config, &state.rollout, request, cached, || self.random.next_u64())
        };
        let mut tentative = match decide(state) {
            Decision::Assigned(assignment) => return Some(assignment),
            Decision::Tentative(tentative) => tentative,
        };
        let labeled = Rc::clone(&state.rollout);
        let record = state.refresh(host).map(|_| ());
        if !Rc::ptr_eq(&labeled, &state.rollout) {
            tentative = match decide(state) {
                Decision::Assigned(assignment) => return Some(assignment),
                Decision::Tentative(tentative) => tentative,
            };
        }
        Some(tentative.confirm(&state.rollout, record.map(|()| &state.cached), now_ns))
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
        let set_cookie = request
            .cookie
            .take()
            .map(|(made, secure)| cookie::set(&made.name, &made.id, made.max_age, secure));
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
    /// Follows a request that was just assigned.
    fn follow(
        &mut self,
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
