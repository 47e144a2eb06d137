//! What the data plane wants done: returned as data, carried out by the shell.

use std::time::Duration;

use crate::host::MetricId;
use crate::messages::Message;

/// Something that the shell is to do for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Wake the worker's tick at this period.
    SetTick(Duration),
    /// Send `GET path` to a cluster; the answer goes to
    /// [`FilterWorker::answered`](crate::worker::FilterWorker::answered). If the host refuses the
    /// call, tell [`FilterWorker::refused`](crate::worker::FilterWorker::refused).
    HttpGet {
        /// The cluster whose endpoint is Envoy's admin listener.
        cluster: String,
        /// The path and query.
        path: &'static str,
        /// After this time the call has failed.
        timeout: Duration,
    },
    /// Add to a counter.
    Increment(MetricId, u64),
    /// Set a gauge, or add a sample to a histogram.
    Record(MetricId, u64),
    /// Write a line to the log.
    Log(Message),
}

/// A change to a request's headers. Envoy chooses the route again after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestChange<'a> {
    /// Remove every header of this name.
    Remove(&'a str),
    /// Set a header, replacing all others of its name.
    Set(&'a str, &'a str),
    /// Choose the route again. A changed header does so already under ABI 0.2.1, but not under later
    /// ones.
    Reroute,
}

/// The headers to put on a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseChange<'a> {
    /// Name and value of the version header, replacing any other of its name.
    pub version: (&'a str, &'a str),
    /// The value of a `set-cookie` header to add.
    pub set_cookie: Option<String>,
}
