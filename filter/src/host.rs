//! The calls into Envoy; no other file names a hostcall.
//!
//! Headers are read one at a time and as bytes, because the SDK's other getters panic on bytes that a
//! client may send. Failed host calls are not logged; they read as absent. Only a caller that can do
//! something about a failure gets the error.

use std::time::{Duration, SystemTime};

use canary_dataplane::host::{Host, HostMetricKind, MetricId};

use proxy_wasm::{
    hostcalls,
    types::{BufferType, MapType, MetricType, Status},
};

/// A call that Envoy refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) Status);

/// What the data plane asks Envoy.
pub(crate) struct EnvoyHost;

impl Host for EnvoyHost {
    /// The SDK has only the wall clock.
    fn now_ns(&self) -> u64 {
        let ticks = coarsetime::Instant::now_without_cache_update().as_ticks();
        coarsetime::Duration::from_ticks(ticks).as_nanos()
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        match hostcalls::get_shared_data(key) {
            Ok((Some(value), Some(mark))) => Some((value, mark)),
            _ => None,
        }
    }

    fn set_shared(&self, key: &str, value: &[u8], mark: Option<u32>) -> bool {
        hostcalls::set_shared_data(key, Some(value), mark).is_ok()
    }

    fn stream_attribute(&self, stream: u32, path: &[&str]) -> Option<Vec<u8>> {
        hostcalls::set_effective_context(stream).ok()?;
        let value = property(path);
        // The context 0 stands for none: the caller's own is in effect again.
        let _ = hostcalls::set_effective_context(0);
        value
    }

    fn define_metric(&self, kind: HostMetricKind, name: &str) -> Option<MetricId> {
        let kind = match kind {
            HostMetricKind::Counter => MetricType::Counter,
            HostMetricKind::Gauge => MetricType::Gauge,
            HostMetricKind::Histogram => MetricType::Histogram,
        };
        hostcalls::define_metric(kind, name).ok().map(MetricId)
    }
}

/// The wall clock in whole unix seconds, for the heartbeat.
pub(crate) fn unix_seconds() -> u64 {
    let now = hostcalls::get_current_time().ok();
    let since = now.and_then(|now| now.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

/// The values of all request headers of a name, in order; only before the response.
///
/// The SDK panics on a header name that isn't UTF-8, but Envoy's codecs accept only ASCII names.
pub(crate) fn request_headers(name: &str) -> Vec<Vec<u8>> {
    let headers = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default();
    let of_name = headers.into_iter().filter(|(header, _)| header == name);
    of_name.map(|(_, value)| value).collect()
}

/// A request header's first value; only before the response.
pub(crate) fn request_header(name: &str) -> Option<Vec<u8>> {
    header(MapType::HttpRequestHeaders, name)
}

/// A response header's first value; only while the response's headers pass.
pub(crate) fn response_header(name: &str) -> Option<Vec<u8>> {
    header(MapType::HttpResponseHeaders, name)
}

/// A response trailer's first value; only while the trailers pass.
pub(crate) fn response_trailer(name: &str) -> Option<Vec<u8>> {
    header(MapType::HttpResponseTrailers, name)
}

fn header(map: MapType, name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(map, name).unwrap_or(None)
}

/// Sets a request header, replacing any other of its name. Envoy routes the request again.
pub(crate) fn set_request_header(name: &str, value: &str) {
    set_header(MapType::HttpRequestHeaders, name, value);
}

/// Removes every request header of a name. Envoy routes the request again.
pub(crate) fn remove_request_header(name: &str) {
    let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
}

/// Sets a response header, replacing any other of its name.
pub(crate) fn set_response_header(name: &str, value: &str) {
    set_header(MapType::HttpResponseHeaders, name, value);
}

/// Adds a response header beside others of its name.
pub(crate) fn add_response_header(name: &str, value: &str) {
    let _ = hostcalls::add_map_value(MapType::HttpResponseHeaders, name, value);
}

fn set_header(map: MapType, name: &str, value: &str) {
    let _ = hostcalls::set_map_value_bytes(map, name, Some(value.as_bytes()));
}

/// Makes Envoy choose the route again. Under this ABI a changed header does so already; under later
/// ones it won't. If Envoy doesn't know the function, there is nothing to do.
pub(crate) fn clear_route_cache() {
    let _ = hostcalls::call_foreign_function("clear_route_cache", None);
}

/// An attribute of the stream as text or bytes; `None` if Envoy has none.
pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).unwrap_or(None)
}

/// An attribute that Envoy keeps as an integer.
pub(crate) fn property_u64(path: &[&str]) -> Option<u64> {
    let bytes: [u8; 8] = property(path)?.try_into().ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// Adds to a counter.
pub(crate) fn increment(metric: MetricId, by: u64) {
    let _ = hostcalls::increment_metric(metric.0, i64::try_from(by).unwrap_or(i64::MAX));
}

/// Sets a gauge, or adds a sample to a histogram.
pub(crate) fn record(metric: MetricId, value: u64) {
    let _ = hostcalls::record_metric(metric.0, value);
}

/// Sends a GET to a cluster; the answer comes to the root context that asked.
pub(crate) fn http_get(cluster: &str, path: &str, timeout: Duration) -> Result<(), Refused> {
    let headers = vec![(":method", "GET"), (":path", path), (":authority", cluster)];
    hostcalls::dispatch_http_call(cluster, headers, None, Vec::new(), timeout)
        .map(|_| ())
        .map_err(Refused)
}

/// The `:status` of the answer to [`http_get`], only in its callback; `None` if the call timed out or
/// the connection failed.
pub(crate) fn http_get_status() -> Option<Vec<u8>> {
    header(MapType::HttpCallResponseHeaders, ":status")
}

/// The body of the answer to [`http_get`]; only in its callback.
pub(crate) fn http_get_body(size: usize) -> Option<Vec<u8>> {
    hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size).unwrap_or(None)
}

/// What has come of a held request's body, from an offset on; only while it passes.
#[cfg(feature = "body")]
pub(crate) fn request_body(from: usize, size: usize) -> Option<Vec<u8>> {
    let length = size.saturating_sub(from);
    hostcalls::get_buffer(BufferType::HttpRequestBody, from, length).unwrap_or(None)
}

/// Makes the calls until the end of the callback be about this context.
pub(crate) fn set_context(id: u32) {
    let _ = hostcalls::set_effective_context(id);
}

/// Lets the held request of the current context go on as soon as the callback has returned.
pub(crate) fn resume_request() {
    let _ = hostcalls::resume_http_request();
}

/// A chunk of the response's body; only while it passes.
#[cfg(feature = "body")]
pub(crate) fn response_body(size: usize) -> Option<Vec<u8>> {
    hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size).unwrap_or(None)
}

/// The plugin's configuration, as JSON; only in `on_configure`.
pub(crate) fn configuration(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size)
        .unwrap_or(None)
        .unwrap_or_default()
}

/// Sets how often the root context ticks; zero: never.
pub(crate) fn set_tick(period: Duration) {
    let _ = hostcalls::set_tick_period(period);
}

/// Random bytes from the host, for seeds; `None` if it has none.
pub(crate) fn entropy<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok().map(|()| bytes)
}
