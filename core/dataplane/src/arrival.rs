//! A request at its arrival: matched to a rollout and assigned to a version, at its headers or, if it is
//! held for its body, as soon as enough of that has come.

use std::rc::Rc;

use canary_model::config::Rollout;
use canary_model::role::Role;
use rand_core::Rng;

use crate::READS_BODIES;
use crate::assign::{Assignment, Decision, decide};
use crate::effect::RequestChange;
use crate::held::{HeldRequest, StreamId};
use crate::host::{Headers, Host};
use crate::matching::{self, RequestTarget};
use crate::open_request::SentHeaders;
use crate::request::MatchedRequest;
use crate::request_body::{RequestBody, is_json};
use crate::rollout_state::RolloutState;
use crate::worker::FilterWorker;

/// What to do with a request that has just come.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every request is decided at once, and a box would cost it an allocation"
)]
pub enum Begun<'a> {
    /// It goes on to its version.
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

#[cfg(test)]
impl<'a> Begun<'a> {
    /// The decision about a request that isn't held.
    pub(crate) fn decided(self) -> Decided<'a> {
        match self {
            Begun::Decided(decided) => decided,
            Begun::Held => panic!("held"),
        }
    }
}

/// The decision depends on bytes of the body that haven't come.
struct NeedsBody;

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
            if READS_BODIES && request.has_body() && reads() {
                let rollouts = self.rollouts.iter().map(|state| &*state.rollout);
                self.held.insert(stream, HeldRequest::new(host.now_ns(), rollouts));
                return Begun::Held;
            }
            matched = self.match_and_assign(request, &RequestBody::none(), None, host);
        }
        Begun::Decided(self.decided(matched.unwrap_or(None), stream, request, host))
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
            false => Err(NeedsBody),
        };
        let Ok(matched) = matched else {
            self.held.insert(stream, held);
            return Some(Begun::Held);
        };
        Some(Begun::Decided(self.decided(matched, stream, request, host)))
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
        Some(self.decided(matched.unwrap_or(None), stream, request, host))
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
    ) -> Result<Option<MatchedRequest>, NeedsBody> {
        let target = RequestTarget::new(request);
        for place in 0..self.rollouts.len() {
            let Some(state) = self.rollouts.get(place) else { continue };
            if !matching::matches(&state.rollout.matches, &target, body).ok_or(NeedsBody)? {
                continue;
            }
            let now_ns = host.now_ns();
            let assignment = self.assign(place, request, body, now_ns, host)?;
            let state = self.rollouts.get_mut(place).ok_or(NeedsBody)?;
            let begun_ns = begun_ns.unwrap_or(now_ns);
            return Ok(Some(state.follow(place, &assignment, request, begun_ns, now_ns)));
        }
        Ok(None)
    }

    /// What a decision changes, and the request to follow.
    fn decided(
        &mut self,
        mut matched: Option<MatchedRequest>,
        stream: StreamId,
        request: &impl Headers,
        host: &impl Host,
    ) -> Decided<'_> {
        if let Some(matched) = &mut matched {
            let sent = SentHeaders { stream, ended: !request.has_body() };
            self.sent(matched, sent, request, host);
        }
        let mut changes = Vec::new();
        if request.get(&self.config.headers.route).is_some() {
            changes.push(RequestChange::Remove(self.config.headers.route.as_str()));
        }
        let tokens = self.token_headers.iter().filter(|name| request.get(name).is_some());
        changes.extend(tokens.map(|name| RequestChange::Remove(name)));
        if let Some(matched) = &matched
            && let Some(state) = self.rollouts.get(matched.rollout)
        {
            self.announce(&state.rollout, matched.exchange.chosen(), request, &mut changes);
        }
        if matched.is_none() && request.get(&self.config.headers.version).is_some() {
            changes.push(RequestChange::Remove(&self.config.headers.version));
        }
        Decided { changes, request: matched }
    }

    /// Assigns a request. The canary is chosen only after the record that all workers share, read at
    /// this moment, confirms it. So a rollback takes effect the moment it is written, and only canary
    /// requests pay for the read. If the record names other versions, the request is assigned again,
    /// because the salt may be another.
    fn assign(
        &mut self,
        place: usize,
        request: &impl Headers,
        body: &RequestBody,
        now_ns: u64,
        host: &impl Host,
    ) -> Result<Assignment, NeedsBody> {
        let state = self.rollouts.get_mut(place).ok_or(NeedsBody)?;
        let mut decide = |state: &RolloutState| {
            let (rollout, cached) = (&state.rollout, state.cached_in_force(now_ns));
            decide(&self.config, rollout, request, body, cached, || self.random.next_u64())
        };
        let mut tentative = match decide(state) {
            Decision::Assigned(assignment) => return Ok(assignment),
            Decision::Tentative(tentative) => tentative,
            Decision::Undecided => return Err(NeedsBody),
        };
        let labeled = Rc::clone(&state.rollout);
        let record = state.refresh(host).map(|_| ());
        if !Rc::ptr_eq(&labeled, &state.rollout) {
            tentative = match decide(state) {
                Decision::Assigned(assignment) => return Ok(assignment),
                Decision::Tentative(tentative) => tentative,
                Decision::Undecided => return Err(NeedsBody),
            };
        }
        Ok(tentative.confirm(&state.rollout, record.map(|()| &state.cached), now_ns))
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

#[cfg(test)]
mod tests;
