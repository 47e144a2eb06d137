//! What a request was assigned under, and what it shares with the queues of deadlines.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use canary_model::config::Rollout;

use crate::deadlines::Watched;
use crate::judged::JudgedRequest;
use crate::outcome::Trial;
use crate::versions::VersionPlaces;

/// What a request was assigned under, and keeps until it ends.
#[derive(Clone, Debug)]
pub struct AssignedUnder {
    /// The rollout with the versions that its roles ran.
    pub(crate) rollout: Rc<Rollout>,
    /// Where these are counted.
    pub(crate) versions: VersionPlaces,
    /// The generation of the weight in force.
    pub(crate) weight_generation: u32,
}

/// What a tick needs to know of a request under deadlines.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) trial: Trial,
    /// What it was assigned under.
    pub(crate) under: AssignedUnder,
    /// Its place among the requests to be judged.
    pub(crate) judged: RefCell<JudgedRequest>,
    /// The host's number for the stream.
    pub(crate) stream: u32,
    /// The request's Content-Length, if its deadline began before its end: it holds only if that much
    /// has come by then.
    pub(crate) upload: Option<u64>,
    /// The response's headers have come, and not from stable in the canary's place.
    pub(crate) answered: Cell<bool>,
    /// The first byte of the body has come, or of an event stream the first event with content.
    pub(crate) content: Cell<bool>,
    /// The time to it in microseconds.
    pub(crate) ttfb_us: Cell<Option<u64>>,
    /// It was counted as overdue; whatever happens later counts nothing.
    pub(crate) counted: Cell<bool>,
}

impl OpenRequest {
    /// Whether it was counted as overdue.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted.get()
    }

    /// Changes what the judge knows of it.
    pub(crate) fn with_judged(&self, change: impl FnOnce(&mut JudgedRequest)) {
        // No change asks for another.
        if let Ok(mut judged) = self.judged.try_borrow_mut() {
            change(&mut judged);
        }
    }
}

/// A request's headers as they go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentHeaders {
    /// The host's number for the stream.
    pub(crate) stream: u32,
    /// Whether the request ends with its headers.
    pub(crate) ended: bool,
}

/// A request under deadlines, as the queues and the request share it.
pub(crate) type WatchedRequest = Rc<Watched<OpenRequest>>;
