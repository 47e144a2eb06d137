//! What HTTP allows beside a plain request and its answer: HEAD and other methods, interim answers,
//! clients that leave, and Envoy's own refusals. Each is counted once, by whom it concerns, and none
//! harms the filter.

use std::time::Duration;

use canary_integration::{Bootstrap, ClientRequest, Load, Rig, Running, TestUpstream};
use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::hostile::{reads_everything, unharmed};

/// The canary's: requests, failures, by class, and clients.
pub(crate) async fn canary(rig: &Running, metrics: &[&str]) -> Vec<u64> {
    let stats = rig.stats().await;
    metrics.iter().map(|metric| stats.metric_of("canary", metric)).collect()
}

/// Everything goes to the canary, and everything that can be read of it is.
pub(crate) fn reader() -> Rig {
    Rig::new()
        .reading_bodies()
        .rollout(reads_everything)
        .bootstrap(Bootstrap::close_at_once)
        .weight(100.0)
}

/// Reads an answer's head.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the head goes on"));
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn head_and_every_other_method() {
    let upstream = TestUpstream::ok().body("a body that HEAD doesn't get");
    let rig = reader().canary(upstream).start().await;
    let methods = ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PURGE", "PROPFIND"];
    for method in methods {
        let ask = ClientRequest::new(Method::from_bytes(method.as_bytes()).unwrap(), "/");
        for ask in [ask.clone(), ask.http2()] {
            let answer = rig.request(ask).await;
            assert_eq!((answer.status, answer.version()), (200, Some("1.1.0")), "{method}");
            assert_eq!(answer.body.is_empty(), method == "HEAD");
        }
    }
    rig.counted(16).await;
    assert_eq!(canary(&rig, &["rq_total", "rq_2xx", "rq_failure"]).await, [16, 16, 0]);
    unharmed(&rig).await;
}

/// An upstream that says `103 Early Hints` before each answer, which no library here does.
async fn hinting() -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
                let answer = "HTTP/1.1 200 OK\r\nx-upstream: raw\r\ncontent-length: 2\r\n\r\nok";
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let said = format!("{hints}{hints}{answer}");
                    stream.write_all(said.as_bytes()).await.expect("Envoy reads it");
                }
            });
        }
    });
    at
}

#[tokio::test]
async fn interim_answers_are_no_answers() {
    let at = hinting().await;
    for proxied in [false, true] {
        let raw = move |bootstrap: &mut Bootstrap| {
            bootstrap.add_cluster("raw", at);
            let manager = bootstrap.connection_manager();
            manager["proxy_100_continue"] = proxied.into();
            manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] =
                "raw".into();
        };
        let rig = reader().bootstrap(raw).start().await;
        for _ in 0..5 {
            for ask in
                [ClientRequest::get("/"), ClientRequest::get("/").header("expect", "100-continue")]
            {
                let answer = rig.request(ask).await;
                assert_eq!((answer.status, answer.upstream()), (200, Some("raw")));
                assert_eq!(answer.version(), Some("1.1.0"));
            }
        }
        rig.counted(10).await;
        assert_eq!(canary(&rig, &["rq_total", "rq_2xx", "rq_failure"]).await, [10, 10, 0]);
    }
}

#[tokio::test]
async fn expect_100_continue() {
    let rig = reader().start().await;
    let mut stream = rig.dial().await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 100"));
    stream.write_all(b"body").await.unwrap();
    let head = head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("x-canary-version: 1.1.0"), "{head}");
    rig.counted(1).await;
    assert_eq!(canary(&rig, &["rq_total", "rq_2xx"]).await, [1, 1]);
}

/// How many requests have reached the filter chain.
async fn begun(rig: &Running) -> u64 {
    let stats =
        rig.admin().json("/stats?filter=^http.ingress.downstream_rq_total$&format=json").await;
    stats["stats"][0]["value"].as_u64().unwrap_or_default()
}

/// Clients that leave before the answer, in the middle of their own body, and in the middle of the
/// answer's: each is a request, none is the version's failure, and nothing trips.
#[tokio::test]
async fn clients_that_leave_are_no_failures() {
    let slow = TestUpstream::ok().latency_ms(5_000);
    let rig = Rig::new().canary(slow).affinity(json!([{"header": "x-user-id"}])).weight(100.0);
    let rig = rig.workers(1).start().await;
    let get = "GET / HTTP/1.1\r\nhost: a\r\nx-user-id: 1\r\n\r\n";
    let upload = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nonly this";
    let mut sent = begun(&rig).await;
    for request in [get, upload] {
        for _ in 0..20 {
            let mut stream = rig.dial().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            sent += 1;
            rig.eventually("Envoy has it", async || begun(&rig).await, |begun| *begun == sent)
                .await;
            drop(stream);
        }
    }
    rig.counted(40).await;
    rig.judged(40).await;
    let counted =
        canary(&rig, &["rq_total", "rq_failure", "client_failure", "rq_2xx", "rq_5xx"]).await;
    assert_eq!(counted, [40, 0, 0, 0, 0]);
    // They are no trials either: not as requests, and not as clients.
    let trials = ["rq_abandoned", "judged_unanswered", "judged_total", "client_total"];
    assert_eq!(canary(&rig, &trials).await, [40, 40, 0, 0]);

    let large = vec![b'x'; 8_000_000];
    rig.canary().change(|behavior| {
        (behavior.latency, behavior.body) = (Duration::ZERO, Some(large.into()))
    });
    for _ in 0..10 {
        let mut stream = rig.dial().await;
        stream.write_all(get.as_bytes()).await.unwrap();
        assert!(head(&mut stream).await.contains("x-canary-version: 1.1.0"));
        drop(stream);
    }
    rig.counted(50).await;
    rig.judged(50).await;
    assert_eq!(canary(&rig, &["rq_total", "rq_failure", "rq_2xx"]).await, [50, 0, 10]);
    // Their response had begun, and the client's first request that counts is one of them.
    assert_eq!(canary(&rig, &["rq_abandoned", "client_total"]).await, [40, 1]);
    rig.canary().change(|behavior| behavior.body = None);
    unharmed(&rig).await;
    assert_eq!(rig.stat("demo.guard_tripped").await, 0);
}

/// By HTTP/2, where one connection carries many requests, all of which end at once.
#[tokio::test]
async fn a_connection_that_breaks_takes_its_requests_along() {
    let rig = Rig::new().canary(TestUpstream::ok().latency_ms(20_000)).weight(100.0).start().await;
    let traffic =
        rig.load(Load::ENDLESS).concurrency(30).each(|_| ClientRequest::get("/").http2()).spawn();
    rig.eventually("thirty under way", async || rig.canary().seen(), |seen| *seen == 30).await;
    drop(traffic);
    rig.counted(30).await;
    assert_eq!(canary(&rig, &["rq_failure", "rq_5xx", "rq_2xx"]).await, [0, 0, 0]);
    rig.canary().change(|behavior| behavior.latency = Duration::ZERO);
    unharmed(&rig).await;
}

/// Puts a limit on bodies before or behind the filter.
fn limit_bodies(bootstrap: &mut Bootstrap, place: usize) {
    let buffer = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer";
    let filter =
        json!({"name": "buffer", "typed_config": {"@type": buffer, "max_request_bytes": 1_000}});
    bootstrap.connection_manager()["http_filters"].as_array_mut().unwrap().insert(place, filter);
}

/// A 413 of a filter behind ours answers a request that was decided; one of a filter before ours
/// answers a request that we never saw.
#[tokio::test]
async fn bodies_that_envoy_refuses() {
    for (place, stamped) in [(1, true), (0, false)] {
        let limited = move |bootstrap: &mut Bootstrap| limit_bodies(bootstrap, place);
        let rig = reader().bootstrap(limited).start().await;
        for ask in
            [ClientRequest::new(Method::POST, "/"), ClientRequest::new(Method::POST, "/").http2()]
        {
            let answer = rig.request(ask.clone().body(vec![b'x'; 100_000])).await;
            assert_eq!((answer.status, answer.version().is_some()), (413, stamped));
            assert_eq!(rig.request(ask.body("small")).await.status, 200);
        }
        let refused = if stamped { 2 } else { 0 };
        rig.counted(2 + refused).await;
        let counted = canary(&rig, &["rq_2xx", "rq_4xx", "rq_failure"]).await;
        assert_eq!(counted, [2, refused, 0]);
        unharmed(&rig).await;
    }
}

/// A 431 comes before any filter.
#[tokio::test]
async fn headers_that_envoy_refuses() {
    let rig = reader().start().await;
    let long = ClientRequest::get("/").header("x-long", "x".repeat(70_000));
    let many = (0..200)
        .fold(ClientRequest::get("/"), |ask, number| ask.header("x-many", number.to_string()));
    for ask in [long, many] {
        let answer = rig.request(ask).await;
        assert_eq!((answer.status, answer.version()), (431, None));
    }
    assert_eq!(rig.get("/").await.version(), Some("1.1.0"));
    rig.counted(1).await;
    unharmed(&rig).await;
}
