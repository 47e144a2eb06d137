//! Responses that break off after their headers: failures in both modules, by HTTP/1.1, HTTP/2 and gRPC,
//! unless the client left. What Envoy says of each end is in `code_details.rs`.

use std::path::PathBuf;
use std::sync::Arc;

use canary_integration::{
    Bootstrap, ClientRequest, Latch, RawAnswer, Rig, Running, TestUpstream, artifacts,
};
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::json;

pub(crate) fn modules() -> [PathBuf; 2] {
    [artifacts::filter_without_body_hooks(), artifacts::filter()]
}

/// A request by HTTP/1.1, HTTP/2 or gRPC.
pub(crate) fn asks(path: &str) -> [ClientRequest; 3] {
    let grpc = ClientRequest::new(Method::POST, path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    [ClientRequest::get(path), ClientRequest::get(path).http2(), grpc.http2()]
}

/// A rig without a guard that sends everything to the canary.
fn rig(module: PathBuf) -> Rig {
    Rig::new().unguarded().weight(100.0).wasm(&module)
}

async fn canary<const N: usize>(rig: &Running, requests: u64, metrics: [&str; N]) -> [u64; N] {
    let stats = rig.counted(requests).await;
    metrics.map(|metric| stats.metric_of("canary", metric))
}

const COUNTS: [&str; 4] = ["rq_failure", "rq_broken", "rq_abandoned", "rq_2xx"];

fn begun(ask: &ClientRequest, latch: &Latch) -> RawAnswer {
    let answer = RawAnswer::new(200);
    let typed =
        if ask.is_grpc() { answer.header("content-type", "application/grpc") } else { answer };
    typed.data(&b"\0\0\0\0\0"[..]).wait(latch)
}

/// Answers so, and reads what comes. The answer goes on when the client has its headers.
async fn answered(rig: &Running, ask: ClientRequest, answer: RawAnswer, latch: &Latch) {
    rig.canary().change(|behavior| behavior.raw = Some(Arc::new(move |_| Some(answer.clone()))));
    let mut client = rig.client();
    let response = client.begin(ask).await.unwrap();
    latch.open();
    let _whole_or_broken = response.into_body().collect().await;
}

#[tokio::test]
async fn what_the_upstream_breaks_is_a_failure_and_what_is_complete_isnt() {
    for module in modules() {
        let rig = rig(module).start().await;
        let (mut total, mut broken) = (0, 0);
        for ask in asks("/") {
            let latch = Latch::default();
            let begun = || begun(&ask, &latch);
            let whole = match ask.is_grpc() {
                true => begun().trailers(&[("grpc-status", "0")]),
                false => begun().end(),
            };
            answered(&rig, ask.clone(), whole, &latch).await;
            total += 1;
            assert_eq!(canary(&rig, total, COUNTS).await, [broken, broken, 0, total], "complete");
            for (what, answer) in [
                ("too short", begun().length(10).close()),
                ("no last chunk", begun().close()),
                ("TCP reset", begun().reset()),
                ("stream reset", begun().reset_stream(2)),
                ("protocol error", begun().garbage()),
            ] {
                answered(&rig, ask.clone(), answer, &latch).await;
                (total, broken) = (total + 1, broken + 1);
                let counted = canary(&rig, total, COUNTS).await;
                assert_eq!(counted, [broken, broken, 0, total], "{what}, {ask:?}");
            }
        }
    }
}

/// By gRPC, an end without a status is broken, too, and nothing is if `broken` is off.
#[tokio::test]
async fn grpc_without_a_status_is_broken_unless_that_is_off() {
    for (on, failed) in [(true, 2), (false, 0)] {
        let rule =
            move |rollout: &mut serde_json::Value| rollout["failure"] = json!({"broken": on});
        let rig = rig(artifacts::filter_without_body_hooks()).rollout(rule).start().await;
        let [_, _, ask] = asks("/");
        let latch = Latch::default();
        answered(&rig, ask.clone(), begun(&ask, &latch).end(), &latch).await;
        answered(&rig, ask.clone(), begun(&ask, &latch).reset_stream(2), &latch).await;
        assert_eq!(canary(&rig, 2, COUNTS).await, [failed, failed, 0, 2]);
    }
}

fn limits(bootstrap: &mut Bootstrap) {
    for (path, limit) in [
        ("/timeout", json!({"timeout": "0.3s"})),
        ("/duration", json!({"max_stream_duration": {"max_stream_duration": "0.3s"}})),
        ("/idle", json!({"idle_timeout": "0.3s"})),
    ] {
        let mut route = json!({"cluster": "demo-canary", "timeout": "0s"});
        route.as_object_mut().unwrap().extend(limit.as_object().unwrap().clone());
        bootstrap.add_route(json!({"match": {"prefix": path}, "route": route}));
    }
}

/// Before the headers, Envoy answers itself: a failure with a status of its own, but not broken.
#[tokio::test]
async fn what_envoys_limits_cut_off_is_broken_but_envoys_own_answer_isnt() {
    for module in modules() {
        let hanging = TestUpstream::ok().with(|behavior| {
            behavior.raw = Some(Arc::new(|seen| {
                let grpc = seen.headers.contains_key("te");
                let [http, _, call] = asks("/");
                Some(match seen.path.ends_with("before") {
                    true => RawAnswer::headless(200).hang(),
                    false => begun(if grpc { &call } else { &http }, &Latch::default()),
                })
            }));
        });
        let rig = rig(module).canary(hanging).bootstrap(limits).start().await;
        let (mut total, mut broken) = (0, 0);
        for path in ["/timeout", "/duration", "/idle"] {
            for when in ["before", "after"] {
                for ask in asks(&format!("{path}/{when}")) {
                    let _cut_off = rig.client().send(ask.clone()).await;
                    (total, broken) = (total + 1, broken + u64::from(when == "after"));
                    let counted = canary(&rig, total, ["rq_failure", "rq_broken"]).await;
                    assert_eq!(counted, [total, broken], "{ask:?}");
                }
            }
        }
    }
}

/// A client that leaves: before the response began, the request is abandoned; after it, its status
/// decides, and a gRPC call is abandoned. None of them is a failure, and none has a time.
#[tokio::test]
async fn a_client_that_leaves_is_no_failure() {
    for module in modules() {
        let rig = rig(module).bootstrap(Bootstrap::close_at_once).start().await;
        let latch = Latch::default();
        let (mut total, mut abandoned) = (0, 0);
        for ask in asks("/") {
            let answer = begun(&ask, &latch);
            let script = move |_: &_| Some(answer.clone());
            rig.canary().change(|behavior| behavior.raw = Some(Arc::new(script)));
            let mut client = rig.client();
            drop(client.begin(ask.clone()).await.unwrap());
            drop(client);
            (total, abandoned) = (total + 1, abandoned + u64::from(ask.is_grpc()));
            let counted = canary(&rig, total, ["rq_failure", "rq_broken", "rq_abandoned"]).await;
            assert_eq!(counted, [0, 0, abandoned], "after the headers, {ask:?}");
            rig.canary().change(|behavior| {
                behavior.raw = Some(Arc::new(|_| Some(RawAnswer::headless(200).hang())));
            });
            let seen = rig.canary().seen();
            let mut client = rig.client();
            let reached = async || rig.canary().seen();
            tokio::select! {
                answer = client.begin(ask.clone()) => panic!("{answer:?}"),
                _ = rig.eventually("the request is there", reached, |now| *now > seen) => {}
            }
            drop(client);
            (total, abandoned) = (total + 1, abandoned + 1);
            let counted = canary(&rig, total, ["rq_failure", "rq_broken", "rq_abandoned"]).await;
            assert_eq!(counted, [0, 0, abandoned], "before the headers, {ask:?}");
        }
        assert_eq!(rig.stats().await.samples("canary", "rq_time_us"), 0);
    }
}

/// The canary that was promoted to 100 %: it closes every response in the middle of its body. The guard
/// stops it after as few failures as one that answers 500.
#[tokio::test]
async fn the_guard_stops_a_canary_whose_responses_break_off() {
    for module in modules() {
        let truncated = RawAnswer::new(200).length(100).data("half of it").close();
        let canary = TestUpstream::ok().raw(truncated);
        let rig = Rig::new().canary(canary).weight(5.0).wasm(&module).start().await;
        let mut clients: Vec<_> = (0..16).map(|_| rig.client()).collect();
        let probe = async || rig.stat("demo.guard_tripped").await;
        while probe().await == 0 {
            for client in &mut clients {
                if client.send(ClientRequest::get("/")).await.is_err() {
                    *client = rig.client();
                }
            }
        }
        let seen = rig.canary().seen();
        assert!((6..=7).contains(&seen), "{seen}");
        assert_eq!(rig.stat("demo.weight_ppm").await, 0);
        rig.load(200).await;
        let stats = rig.stats().await;
        assert_eq!(stats.metric_of("canary", "rq_broken"), seen);
        assert_eq!(rig.canary().seen(), seen);
    }
}
