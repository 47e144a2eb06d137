//! What is asked for while the processor time is measured.

/// How the load is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// By wrk, over HTTP/1.1; the word tells its script what a request looks like.
    Wrk(&'static str),
    /// By h2load, over HTTP/2.
    H2,
    /// By h2load, as unary gRPC calls.
    Grpc,
}

/// One kind of request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    /// What processor time is divided by.
    pub(super) unit: &'static str,
    /// What the upstream tells the answer by.
    pub(super) path: &'static str,
    pub(super) sender: Sender,
}

impl Workload {
    const fn new(
        name: &'static str,
        unit: &'static str,
        path: &'static str,
        sender: Sender,
    ) -> Self {
        Self { name, unit, path, sender }
    }
}

/// What to ask for for an answer of 300 KB.
pub(super) const BIG_PATH: &str = "/big";
/// What to ask for for an answer that ends with its headers.
pub(super) const BARE_PATH: &str = "/bare";
/// What to ask for for an answer of 1 KB.
pub(super) const MODEL_PATH: &str = "/v1/models/scorer";
/// What to ask for for a stream of events.
pub(super) const STREAM_PATH: &str = "/v1/stream";
/// What to ask for for a gRPC answer, whose status is in its trailers.
pub(super) const GRPC_PATH: &str = "/demo.Scorer/Score";

pub(super) const SMALL: Workload = Workload::new("small", "request", "/", Sender::Wrk("get"));
pub(super) const BARE: Workload =
    Workload::new("no body", "request", BARE_PATH, Sender::Wrk("get"));
pub(super) const BIG: Workload = Workload::new("300 KB", "request", BIG_PATH, Sender::Wrk("get"));
pub(super) const REALISTIC: Workload =
    Workload::new("realistic", "request", MODEL_PATH, Sender::Wrk("post"));
pub(super) const STREAM: Workload =
    Workload::new("stream", "event", STREAM_PATH, Sender::Wrk("get"));
pub(super) const HTTP2: Workload = Workload::new("HTTP/2", "request", "/", Sender::H2);
pub(super) const GRPC: Workload = Workload::new("gRPC", "request", GRPC_PATH, Sender::Grpc);
