//! What HTTP and gRPC say in headers.

/// Whether a content type is gRPC's: `application/grpc`, `application/grpc+proto` and so on. Not
/// gRPC-Web's: its status is in the body, which the filter doesn't read, so its HTTP status decides.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let begins = |prefix: &[u8]| {
        content_type.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    begins(b"application/grpc") && !begins(b"application/grpc-web")
}

/// Reads a `:status`; `None` if it isn't an HTTP status.
pub fn http_status(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|code| (100..=599).contains(code))
}

/// Reads a `grpc-status`. An unreadable one is UNKNOWN (2), as it is for gRPC's clients.
pub fn grpc_status(text: &[u8]) -> u32 {
    const UNKNOWN: u32 = 2;
    let text = std::str::from_utf8(text.trim_ascii());
    text.ok().and_then(|text| text.parse().ok()).unwrap_or(UNKNOWN)
}

/// The gRPC status that an HTTP status stands for if the response has none
/// (gRPC's `http-grpc-status-mapping.md`).
pub fn grpc_of_http(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_and_upstreams_may_write() {
        assert!(
            is_grpc(b"application/grpc")
                && is_grpc(b"Application/gRPC+proto")
                && !is_grpc(b"application/json")
                && !is_grpc(b"")
                && !is_grpc(b"application/grpc-web+proto")
        );
        assert_eq!(
            (http_status(b"200"), http_status(b"99"), http_status(b"\xff"), http_status(b"600")),
            (Some(200), None, None, None)
        );
        assert_eq!(
            (grpc_status(b"0"), grpc_status(b" 14 "), grpc_status(b"x"), grpc_status(b"-1")),
            (0, 14, 2, 2)
        );
    }
}
