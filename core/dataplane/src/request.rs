//! One request in a worker, from its assignment to its end. [`arrival`](crate::arrival) is how it got
//! there; [`response`](crate::response) is the rest.

use crate::assign::{Assignment, NewCookie};
use crate::host::Headers;
use crate::judged::JudgedRequest;
use crate::judged_counters::take_conversions;
use crate::open_request::{AssignedUnder, WatchedRequest};
use crate::outcome::Exchange;
use crate::protocol::is_grpc;
use crate::response_body::ResponseBody;
use crate::rollout_state::RolloutState;
use crate::signal::{self, SignalReading};

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
