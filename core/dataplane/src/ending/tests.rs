use super::*;

/// Every text that Envoy 1.40 gave, by what was done to the response.
#[test]
fn what_envoy_says_of_a_response_after_its_headers() {
    let complete = ["via_upstream", "direct_response", "cache.response_from_cache_filter"];
    let own = [
        "upstream_reset_before_response_started{connection_termination}",
        "upstream_reset_before_response_started{remote_reset}",
        "no_healthy_upstream",
    ];
    let broken = [
        "upstream_reset_after_response_started{protocol_error}",
        "upstream_reset_after_response_started{connection_termination}",
        "upstream_reset_after_response_started{remote_reset}",
        "upstream_reset_after_response_started{remote_refused_stream_reset}",
        "response_timeout",
        "max_duration_timeout",
        "stream_idle_timeout",
        "upstream_max_stream_duration_reached",
        "upstream_per_try_idle_timeout",
    ];
    let client = [
        "downstream_remote_disconnect",
        "downstream_local_disconnect(http2_ping_timeout)",
        "http2.remote_reset",
        "http2.remote_refuse",
        "http1.codec_error",
        "codec_error:The_user_callback_function_failed",
    ];
    for (texts, end) in [
        (&complete[..], ResponseEnd::Complete),
        (&own, ResponseEnd::Complete),
        (&broken, ResponseEnd::Broken),
        (&client, ResponseEnd::ClientLeft),
    ] {
        for text in texts {
            assert_eq!(response_end(Some(text.as_bytes())), end, "{text}");
        }
    }
    assert_eq!(response_end(None), ResponseEnd::Complete);
}

#[test]
fn envoys_own_timeouts_have_the_same_details() {
    for status in [408, 413, 500, 503, 504] {
        assert!(may_be_local(status), "{status}");
    }
    assert!(!may_be_local(200) && !may_be_local(404) && !may_be_local(0));
    assert!(is_local_reply(Some(b"response_timeout")));
    assert!(!is_local_reply(Some(b"via_upstream")) && !is_local_reply(None));
}
