//! How long a response may last by the shipped routes: as long as it moves, but it must begin in time.

use std::time::Duration;

use canary_integration::{ClientRequest, Fault, Rig, Running, TestUpstream};
use serde_json::json;

/// Envoy's default for a whole response, and the shipped limit for its beginning.
const LIMIT: Duration = Duration::from_secs(15);

fn override_by_header() -> Rig {
    Rig::new().rollout(|rollout| rollout["override"] = json!({"header": "x-canary"}))
}

/// One request for the version that the override selects, and how long its response took.
async fn response(rig: &Running, which: &str) -> (u16, usize, Duration) {
    let answer = rig.request(ClientRequest::get("/").header("x-canary", which)).await;
    (answer.status, answer.body.len(), answer.took)
}

/// One piece a second for 17 seconds, from both versions at once; and a canary that hangs.
#[tokio::test]
async fn a_long_stream_is_not_cut_and_a_hanging_request_ends() {
    let streaming = || {
        TestUpstream::ok().body(vec![b'x'; 17]).with(|behavior| {
            (behavior.chunks, behavior.pause) = (Some(1), Duration::from_secs(1));
        })
    };
    let streams = override_by_header().stable(streaming()).canary(streaming()).start().await;
    let hangs = override_by_header().canary(TestUpstream::ok().fault(Fault::Hang)).start().await;
    let (stable, canary, hung) = tokio::join!(
        response(&streams, "never"),
        response(&streams, "always"),
        response(&hangs, "always"),
    );
    for (status, length, took) in [stable, canary] {
        assert_eq!((status, length), (200, 17));
        assert!(took > LIMIT, "{took:?}");
    }
    let (status, _, took) = hung;
    assert_eq!(status, 504);
    let margin = Duration::from_secs(3);
    assert!(took + Duration::from_millis(100) > LIMIT && took < LIMIT + margin, "{took:?}");
}
