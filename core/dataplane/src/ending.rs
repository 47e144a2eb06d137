//! How a response ended whose end no hook saw, by what Envoy says of it (`response.code_details`).
//!
//! The response's flags can't tell a response that broke off from one that Envoy made itself; the
//! details can. Measured on Envoy 1.40 over HTTP/1.1, HTTP/2 and gRPC, once the headers were there:
//!
//! | what happened | details |
//! |---|---|
//! | complete | `via_upstream`, or the name of what answered in the upstream's place |
//! | the upstream reset, closed or broke the protocol | `upstream_reset_after_response_started{…}` |
//! | a limit of Envoy's passed | the names in [`CUT_OFF`], alone |
//! | the client closed its connection | `downstream_remote_disconnect` |
//! | the client reset its stream | `http2.remote_reset` |
//! | the client broke the protocol | `http1.codec_error`, `codec_error:…` |

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEnd {
    /// As its protocol requires.
    Complete,
    /// The client left first, or broke the protocol.
    ClientLeft,
    /// The upstream or one of Envoy's limits ended it early.
    Broken,
}

/// The details of a response that the upstream ended after its headers, up to the reason.
const UPSTREAM_RESET: &[u8] = b"upstream_reset_after_response_started";

/// The details of a response that one of Envoy's limits cut off. If the limit passed before the
/// headers, Envoy answers itself, under the same name: see [`is_local_reply`].
const CUT_OFF: [&[u8]; 7] = [
    b"response_timeout",
    b"max_duration_timeout",
    b"stream_idle_timeout",
    b"upstream_max_stream_duration_reached",
    b"upstream_per_try_idle_timeout",
    b"upstream_per_try_timeout",
    b"response_payload_too_large",
];

/// What begins the details if the client ended the stream: its connection is gone, or its codec says
/// why.
const BY_THE_CLIENT: [&[u8]; 5] = [b"downstream_", b"http1.", b"http2.", b"http3.", b"codec_error"];

/// How a response ended after its headers. `details` are Envoy's `response.code_details` at the
/// stream's end; `None` if it has none. Details that aren't known are those of a local reply (a cache,
/// another filter), which is complete.
pub fn response_end(details: Option<&[u8]>) -> ResponseEnd {
    let Some(details) = details else {
        return ResponseEnd::Complete;
    };
    if BY_THE_CLIENT.iter().any(|start| details.starts_with(start)) {
        ResponseEnd::ClientLeft
    } else if details.starts_with(UPSTREAM_RESET) || CUT_OFF.contains(&details) {
        ResponseEnd::Broken
    } else {
        ResponseEnd::Complete
    }
}

/// Whether a status may be that of a local reply to a limit that passed before the headers: 408, 413
/// or a server error.
pub fn may_be_local(status: u16) -> bool {
    matches!(status, 408 | 413 | 500..)
}

/// Whether Envoy made a response itself. `details` are its `response.code_details` while the headers
/// pass.
pub fn is_local_reply(details: Option<&[u8]>) -> bool {
    details.is_some_and(|details| details != b"via_upstream")
}

#[cfg(test)]
mod tests;
