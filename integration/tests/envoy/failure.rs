//! What counts as a failure: as configured, by HTTP status or, for gRPC, by its own; and what Envoy
//! answers in a version's place.

use canary_integration::{
    Bootstrap, ClientRequest, Fault, FilterStats, RecordedRequest, Rig, Running, TestUpstream,
};
use hyper::{Method, body::Bytes};
use serde_json::{Value, json};

/// Answers with the status that is the path.
fn by_path() -> TestUpstream {
    TestUpstream::ok()
        .script(|seen: &RecordedRequest| Some((seen.path[1..].parse().ok()?, Bytes::new())))
}

/// A rig without a guard that sends everything to the canary.
fn rig() -> Rig {
    Rig::new().unguarded().weight(100.0)
}

fn of_canary(stats: &FilterStats) -> (u64, u64) {
    (stats.metric_of("canary", "rq_total"), stats.metric_of("canary", "rq_failure"))
}

/// Which of these statuses are failures by a rule.
async fn failures(rule: Value, statuses: &[u16]) -> Vec<u16> {
    let rig = rig().canary(by_path()).rollout(|rollout| rollout["failure"] = json!({"http": rule}));
    let rig = rig.start().await;
    let mut failures = Vec::new();
    let mut counted = (0, 0);
    for status in statuses {
        let answer = rig.get(&format!("/{status}")).await;
        assert_eq!((answer.status, answer.version()), (*status, Some("1.1.0")));
        let now = of_canary(&rig.counted(counted.0 + 1).await);
        if now.1 > counted.1 {
            failures.push(*status);
        }
        counted = now;
    }
    failures
}

#[tokio::test]
async fn http_classes_codes_and_ranges() {
    let statuses = [200, 301, 400, 404, 428, 429, 430, 499, 500, 501, 503, 504, 599];
    let by = async |rule: Value| failures(rule, &statuses).await;
    assert_eq!(by(json!(["5xx"])).await, [500, 501, 503, 504, 599]);
    assert_eq!(by(json!(["429", 404, "500-503", "3xx"])).await, [301, 404, 429, 500, 501, 503]);
    assert_eq!(by(json!([])).await, [0; 0]);
}

/// The statistics of this many calls, each with its own gRPC status.
async fn calls(rule: Option<Value>, trailers_only: bool) -> (u64, u64, u64) {
    let behave = |behavior: &mut canary_integration::Behavior| {
        (behavior.errors, behavior.grpc_trailers_only) = (1.0, trailers_only);
    };
    let rig = rig().canary(TestUpstream::ok().with(behave));
    let rig = match rule {
        Some(rule) => rig.rollout(|rollout| rollout["failure"] = json!({"grpc": rule})),
        None => rig,
    };
    let rig = rig.start().await;
    // 0 to 16 are gRPC's; one beyond them counts as UNKNOWN.
    for status in 0..=17 {
        rig.canary().change(|behavior| behavior.grpc_error = status);
        let answer = rig.request(call("application/grpc+proto")).await;
        let trailer = answer.trailers.get("grpc-status").or(answer.headers.get("grpc-status"));
        assert_eq!(trailer.unwrap(), status.to_string().as_str());
    }
    let stats = rig.counted(18).await;
    let (total, failed) = of_canary(&stats);
    assert_eq!(total, 18);
    (failed, stats.metric_of("canary", "rq_2xx"), stats.metric_of("canary", "rq_5xx"))
}

fn call(content_type: &str) -> ClientRequest {
    ClientRequest::new(Method::POST, "/scorer.v1.Scorer/Score")
        .header("content-type", content_type)
        .http2()
}

#[tokio::test]
async fn grpc_fails_by_its_status_in_trailers_and_in_headers_and_counts_in_its_http_class() {
    for trailers_only in [false, true] {
        // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS, and the unknown code.
        assert_eq!(calls(None, trailers_only).await, (6, 18, 0));
        let some = json!(["RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "UNIMPLEMENTED"]);
        assert_eq!(calls(Some(some), trailers_only).await, (3, 18, 0));
    }
}

/// An answer to a gRPC request that has no gRPC status at all is what gRPC's clients make of it:
/// of a 200 UNKNOWN, of a 404 UNIMPLEMENTED, of a 503 UNAVAILABLE.
#[tokio::test]
async fn grpc_without_a_status_fails_by_what_its_http_status_stands_for() {
    let rig = rig().canary(by_path()).start().await;
    for (total, (status, failed)) in
        [(200, 1), (404, 1), (503, 2), (401, 2)].into_iter().enumerate()
    {
        let ask = call("application/grpc").path(&format!("/{status}"));
        rig.request(ask).await;
        let total = total as u64 + 1;
        assert_eq!(of_canary(&rig.counted(total).await), (total, failed), "{status}");
    }
}

/// Only a content type that begins so is gRPC: another request's `grpc-status` says nothing.
#[tokio::test]
async fn only_grpc_is_judged_by_a_grpc_status() {
    let liar = TestUpstream::ok().header("grpc-status", "14");
    let rig = rig().canary(liar).start().await;
    for content_type in ["application/json", "text/application/grpc", "application/grp", ""] {
        // HTTP/2's shape alone doesn't make it gRPC.
        let ask = ClientRequest::new(Method::POST, "/").header("content-type", content_type);
        rig.request(ask.clone()).await;
        rig.request(ask.http2()).await;
    }
    assert_eq!(of_canary(&rig.counted(8).await), (8, 0));
}

fn hasty(bootstrap: &mut Bootstrap) {
    let routes = &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
    routes[0]["route"]["timeout"] = "0.2s".into();
}

/// Envoy's own answers in the canary's place: connection refused, reset, timeout, no healthy
/// upstream. Each is the canary's failure, in HTTP and in gRPC.
async fn local(rig: &Running, what: &str, status: u16) {
    let before = of_canary(&rig.stats().await);
    for ask in [ClientRequest::get("/"), ClientRequest::get("/").http2(), call("application/grpc")]
    {
        let grpc = ask.is_grpc();
        let answer = rig.request(ask).await;
        // A local reply to gRPC is 200 with the status in its headers.
        let expected = if grpc { 200 } else { status };
        assert_eq!((answer.status, answer.upstream()), (expected, None), "{what}");
        assert_eq!(answer.version(), Some("1.1.0"), "{what}");
        assert!(!grpc || answer.headers.contains_key("grpc-status"), "{what}");
    }
    let after = of_canary(&rig.counted(before.0 + 3).await);
    assert_eq!(after, (before.0 + 3, before.1 + 3), "{what}");
}

#[tokio::test]
async fn local_replies_are_the_canarys_failures() {
    let mut rig = rig().canary(TestUpstream::down()).bootstrap(hasty).start().await;
    local(&rig, "connection refused", 503).await;
    rig.canary_mut().up();
    rig.canary().change(|behavior| behavior.fault = Fault::Reset);
    local(&rig, "reset", 503).await;
    rig.canary().change(|behavior| behavior.fault = Fault::Hang);
    local(&rig, "timeout", 504).await;
    let stats = rig.stats().await;
    assert_eq!((stats.metric_of("canary", "rq_5xx"), stats.metric_of("canary", "rq_2xx")), (6, 3));
    assert_eq!(stats.metric_of("stable", "rq_total"), 0);
}

#[tokio::test]
async fn no_healthy_upstream_is_the_canarys_failure() {
    let unhealthy = |bootstrap: &mut Bootstrap| {
        let endpoints = &mut bootstrap.cluster("demo-canary")["load_assignment"]["endpoints"];
        endpoints[0]["lb_endpoints"][0]["health_status"] = "UNHEALTHY".into();
        bootstrap.cluster("demo-canary")["common_lb_config"] =
            json!({"healthy_panic_threshold": {"value": 0}});
    };
    let rig = rig().bootstrap(unhealthy).start().await;
    local(&rig, "no healthy upstream", 503).await;
    assert_eq!(rig.canary().seen(), 0);
}

/// It never came to its status. (An HTTP answer that breaks off was a 200 all the same.)
#[tokio::test]
async fn a_grpc_answer_that_breaks_off_is_a_failure() {
    let rig = rig().canary(TestUpstream::ok().fault(Fault::Truncate)).start().await;
    let broken = rig.client().send(call("application/grpc")).await;
    broken.expect_err("half a message isn't an answer");
    assert_eq!(of_canary(&rig.counted(1).await), (1, 1));
}
