//! An upstream whose behavior the test decides, also while it runs: errors, latency, bodies,
//! faults, gRPC, upgrades.

mod answer;
mod connection;
mod raw;
mod relay;
mod server;
mod wire;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Version};

pub use raw::{Latch, RawAnswer};
pub use server::Server;

use crate::harness::held_port::ANY_PORT;

/// The header by which a client asks a version to fail.
pub const FAIL: &str = "x-fail";

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// The method of the request.
    pub method: Method,
    /// The path with its query.
    pub path: String,
    /// By which protocol Envoy sent it.
    pub version: Version,
    /// The headers, Envoy's own among them.
    pub headers: HeaderMap,
    /// The bytes of the body.
    pub body: Bytes,
}

/// What goes wrong below HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Answers as it is told, without a fault.
    #[default]
    None,
    /// The connection is closed instead of an answer.
    Reset,
    /// Reads the request and never answers.
    Hang,
    /// The connection is closed in the middle of the body.
    Truncate,
}

/// Status and body for a request, where a test wants them by request.
pub type Script = Arc<dyn Fn(&RecordedRequest) -> Option<(u16, Bytes)> + Send + Sync>;

/// An answer said step by step for a request, where a test wants one.
pub type RawScript = Arc<dyn Fn(&RecordedRequest) -> Option<RawAnswer> + Send + Sync>;

/// How an upstream behaves.
#[derive(Clone)]
pub struct Behavior {
    /// The status of an answer that isn't an error.
    pub status: u16,
    /// The share of requests answered with `error_status`, evenly spread: of n requests ⌊n ·
    /// share⌋.
    pub errors: f64,
    /// The status of an error.
    pub error_status: u16,
    /// How long an answer waits.
    pub latency: Duration,
    /// The body; the version's name where none is given.
    pub body: Option<Bytes>,
    /// In pieces of this many bytes, each sent by itself and without a content length.
    pub chunks: Option<usize>,
    /// The time between two pieces.
    pub pause: Duration,
    /// Further headers of every answer.
    pub headers: Vec<(String, String)>,
    /// What goes wrong below HTTP.
    pub fault: Fault,
    /// The gRPC status of an error (14, UNAVAILABLE): a gRPC answer is 200 all the same.
    pub grpc_error: u16,
    /// Whether a gRPC status is in the headers of an answer without a body, instead of in
    /// trailers.
    pub grpc_trailers_only: bool,
    /// Whether gRPC is answered as a stream: each message is sent back as it comes, and the status
    /// follows when the client is done.
    pub grpc_stream: bool,
    /// A service that this one calls for each request, handing on the version header that came with
    /// it; `x-next-upstream` names the version that answered there.
    pub next: Option<SocketAddr>,
    /// Decides by request; where it gives nothing, the rest of the behavior holds.
    pub script: Option<Script>,
    /// Answers step by step, before all else but the latency; where it gives nothing, the rest of the
    /// behavior holds.
    pub raw: Option<RawScript>,
}

impl fmt::Debug for Behavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = (self.status, self.errors, self.error_status, self.latency, self.fault);
        f.debug_tuple("Behavior").field(&shown).finish_non_exhaustive()
    }
}

/// An upstream to be started, on a free port unless told otherwise.
#[derive(Clone, Debug)]
pub struct TestUpstream {
    pub(crate) behavior: Behavior,
    pub(crate) at: SocketAddr,
    pub(crate) down: bool,
}

impl TestUpstream {
    /// Answers 200 at once.
    #[must_use]
    pub fn ok() -> Self {
        let behavior = Behavior {
            status: 200,
            errors: 0.0,
            error_status: 503,
            latency: Duration::ZERO,
            body: None,
            chunks: None,
            pause: Duration::ZERO,
            headers: Vec::new(),
            fault: Fault::None,
            grpc_error: 14,
            grpc_trailers_only: false,
            grpc_stream: false,
            next: None,
            script: None,
            raw: None,
        };
        Self { behavior, at: ANY_PORT, down: false }
    }

    /// Closes the listener, so connections are refused.
    #[must_use]
    pub fn down() -> Self {
        Self { down: true, ..Self::ok() }
    }

    /// This share of the answers are errors.
    #[must_use]
    pub fn errors(self, share: f64) -> Self {
        self.with(|behavior| behavior.errors = share)
    }

    /// Every answer is an error, of this status.
    #[must_use]
    pub fn failing(self, status: u16) -> Self {
        self.with(|behavior| (behavior.errors, behavior.error_status) = (1.0, status))
    }

    /// An answer waits so long.
    #[must_use]
    pub fn latency_ms(self, milliseconds: u64) -> Self {
        self.with(|behavior| behavior.latency = Duration::from_millis(milliseconds))
    }

    /// The body of every answer.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.with(|behavior| behavior.body = Some(body))
    }

    /// One more header in every answer.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|behavior| behavior.headers.push((name.to_owned(), value.to_owned())))
    }

    /// What goes wrong below HTTP.
    #[must_use]
    pub fn fault(self, fault: Fault) -> Self {
        self.with(|behavior| behavior.fault = fault)
    }

    /// Decides by request: status and body, or nothing for the behavior as it is.
    #[must_use]
    pub fn script(
        self,
        script: impl Fn(&RecordedRequest) -> Option<(u16, Bytes)> + Send + Sync + 'static,
    ) -> Self {
        self.with(|behavior| behavior.script = Some(Arc::new(script)))
    }

    /// Answers every request like this; see [`RawAnswer`].
    #[must_use]
    pub fn raw(self, answer: RawAnswer) -> Self {
        self.with(|behavior| behavior.raw = Some(Arc::new(move |_| Some(answer.clone()))))
    }

    /// A request whose `x-fail` names this version is answered 503, so that clients decide what fails.
    #[must_use]
    pub fn fails_on_demand(self, version: &str) -> Self {
        let version = version.to_owned();
        self.script(move |seen| {
            let named =
                seen.headers.get(FAIL).is_some_and(|name| name.as_bytes() == version.as_bytes());
            named.then(|| (503, Bytes::from(version.clone())))
        })
    }

    /// Calls this service for each request; see [`Behavior::next`].
    #[must_use]
    pub fn calls(self, next: SocketAddr) -> Self {
        self.with(|behavior| behavior.next = Some(next))
    }

    /// Anything else that a behavior has.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Behavior)) -> Self {
        change(&mut self.behavior);
        self
    }

    /// Starts it by itself, outside a rig, as this version.
    #[must_use]
    pub fn start(&self, version: &str) -> Server {
        Server::start(self, version)
    }

    /// Uses the given address instead of an ephemeral port.
    #[must_use]
    pub fn at(self, at: SocketAddr) -> Self {
        Self { at, ..self }
    }
}
