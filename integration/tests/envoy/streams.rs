//! What lasts longer than a request and its answer: websockets, and gRPC's streams. Each counts once: a
//! websocket with its headers, a stream when it ends and by how it ended. While it lasts the filter holds nothing back, and no change of
//! the rollout breaks it off.

use std::net::SocketAddr;

use canary_integration::{Behavior, Bootstrap, Rig, Running, TestUpstream};
use http_body_util::{BodyExt, Channel, channel::Sender};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hostile::unharmed;
use crate::protocols::{canary, head, reader};

const UPGRADE: &[u8] =
    b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

async fn echoes(stream: &mut TcpStream) {
    let said = b"{\"label\": \"cat\"}";
    stream.write_all(said).await.unwrap();
    let mut echo = [0; 16];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, said);
}

#[tokio::test]
async fn a_websocket_is_stamped_echoes_and_counts_once_with_its_headers() {
    let mut rig = reader().start().await;
    let mut sockets = Vec::new();
    for _ in 0..8 {
        let mut stream = rig.dial().await;
        stream.write_all(UPGRADE).await.unwrap();
        let head = head(&mut stream).await;
        assert!(
            head.starts_with("HTTP/1.1 101") && head.contains("x-canary-version: 1.1.0"),
            "{head}"
        );
        for _ in 0..3 {
            echoes(&mut stream).await;
        }
        sockets.push(stream);
    }
    // Neither a weight of 0 nor another configuration ends what is connected.
    rig.runtime_modify(&[("canary.demo.weight", "0"), ("canary.demo.enabled", "0")]).await;
    rig.weight_in_force(0).await;
    rig.push_config(|config| config["rollouts"][0]["salt"] = "other".into());
    rig.configured(2).await;
    for stream in &mut sockets {
        echoes(stream).await;
    }
    rig.counted(8).await;
    drop(sockets);
    rig.runtime_modify(&[("canary.demo.weight", ""), ("canary.demo.enabled", "")]).await;
    let counted = canary(&rig, &["rq_total", "rq_failure", "rq_2xx", "rq_5xx"]).await;
    assert_eq!(counted, [8, 0, 0, 0]);
    assert_eq!(rig.stats().await.samples("canary", "rq_time_us"), 0, "its length isn't a latency");
    unharmed(&rig).await;
}

#[tokio::test]
async fn an_upgrade_that_is_refused_is_a_plain_request() {
    let rig = Rig::new()
        .unguarded()
        .canary(TestUpstream::down())
        .bootstrap(Bootstrap::close_at_once)
        .weight(100.0);
    let rig = rig.start().await;
    let mut stream = rig.dial().await;
    stream.write_all(UPGRADE).await.unwrap();
    let head = head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("x-canary-version: 1.1.0"), "{head}");
    rig.counted(1).await;
    assert_eq!(canary(&rig, &["rq_failure", "rq_5xx"]).await, [1, 1]);
}

/// A gRPC stream in both directions.
struct Call {
    say: Sender<Bytes>,
    answer: Response<Incoming>,
    connection: tokio::task::AbortHandle,
}

impl Call {
    async fn begin(to: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let connection = tokio::spawn(connection).abort_handle();
        let (say, body) = Channel::<Bytes>::new(4);
        let request = Request::post(format!("http://{to}/chat.v1.Chat/Talk"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
        assert_eq!(answer.headers()["x-canary-version"], "1.1.0");
        Self { say, answer, connection }
    }

    /// Says something and waits for its echo: it comes although neither side is done.
    async fn echoes(&mut self, message: &'static [u8]) {
        self.say.send_data(Bytes::from_static(message)).await.unwrap();
        let mut heard = Vec::new();
        while heard.len() < message.len() {
            let frame = self.answer.body_mut().frame().await.expect("it goes on").unwrap();
            heard.extend_from_slice(&frame.into_data().expect("no trailers yet"));
        }
        assert_eq!(heard, message);
    }

    /// Ends it as gRPC does, and gives the trailers.
    async fn end(mut self) -> HeaderMap {
        drop(self.say);
        let rest = self.answer.body_mut().collect().await.unwrap();
        rest.trailers().cloned().unwrap_or_default()
    }
}

const MESSAGES: [&[u8]; 3] = [b"\0\0\0\0\x05first", b"\0\0\0\0\x06second", b"\0\0\0\0\0"];

async fn talks(rig: &Running) -> Call {
    let mut call = Call::begin(rig.address()).await;
    for message in MESSAGES {
        call.echoes(message).await;
    }
    call
}

/// A rig whose canary answers gRPC message by message.
fn streaming() -> Rig {
    let stream = |behavior: &mut Behavior| behavior.grpc_stream = true;
    reader().canary(TestUpstream::ok().with(stream))
}

#[tokio::test]
async fn a_grpc_stream_counts_once_by_the_status_in_its_trailers() {
    let mut rig = streaming().start().await;
    let call = talks(&rig).await;
    rig.push_config(|config| config["rollouts"][0]["salt"] = "other".into());
    rig.configured(2).await;
    assert_eq!(canary(&rig, &["rq_total"]).await, [0], "it is still under way");
    assert_eq!(call.end().await["grpc-status"], "0");
    rig.counted(1).await;
    assert_eq!(canary(&rig, &["rq_failure", "rq_2xx"]).await, [0, 1]);
    rig.canary().change(|behavior| behavior.errors = 1.0);
    assert_eq!(talks(&rig).await.end().await["grpc-status"], "14");
    rig.counted(2).await;
    assert_eq!(canary(&rig, &["rq_failure", "rq_2xx"]).await, [1, 2], "as well as it began");
}

/// A client that has heard enough of a stream cancels it or hangs up: gRPC's clients do so every
/// day. Then a missing status isn't a failure; if the server breaks off, it is.
#[tokio::test]
async fn a_grpc_stream_that_the_client_ends_is_no_failure_and_one_that_the_server_ends_is() {
    let mut rig = streaming().start().await;
    for ended in 0..10 {
        let call = talks(&rig).await;
        if ended % 2 == 0 {
            call.connection.abort();
        }
        drop(call);
        rig.counted(ended + 1).await;
    }
    assert_eq!(canary(&rig, &["rq_failure", "rq_2xx", "rq_abandoned"]).await, [0, 10, 10]);
    let mut call = talks(&rig).await;
    rig.canary_mut().down().await;
    let rest = call.answer.body_mut().collect().await;
    assert!(rest.is_err() || rest.is_ok_and(|rest| rest.trailers().is_none()));
    rig.counted(11).await;
    assert_eq!(canary(&rig, &["rq_failure", "rq_2xx", "rq_abandoned"]).await, [1, 11, 10]);
    rig.canary_mut().up();
    unharmed(&rig).await;
}
