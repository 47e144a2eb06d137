//! The first half of one request in a worker: matched to a rollout and assigned to a version.
//! [`response`](crate::response) is its second half.

use std::rc::Rc;

use canary_model::config::Rollout;
use canary_model::role::Role;

use crate::assign::{Assignment, Decision, NewCookie, decide};
use crate::effect::RequestChange;
use crate::host::{Headers, Host};
use crate::judged::JudgedRequest;
use crate::judged_counters::take_conversions;
use crate::matching::{self, RequestTarget};
use crate::outcome::{Exchange, is_grpc};
use crate::overdue::WatchedRequest;
use crate::response_body::ResponseBody;
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
    pub(crate) under: AssignedUnder,
    /// Its place among the requests to be judged, unless its deadlines have it.
    pub(crate) judged: JudgedRequest,
    pub(crate) exchange: Exchange,
    /// A cohort cookie to set, and whether the request came over https.
    pub(crate) cookie: Option<(NewCookie, bool)>,
    /// What the response's headers say for the signals.
    pub(crate) readings: Vec<SignalReading>,
    /// The response's body, if anything that is configured depends on it.
    pub(crate) body: Option<ResponseBody>,
    /// Its deadlines, if it has any.
    pub(crate) watched: Option<WatchedRequest>,
    /// Its outcome was counted: nothing that happens later counts.
    pub(crate) counted: bool,
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
            watched: None,
            counted: false,
        }
    }
}

impl MatchedRequest {
    /// Changes what the judge knows of the request.
    pub(crate) fn with_judged(&mut self, change: impl FnOnce(&mut JudgedRequest)) {
        match &self.watched {
            Some(watched) => watched.subject.with_judged(change),
            None => change(&mut self.judged),
        }
    }

    /// Whether the request's outcome was counted, at a deadline or otherwise.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted || self.watched.as_ref().is_some_and(|watched| watched.subject.is_counted())
    }
}

/// Whether the client sent the request over https, as `:scheme` or x-forwarded-proto says.
fn is_https(request: &impl Headers) -> bool {
    let https =
        |name| request.get(name).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"));
    https(":scheme") || https("x-forwarded-proto")
}
