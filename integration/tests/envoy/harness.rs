//! The harness itself: upstreams behave as told, the client sees what is sent, waiting ends. All
//! without the filter, so it's the stable upstream that is put to the test.

use std::time::Duration;

use canary_integration::{ClientRequest, Fault, Latch, RawAnswer, Rig, TestUpstream};
use http_body_util::BodyExt;
use hyper::{Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn errors_are_spread_evenly_and_can_change_while_it_runs() {
    let rig = Rig::new().without_filter().stable(TestUpstream::ok().errors(0.25)).start().await;
    let tally = rig.load(400).await;
    assert_eq!((tally.with_status(503), tally.with_status(200)), (100, 300), "{tally:?}");
    rig.stable().change(|behavior| (behavior.errors, behavior.error_status) = (1.0, 500));
    assert_eq!(rig.get("/").await.status, 500);
}

#[tokio::test]
async fn latency_body_headers_and_scripts_are_as_told() {
    let upstream =
        TestUpstream::ok().latency_ms(30).body(vec![b'x'; 300_000]).header("x-model", "b");
    let upstream = upstream
        .script(|seen| seen.path.starts_with("/teapot").then(|| (418, "short and stout".into())));
    let rig = Rig::new().without_filter().stable(upstream).start().await;
    let answer = rig.get("/").await;
    assert!(answer.took >= Duration::from_millis(30));
    assert_eq!((answer.body.len(), answer.header("x-model")), (300_000, Some("b")));
    let answer = rig.get("/teapot?short").await;
    assert_eq!((answer.status, answer.text().as_str()), (418, "short and stout"));
}

#[tokio::test]
async fn what_goes_wrong_below_http_is_envoys_local_reply() {
    let mut rig =
        Rig::new().without_filter().stable(TestUpstream::ok().fault(Fault::Reset)).start().await;
    assert_eq!((rig.get("/").await.status, rig.get("/").await.upstream()), (503, None));
    rig.stable().change(|behavior| behavior.fault = Fault::Truncate);
    rig.client().send(ClientRequest::get("/")).await.expect_err("half a body isn't an answer");
    rig.stable().change(|behavior| behavior.fault = Fault::None);
    assert_eq!(rig.get("/").await.status, 200);
    rig.stable_mut().down().await;
    let answer = rig.get("/").await;
    assert_eq!((answer.status, answer.upstream()), (503, None));
    rig.stable_mut().up();
    assert_eq!(rig.get("/").await.status, 200);
}

#[tokio::test]
async fn the_clients_protocol_reaches_the_upstream() {
    let rig = Rig::new().without_filter().start().await;
    let post = ClientRequest::new(Method::POST, "/a?b=c")
        .header("x-a", b"\xff")
        .body("text")
        .authority("scorer.example.com");
    rig.request(post.clone()).await;
    rig.request(post.http2()).await;
    let seen = rig.stable().requests();
    assert_eq!(
        seen.iter().map(|seen| seen.version).collect::<Vec<_>>(),
        [Version::HTTP_11, Version::HTTP_2]
    );
    for seen in seen {
        assert_eq!(
            (seen.method, seen.path.ends_with("/a?b=c")),
            (Method::POST, true),
            "{}",
            seen.path
        );
        assert_eq!((&seen.body[..], seen.headers["x-a"].as_bytes()), (&b"text"[..], &b"\xff"[..]));
    }
}

#[tokio::test]
async fn grpc_failures_stand_in_trailers_or_in_headers() {
    let rig = Rig::new().without_filter().stable(TestUpstream::ok().failing(503)).start().await;
    let call = ClientRequest::new(Method::POST, "/scorer.v1.Scorer/Score")
        .header("content-type", "application/grpc")
        .http2();
    let answer = rig.request(call.clone()).await;
    assert_eq!((answer.status, answer.trailers["grpc-status"].to_str().unwrap()), (200, "14"));
    rig.stable().change(|behavior| behavior.grpc_trailers_only = true);
    let answer = rig.request(call.clone()).await;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")));
    rig.stable().change(|behavior| behavior.errors = 0.0);
    assert_eq!(rig.request(call).await.header("grpc-status"), Some("0"));
}

/// A raw answer's pieces come when the test lets them, each by itself.
#[tokio::test]
async fn raw_answers_come_step_by_step() {
    let latch = Latch::default();
    let events = RawAnswer::events(&["data: a\n", "\ndata: b\n\n"], Duration::from_millis(20));
    let upstream = TestUpstream::ok().raw(events.wait(&latch).data("data: [DONE]\n\n").end());
    let rig = Rig::new().without_filter().stable(upstream).start().await;
    for ask in [ClientRequest::get("/"), ClientRequest::get("/").http2()] {
        let mut answer = rig.client().begin(ask).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        for expected in ["data: a\n", "\ndata: b\n\n"] {
            let frame = answer.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        latch.open();
        let rest = answer.body_mut().collect().await.unwrap().to_bytes();
        assert_eq!(rest, "data: [DONE]\n\n");
    }
    assert_eq!(rig.stable().seen(), 2);
}

#[tokio::test]
async fn a_websocket_goes_through() {
    let rig = Rig::new().without_filter().start().await;
    let mut stream = rig.dial().await;
    let hello =
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(hello.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.unwrap()));
    }
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
}

#[tokio::test]
async fn a_paced_load_takes_its_time_and_counts_everything() {
    let rig = Rig::new().without_filter().start().await;
    let traffic = rig.load(100).rate(1_000.0).spawn();
    rig.eventually("some traffic", async || rig.stable().seen(), |seen| *seen > 20).await;
    let tally = traffic.stop().await;
    assert_eq!(tally.outcomes.len() as u64, rig.stable().seen());
    assert!(tally.outcomes[20].at >= Duration::from_millis(15), "{:?}", tally.outcomes[20]);
}

#[tokio::test]
#[should_panic(expected = "last seen: 0")]
async fn a_condition_that_never_holds_says_what_was_seen_last() {
    canary_integration::within(
        Duration::from_millis(30),
        "a miracle",
        async || 0,
        |seen| *seen > 0,
    )
    .await;
}
