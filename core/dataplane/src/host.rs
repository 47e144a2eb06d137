//! What the data plane asks its host.
//!
//! A question has an answer that decides something, so it is a method of a trait. Everything else is
//! an [`Effect`](crate::effect::Effect), which the data plane returns and the shell carries out. A
//! compare-and-set is a question, because another worker may have been faster.

/// What the data plane asks the process that it runs in. Tests answer from memory.
pub trait Host {
    /// The process's monotonic clock in nanoseconds, the same for all workers.
    fn now_ns(&self) -> u64;

    /// The value that the workers share under a key, with the mark that a compare-and-set needs.
    fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// Writes a shared value: over the value that carried `mark`, or over any value if `mark` is
    /// `None`. `false` means that another worker was faster. The value then carries a mark that is higher
    /// than that of each earlier write in the process, of any key: Envoy counts them.
    fn set_shared(&self, key: &str, value: &[u8], mark: Option<u32>) -> bool;

    /// An attribute of any of this VM's streams, by the host's number for it; `None` if the stream is
    /// over or the host has none.
    fn stream_attribute(&self, stream: u32, path: &[&str]) -> Option<Vec<u8>>;

    /// The host's number for a metric, defined if it is new; `None` if the host refuses it.
    fn define_metric(&self, kind: HostMetricKind, name: &str) -> Option<MetricId>;
}

/// A request's headers, and what else the host knows about it. Each answer costs a call into the host,
/// so ask only for what the configuration needs.
pub trait Headers {
    /// The value of the first header of this name (lower case); `None` if there is none.
    fn get(&self, name: &str) -> Option<Vec<u8>>;

    /// The values of all headers of this name (lower case), in order. It costs more than
    /// [`get`](Self::get), because the host returns every header of the request.
    fn get_all(&self, name: &str) -> Vec<Vec<u8>>;

    /// The address of the client, with its port, as the host knows it; `None` if the host has none.
    fn source_address(&self) -> Option<Vec<u8>> {
        None
    }

    /// Whether something follows the headers. This costs no call.
    fn has_body(&self) -> bool {
        false
    }
}

/// A response and what the host knows about the upstream that sent it. Each answer costs a call.
pub trait Response {
    /// The value of the first response header of this name (lower case).
    fn header(&self, name: &str) -> Option<Vec<u8>>;

    /// An attribute of the stream as bytes, such as `["xds", "cluster_name"]`.
    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// An attribute of the stream that is an integer, such as `["response", "flags"]`.
    fn attribute_u64(&self, path: &[&str]) -> Option<u64>;
}

/// The host's number for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricId(pub u32);

/// The kinds of metrics that Envoy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostMetricKind {
    /// A sum that only grows.
    Counter,
    /// A number that is set.
    Gauge,
    /// A distribution of samples.
    Histogram,
}
