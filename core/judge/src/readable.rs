//! Whether a signal's values could be read.

use serde::{Deserialize, Serialize};

use super::counts::Merge;
use super::verdict::InsufficientData;

/// The class of values that a proxy could not read.
pub(crate) const UNREADABLE: &str = "unreadable";

/// How many of a signal's observations since the step's start could be read, of both versions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadableCount {
    readable: u64,
    unreadable: u64,
}

impl ReadableCount {
    /// Adds observations of either version.
    pub(crate) fn note(&mut self, readable: u64, unreadable: u64) {
        self.readable.merge(&readable);
        self.unreadable.merge(&unreadable);
    }

    /// What is missing if there were observations and none could be read: a signal without data.
    pub(crate) fn missing(&self, signal: &str) -> Option<InsufficientData> {
        let unreadable = self.unreadable;
        (unreadable > 0 && self.readable == 0)
            .then(|| InsufficientData::ReadableValues { signal: signal.to_owned(), unreadable })
    }
}
