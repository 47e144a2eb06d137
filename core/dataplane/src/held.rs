//! Requests that are held until their bodies say which rollout or client they belong to.

use std::collections::BTreeMap;

use canary_model::config::{Affinity, Rollout};
use canary_model::pointer::Pointer;

use crate::READS_BODIES;
use crate::request::MatchedRequest;
use crate::request_body::RequestBody;

/// The longest time for which a request is held. A client that sends slower than that is one whose
/// upload mustn't wait.
const LONGEST_HOLD_NS: u64 = 1_000_000_000;

/// The host's number for a stream.
pub type StreamId = u32;

/// The held requests of a worker. They are kept here and not in their streams, because a tick, which
/// belongs to no stream, releases those whose bodies don't come.
#[derive(Debug, Default)]
pub struct HeldRequests {
    waiting: BTreeMap<StreamId, HeldRequest>,
    /// Released by a tick, and not yet handed to their streams; `None` if no rollout matches.
    released: BTreeMap<StreamId, Option<MatchedRequest>>,
}

/// A request that waits for its body. Nothing about it is decided and nothing of it is changed yet.
#[derive(Debug)]
pub(crate) struct HeldRequest {
    /// When its headers came. Its times run from here.
    pub(crate) begun_ns: u64,
    pub(crate) body: RequestBody,
    /// How many bytes of the body have been read.
    pub(crate) read: usize,
}

impl HeldRequest {
    /// A request whose headers came at this time, and which one of these rollouts may get.
    pub(crate) fn new<'a>(begun_ns: u64, rollouts: impl Iterator<Item = &'a Rollout>) -> Self {
        Self { begun_ns, body: RequestBody::reading(rollouts.flat_map(pointers)), read: 0 }
    }
}

impl HeldRequests {
    pub(crate) fn insert(&mut self, stream: StreamId, request: HeldRequest) {
        if READS_BODIES {
            self.waiting.insert(stream, request);
        }
    }

    pub(crate) fn take(&mut self, stream: StreamId) -> Option<HeldRequest> {
        if READS_BODIES { self.waiting.remove(&stream) } else { None }
    }

    /// A request that has been held for too long.
    pub(crate) fn overlong(&self, now_ns: u64) -> Option<StreamId> {
        if !READS_BODIES {
            return None;
        }
        let late = |held: &HeldRequest| now_ns.saturating_sub(held.begun_ns) >= LONGEST_HOLD_NS;
        self.waiting.iter().find(|(_, held)| late(held)).map(|(stream, _)| *stream)
    }

    pub(crate) fn keep(&mut self, stream: StreamId, released: Option<MatchedRequest>) {
        if READS_BODIES {
            self.released.insert(stream, released);
        }
    }

    /// Forgets a stream; the request to follow, if a tick has released it.
    pub(crate) fn forget(&mut self, stream: StreamId) -> Option<MatchedRequest> {
        if !READS_BODIES || (self.waiting.is_empty() && self.released.is_empty()) {
            return None;
        }
        self.waiting.remove(&stream);
        self.released.remove(&stream).flatten()
    }
}

/// The values that a rollout looks for in request bodies, each with the limit within which it counts.
fn pointers(rollout: &Rollout) -> impl Iterator<Item = (&Pointer, usize)> {
    let matched = rollout.matches.request_json.iter().map(|json| (&json.pointer, json.max_body));
    let keys = rollout.affinity.iter().filter_map(|source| match source {
        Affinity::RequestJson(pointer) => Some((pointer, rollout.key_max_body())),
        Affinity::Header(_)
        | Affinity::Query(_)
        | Affinity::SourceAddress
        | Affinity::Cookie(_) => None,
    });
    matched.chain(keys)
}
