//! What Envoy says of a request's end: status, response flags and `response.code_details`, for every
//! way an answer can end, by HTTP/1.1, HTTP/2 and gRPC. The filter tells broken answers by these
//! words, so a version of Envoy that changes them has to fail here. (The access log is written at
//! the same moment as the filter's last callback, and from the same values.)

use std::fs;
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use canary_integration::{
    Bootstrap, ClientRequest, Latch, RawAnswer, Rig, Running, TestClient, TestUpstream, whole_lines,
};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// The protocols an answer comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
    Grpc,
}

use Protocol::{Grpc, Http1, Http2};

impl Protocol {
    fn ask(self, path: &str) -> ClientRequest {
        match self {
            Http1 => ClientRequest::get(path),
            Http2 => ClientRequest::get(path).http2(),
            Grpc => ClientRequest::new(Method::POST, path)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .http2(),
        }
    }
}

/// A rig without the filter, whose Envoy logs how each request ended.
struct Measured {
    rig: Running,
    log: PathBuf,
    _dir: tempfile::TempDir,
    rows: usize,
    wrong: Vec<String>,
}

impl Measured {
    async fn start(rig: Rig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("access.log");
        let rig = rig.without_filter().bootstrap(|bootstrap| log_to(bootstrap, &log));
        Self { rig: rig.start().await, log, _dir: dir, rows: 0, wrong: Vec::new() }
    }

    /// Answers as told; the client has the headers when the latch opens.
    async fn answers(
        &mut self,
        what: &str,
        protocol: Protocol,
        answer: RawAnswer,
        latch: &Latch,
        expected: &str,
    ) {
        self.rig.stable().change(|behavior| {
            behavior.raw = Some(Arc::new(move |_| Some(answer.clone())));
        });
        let path = format!("/{}", self.rows);
        self.asks(what, protocol, &path, latch, expected).await;
    }

    /// Sends a request to this path and compares how it ended.
    async fn asks(
        &mut self,
        what: &str,
        protocol: Protocol,
        path: &str,
        latch: &Latch,
        expected: &str,
    ) {
        let mut client = self.rig.client();
        if let Ok(answer) = client.begin(protocol.ask(path)).await {
            latch.open();
            let _whole_or_broken = answer.into_body().collect().await;
        }
        self.ended(what, protocol, path, expected).await;
    }

    /// Compares how the request to this path ended. Before an answer began, gRPC's clients get a 200
    /// with a status.
    async fn ended(&mut self, what: &str, protocol: Protocol, path: &str, expected: &str) {
        let (mark, log) = (format!("{path} "), self.log.clone());
        let probe = async || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            whole_lines(&text).find_map(|line| line.strip_prefix(&mark).map(str::to_owned))
        };
        let said = self.rig.eventually(what, probe, Option::is_some).await.unwrap();
        let mut expected = expected.to_owned();
        if protocol == Grpc && expected.starts_with('5') {
            expected.replace_range(..3, "200");
        }
        self.rows += 1;
        if said != expected {
            self.wrong.push(format!("{what}, {protocol:?}: {said} (expected {expected})"));
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        assert!(thread::panicking() || self.wrong.is_empty(), "\n{}", self.wrong.join("\n"));
    }
}

fn log_to(bootstrap: &mut Bootstrap, file: &Path) {
    let format = "%PATH% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n";
    bootstrap.connection_manager()["access_log"] = json!([{"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": file, "log_format": {"text_format_source": {"inline_string": format}}}}]);
}

/// A body of ten bytes in two pieces, the second of which comes when the client has the first.
fn half(protocol: Protocol, latch: &Latch) -> RawAnswer {
    match protocol {
        Grpc => RawAnswer::new(200).header("content-type", "application/grpc"),
        Http1 | Http2 => RawAnswer::new(200),
    }
    .data(&b"\0\0\0\0\0"[..])
    .wait(latch)
}

/// An end as each protocol has it.
fn whole(protocol: Protocol, latch: &Latch) -> RawAnswer {
    let half = half(protocol, latch).data(&b"\0\0\0\0\0"[..]);
    if protocol == Grpc { half.trailers(&[("grpc-status", "0")]) } else { half.end() }
}

const COMPLETE: &str = "200 - via_upstream";
const CLOSED_BEFORE: &str = "503 UC upstream_reset_before_response_started{connection_termination}";
const RESET_BEFORE: &str = "503 UR upstream_reset_before_response_started{remote_reset}";
const REFUSED_BEFORE: &str =
    "503 UR upstream_reset_before_response_started{remote_refused_stream_reset}";
const ERROR_BEFORE: &str = "502 UPE upstream_reset_before_response_started{protocol_error}";
const CLOSED: &str = "200 UC upstream_reset_after_response_started{connection_termination}";
const RESET: &str = "200 UR upstream_reset_after_response_started{remote_reset}";
const REFUSED: &str = "200 UR upstream_reset_after_response_started{remote_refused_stream_reset}";
const ERROR: &str = "200 UPE upstream_reset_after_response_started{protocol_error}";

/// Whatever doesn't end as HTTP/1.1 has it is a protocol error; HTTP/2 tells more. A missing gRPC
/// status isn't Envoy's concern.
#[tokio::test]
async fn answers_that_the_upstream_ends_or_breaks() {
    let mut rig = Measured::start(Rig::new()).await;
    for protocol in [Http1, Http2, Grpc] {
        let latch = Latch::default();
        let begun = || half(protocol, &latch);
        let none = || RawAnswer::headless(200);
        let other = || begun().trailers(&[("x-other", "1")]);
        let cases = [
            ("complete", whole(protocol, &latch), [COMPLETE; 2]),
            ("without a byte of the body", RawAnswer::new(200).end(), [COMPLETE; 2]),
            ("without a gRPC status", begun().end(), [COMPLETE; 2]),
            ("trailers without a gRPC status", other(), [COMPLETE; 2]),
            ("closed before headers", none().close(), [CLOSED_BEFORE; 2]),
            ("TCP reset before headers", none().reset(), [CLOSED_BEFORE; 2]),
            ("stream reset before headers", none().reset_stream(2), [CLOSED_BEFORE, RESET_BEFORE]),
            ("stream refused", none().reset_stream(7), [CLOSED_BEFORE, REFUSED_BEFORE]),
            ("GOAWAY before headers", none().go_away(), [CLOSED_BEFORE, REFUSED_BEFORE]),
            ("protocol error before headers", none().garbage(), [ERROR_BEFORE; 2]),
            ("closed after headers", RawAnswer::new(200).wait(&latch).close(), [ERROR, CLOSED]),
            ("too short, closed", begun().length(10).close(), [ERROR, CLOSED]),
            ("too short, ended", begun().length(10).end(), [ERROR; 2]),
            ("too long", begun().length(7).data(&b"12345"[..]).end(), [COMPLETE, ERROR]),
            ("no last chunk", begun().close(), [ERROR, CLOSED]),
            ("TCP reset in the body", begun().reset(), [ERROR, CLOSED]),
            ("stream reset, INTERNAL_ERROR", begun().reset_stream(2), [ERROR, RESET]),
            ("stream reset, CANCEL", begun().reset_stream(8), [ERROR, RESET]),
            ("stream reset, NO_ERROR", begun().reset_stream(0), [ERROR, RESET]),
            ("GOAWAY in the body", begun().go_away(), [ERROR, REFUSED]),
            ("protocol error in the body", begun().garbage(), [ERROR; 2]),
        ];
        for (what, answer, [by_http1, by_http2]) in cases {
            let expected = if protocol == Http1 { by_http1 } else { by_http2 };
            rig.answers(what, protocol, answer, &latch, expected).await;
        }
    }
}

/// Limits that a route or its cluster can have: its path, itself, and what Envoy says.
fn limits() -> [(&'static str, Value, &'static str); 6] {
    [
        ("/timeout", json!({"timeout": "0.3s"}), "UT response_timeout"),
        (
            "/per-try",
            json!({"retry_policy": {"per_try_timeout": "0.3s"}}),
            "UT upstream_per_try_timeout",
        ),
        (
            "/per-try-idle",
            json!({"retry_policy": {"per_try_idle_timeout": "0.3s"}}),
            "UT upstream_per_try_idle_timeout",
        ),
        (
            "/duration",
            json!({"max_stream_duration": {"max_stream_duration": "0.3s"}}),
            "- max_duration_timeout",
        ),
        ("/idle", json!({"idle_timeout": "0.3s"}), "SI stream_idle_timeout"),
        ("/cluster", json!({"cluster": "limited"}), "UMSDR upstream_max_stream_duration_reached"),
    ]
}

fn add_limits(bootstrap: &mut Bootstrap) {
    for (path, limit, _) in limits() {
        let mut route = json!({"cluster": "demo-stable", "timeout": "0s"});
        route.as_object_mut().unwrap().extend(limit.as_object().unwrap().clone());
        bootstrap.add_route(json!({"match": {"prefix": format!("{path}/")}, "route": route}));
    }
}

fn http_options<'a>(bootstrap: &'a mut Bootstrap, cluster: &str) -> &'a mut Value {
    &mut bootstrap.cluster(cluster)["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
}

/// Hangs before its headers for a path that ends so, otherwise after half of its body.
fn hanging() -> TestUpstream {
    TestUpstream::ok().with(|behavior| {
        behavior.raw = Some(Arc::new(|seen| {
            let protocol = if seen.headers.contains_key("te") { Grpc } else { Http1 };
            Some(match seen.path.contains("before") {
                true => RawAnswer::headless(200).hang(),
                false => half(protocol, &Latch::default()),
            })
        }));
    })
}

/// Each limit, before and after the headers: the words are the same, only the status differs.
async fn cut_off(rig: &mut Measured, name: &str, path: &str, said: &str) {
    for protocol in [Http1, Http2, Grpc] {
        for (when, status) in [("before", 504), ("after", 200)] {
            // The limit of a try doesn't run once the headers are there.
            if !(path == "/per-try" && when == "after") {
                let path = format!("{path}/{when}/{protocol:?}");
                let (what, expected) =
                    (format!("{name}, {when} headers"), format!("{status} {said}"));
                rig.asks(&what, protocol, &path, &Latch::default(), &expected).await;
            }
        }
    }
}

#[tokio::test]
async fn answers_that_a_route_or_a_cluster_cuts_off() {
    let other = hanging().start("limited");
    let rig = Rig::new().stable(hanging()).bootstrap(add_limits).bootstrap(|bootstrap| {
        bootstrap.add_cluster("limited", other.at());
        http_options(bootstrap, "limited")["common_http_protocol_options"] =
            json!({"max_stream_duration": "0.3s"});
    });
    let mut rig = Measured::start(rig).await;
    for (path, _, said) in limits() {
        cut_off(&mut rig, path, path, said).await;
    }
}

#[tokio::test]
async fn answers_that_the_connection_manager_cuts_off() {
    let idle: fn(&mut Value) = |manager| manager["stream_idle_timeout"] = "0.3s".into();
    let duration: fn(&mut Value) = |manager| {
        manager["common_http_protocol_options"] = json!({"max_stream_duration": "0.3s"});
    };
    for (limit, said) in [(idle, "SI stream_idle_timeout"), (duration, "- max_duration_timeout")] {
        let rig = Rig::new().stable(hanging()).bootstrap(|bootstrap| {
            let manager = bootstrap.connection_manager();
            limit(manager);
            manager["route_config"]["virtual_hosts"][0]["routes"][1]["route"] =
                json!({"cluster": "demo-stable", "timeout": "0s"});
        });
        cut_off(&mut Measured::start(rig).await, said, "", said).await;
    }
}

/// What a client does to an answer.
#[tokio::test]
async fn answers_that_the_client_leaves() {
    let mut rig =
        Measured::start(Rig::new().stable(hanging()).bootstrap(Bootstrap::close_at_once)).await;
    for protocol in [Http1, Http2, Grpc] {
        for when in ["before", "after"] {
            let path = format!("/{when}/reset/{protocol:?}");
            let mut client = rig.rig.client();
            leave(&rig.rig, &mut client, protocol, &path).await;
            let status = if when == "before" { "0" } else { "200" };
            let closed = format!("{status} DC downstream_remote_disconnect");
            let reset = format!("{status} DR http2.remote_reset");
            let expected = if protocol == Http1 { &closed } else { &reset };
            rig.ended("the client resets its stream", protocol, &path, expected).await;
            if protocol != Http1 {
                let path = format!("/{when}/close/{protocol:?}");
                hang_up(&rig.rig, protocol, &path).await;
                rig.ended("the client closes its connection", protocol, &path, &closed).await;
            }
        }
    }
}

/// Waits until the upstream has the request or the client its headers, and drops it.
async fn leave(rig: &Running, client: &mut TestClient, protocol: Protocol, path: &str) {
    let ask = client.begin(protocol.ask(path));
    if path.contains("before") {
        let reached = reached(rig, path);
        tokio::select! {
            answer = ask => panic!("{answer:?}"),
            () = reached => {}
        }
    } else {
        drop(ask.await.unwrap());
    }
}

async fn reached(rig: &Running, path: &str) {
    let probe = async || rig.stable().requests().iter().any(|seen| seen.path == path);
    rig.eventually("the request is there", probe, |there| *there).await;
}

/// The same by closing an HTTP/2 connection without a word about its streams.
async fn hang_up(rig: &Running, protocol: Protocol, path: &str) {
    let to = rig.address();
    let stream = TcpStream::connect(to).await.unwrap().into_std().unwrap();
    let socket = stream.try_clone().unwrap();
    let io = TokioIo::new(TcpStream::from_std(stream).unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut request = hyper::Request::post(format!("http://{to}{path}"));
    if protocol == Grpc {
        request = request.header("content-type", "application/grpc").header("te", "trailers");
    }
    let body = http_body_util::Empty::<hyper::body::Bytes>::new();
    let answer = tokio::spawn(sender.send_request(request.body(body).unwrap()));
    if path.contains("before") {
        reached(rig, path).await;
        socket.shutdown(Shutdown::Both).unwrap();
    } else {
        let _begun = answer.await.unwrap().unwrap();
        socket.shutdown(Shutdown::Both).unwrap();
    }
}

/// A filter that buffers a whole answer that is larger than the listener's limit (which HTTP/2 doesn't
/// have), and more headers or trailers than Envoy takes.
#[tokio::test]
async fn answers_that_are_too_large() {
    let rig = Rig::new().bootstrap(|bootstrap| {
        let listener = &mut bootstrap.document()["static_resources"]["listeners"][0];
        listener["per_connection_buffer_limit_bytes"] = 4096.into();
        let lua = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";
        let code = "function envoy_on_response(handle) if handle:headers():get('x-buffer') then handle:body() end end";
        let filter = json!({"name": "lua", "typed_config": {"@type": lua, "default_source_code": {"inline_string": code}}});
        bootstrap.connection_manager()["http_filters"].as_array_mut().unwrap().insert(0, filter);
    });
    let mut rig = Measured::start(rig).await;
    for protocol in [Http1, Http2] {
        let latch = Latch::default();
        let large = || RawAnswer::new(200).data(vec![b'x'; 8_000]);
        let latch = &latch;
        let trailers = RawAnswer::new(200).data("x").wait(latch).trailers(&[("x-many", "1"); 200]);
        let many = (0..200).fold(RawAnswer::new(200), |answer, _| answer.header("x-many", "1"));
        let buffered = "500 - response_payload_too_large";
        let cases = [
            ("a buffered body", large().header("x-buffer", "1").end(), [buffered, COMPLETE]),
            ("a streamed body", large().end(), [COMPLETE; 2]),
            ("too many headers", many.end(), [ERROR_BEFORE, RESET_BEFORE]),
            ("too many trailers", trailers, [COMPLETE, RESET]),
        ];
        for (what, answer, [by_http1, by_http2]) in cases {
            let expected = if protocol == Http1 { by_http1 } else { by_http2 };
            rig.answers(what, protocol, answer, latch, expected).await;
        }
    }
}
