//! The upstreams: each one answers plainly or as an event stream, fails as it is told, and writes down what
//! it did to which request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::body::Bytes;

use super::plan::{ChaosPlace, UpstreamBreak};
use crate::{Behavior, RawAnswer, RecordedRequest, Server};

/// The header with a request's number.
pub(super) const ID: &str = "x-chaos-id";
/// What a path ends with whose answer is a stream of events.
pub(super) const STREAM: &str = "/stream";

/// What an upstream did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamDeed {
    /// Answered it in whole, unless its connection broke meanwhile.
    Answered,
    /// Answered with status 500.
    Failed,
    /// Closed the connection instead of answering.
    Closed,
    /// Broke a stream off in its middle.
    CutOff,
    /// Ended a stream without its last event.
    LeftOutDone,
}

/// A request as an upstream noted it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct UpstreamNote {
    /// When it arrived, in seconds since the beginning: after it had been through the filter.
    pub arrived: f64,
    /// Which upstream it was.
    pub place: ChaosPlace,
    /// What became of it there.
    pub deed: UpstreamDeed,
    /// It came to stable although the filter had chosen the canary: the kill switch diverted it.
    pub diverted: bool,
}

/// What the upstreams noted, by the requests' numbers.
#[derive(Clone, Debug)]
pub(super) struct UpstreamLog {
    start: Instant,
    notes: Arc<Mutex<HashMap<u64, UpstreamNote>>>,
}

impl UpstreamLog {
    /// Nothing yet; `start` is the run's beginning.
    pub(super) fn new(start: Instant) -> Self {
        Self { start, notes: Arc::default() }
    }

    /// Everything noted so far.
    pub(super) fn notes(&self) -> HashMap<u64, UpstreamNote> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, id: u64, place: ChaosPlace, deed: UpstreamDeed, seen: &RecordedRequest) {
        let diverted = diverted(place, &seen.headers);
        let arrived = self.start.elapsed().as_secs_f64();
        let note = UpstreamNote { arrived, place, deed, diverted };
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).insert(id, note);
    }
}

/// Has a server answer as this place, in this way from now on. Refusing is up to the server's listener.
pub(super) fn behave(
    server: &Server,
    place: ChaosPlace,
    broken: Option<UpstreamBreak>,
    log: &UpstreamLog,
) {
    let log = log.clone();
    server.change(|behavior| {
        let plain = log.clone();
        let raw = move |seen: &RecordedRequest| raw_answer(place, broken, &log, seen);
        behavior.raw = Some(Arc::new(raw));
        behavior.script =
            Some(Arc::new(move |seen| Some(plain_answer(place, broken, &plain, seen))));
        *behavior = Behavior { latency: Duration::from_millis(3), ..behavior.clone() };
    });
}

/// Whatever isn't a plain answer with a length.
fn raw_answer(
    place: ChaosPlace,
    broken: Option<UpstreamBreak>,
    log: &UpstreamLog,
    seen: &RecordedRequest,
) -> Option<RawAnswer> {
    let id = number(&seen.headers);
    let deed = deed(id, seen.path.ends_with(STREAM), broken);
    let answer = match deed {
        UpstreamDeed::Closed => RawAnswer::headless(200).close(),
        UpstreamDeed::Failed => return None,
        UpstreamDeed::Answered if !seen.path.ends_with(STREAM) => return None,
        deed => events(id, deed),
    };
    log.note(id, place, deed, seen);
    Some(answer)
}

/// 200 or 500 with the request's number.
fn plain_answer(
    place: ChaosPlace,
    broken: Option<UpstreamBreak>,
    log: &UpstreamLog,
    seen: &RecordedRequest,
) -> (u16, Bytes) {
    let id = number(&seen.headers);
    let deed = deed(id, seen.path.ends_with(STREAM), broken);
    log.note(id, place, deed, seen);
    (if deed == UpstreamDeed::Failed { 500 } else { 200 }, Bytes::from(id.to_string()))
}

/// Some requests fail by themselves, by their numbers; all of them while the upstream is broken.
fn deed(id: u64, stream: bool, broken: Option<UpstreamBreak>) -> UpstreamDeed {
    match broken {
        Some(UpstreamBreak::Errors) => UpstreamDeed::Failed,
        Some(UpstreamBreak::Closes) => UpstreamDeed::Closed,
        _ if id % 97 == 13 => UpstreamDeed::Failed,
        _ if stream && id % 41 == 7 => UpstreamDeed::CutOff,
        _ if stream && id % 41 == 9 => UpstreamDeed::LeftOutDone,
        _ => UpstreamDeed::Answered,
    }
}

/// A stream of tokens: most take a few hundred milliseconds, some four seconds.
fn events(id: u64, deed: UpstreamDeed) -> RawAnswer {
    let long = id % 23 == 5;
    let (tokens, gap) = if long { (30, 140) } else { (3 + id % 10, 20 + id % 30) };
    let tokens = usize::try_from(tokens).expect("a few tokens");
    let token = "data: {\"choices\": [{\"delta\": {\"content\": \"x\"}}]}\n\n";
    let answer = RawAnswer::events(&vec![token; tokens], Duration::from_millis(gap));
    match deed {
        // The pause lets the last token leave first.
        UpstreamDeed::CutOff => answer.pause(Duration::from_millis(20)).close(),
        UpstreamDeed::LeftOutDone => answer.end(),
        _ => answer.data("data: [DONE]\n\n").end(),
    }
}

fn number(headers: &HeaderMap) -> u64 {
    let text = headers.get(ID).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).expect("every request has its number")
}

fn diverted(place: ChaosPlace, headers: &HeaderMap) -> bool {
    place == ChaosPlace::Stable && headers.contains_key("x-canary-route")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_upstream_does_is_up_to_its_state_and_the_requests_number() {
        assert_eq!(deed(13, false, None), UpstreamDeed::Failed);
        assert_eq!(deed(13, false, Some(UpstreamBreak::Closes)), UpstreamDeed::Closed);
        assert_eq!(deed(1, true, Some(UpstreamBreak::Errors)), UpstreamDeed::Failed);
        assert_eq!(deed(1, true, Some(UpstreamBreak::Refuses)), UpstreamDeed::Answered);
        assert_eq!(deed(7, true, None), UpstreamDeed::CutOff);
        assert_eq!(deed(7, false, None), UpstreamDeed::Answered);
        assert_eq!(deed(9, true, None), UpstreamDeed::LeftOutDone);
    }
}
