//! Rollouts that get a request by a value in its JSON body, and keys out of the body. The body is read
//! on its way, and whatever comes passes unchanged.

use std::time::{Duration, Instant};

use canary_dataplane::cohort::KeyHash;
use canary_integration::{Bootstrap, ClientRequest, RecordedRequest, Rig, Running, TestUpstream};
use canary_model::weight::Weight;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocols::head;

const CHAT: &str = "/v1/chat/completions";

/// Two models behind one path: the rollout `demo` has the model `a`, all on the canary, and `second`
/// has `b`, all on stable. Other models have no rollout.
fn models() -> Rig {
    let matches = |model: &str| json!({"path_prefixes": [CHAT], "request_json": {"pointer": "/model", "values": [model]}});
    let rig =
        Rig::new().reading_bodies().unguarded().bootstrap(Bootstrap::close_at_once).stable(echo());
    rig.canary(echo()).weight(100.0).config(|config| {
        config["rollouts"][0]["match"] = matches("a");
        let mut second = config["rollouts"][0].clone();
        second["name"] = json!("second");
        second["match"] = matches("b");
        second["weight"] = json!(0);
        second["stable"]["version"] = json!("b-1");
        second["canary"]["version"] = json!("b-2");
        config["rollouts"].as_array_mut().unwrap().push(second);
    })
}

/// Answers with the bytes that came.
fn echo() -> TestUpstream {
    TestUpstream::ok().script(|seen: &RecordedRequest| Some((200, seen.body.clone())))
}

fn post(body: impl Into<Bytes>) -> ClientRequest {
    ClientRequest::new(Method::POST, CHAT).header("content-type", "application/json").body(body)
}

/// Sends a request by both protocols; the version that both answers name. The body must have reached
/// the upstream unchanged.
async fn version(rig: &Running, request: ClientRequest, body: &Bytes) -> Option<String> {
    let (mut http1, mut http2) = (rig.client(), rig.client());
    let request = request.body(body.clone());
    let one = http1.send(request.clone()).await.unwrap();
    let two = http2.send(request.http2()).await.unwrap();
    for answer in [&one, &two] {
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "{} of {} bytes", answer.body.len(), body.len());
    }
    assert_eq!(one.version(), two.version());
    one.version().map(str::to_owned)
}

/// As [`version`], over HTTP/2 alone, which Envoy reads in frames of a few kilobytes. Over HTTP/1.1 it
/// may read a megabyte at once; together with what is held, that is more than its buffer limit, and it
/// answers 413.
async fn version_over_http2(rig: &Running, request: ClientRequest, body: &Bytes) -> Option<String> {
    let answer = rig.client().send(request.body(body.clone()).http2()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "{} of {} bytes", answer.body.len(), body.len());
    answer.version().map(str::to_owned)
}

#[tokio::test]
async fn two_models_behind_one_path_are_two_rollouts() {
    let rig = models().start().await;
    for (body, expected) in [
        (r#"{"model": "a", "messages": []}"#, Some("1.1.0")),
        (r#"{"messages": [{"content": "\"model\": \"b\""}], "model": "a"}"#, Some("1.1.0")),
        (r#"{"model": "\u0062"}"#, Some("b-1")),
        (r#"{"model": "b", "model": "a"}"#, Some("b-1")),
        (r#"{"model": "c"}"#, None),
        (r#"{"model": ["a"]}"#, None),
        (r#"{"messages": []}"#, None),
        (r#"{"model": "a"#, None),
        ("model=a", None),
        ("", None),
    ] {
        let found = version(&rig, post(""), &Bytes::from_static(body.as_bytes())).await;
        assert_eq!(found.as_deref(), expected, "{body}");
    }
    let a = Bytes::from_static(br#"{"model": "a"}"#);
    let typed = |kind: &str| ClientRequest::new(Method::POST, CHAT).header("content-type", kind);
    for (kind, expected) in [
        ("Application/JSON; charset=utf-8", Some("1.1.0")),
        ("application/vnd.chat+json", Some("1.1.0")),
        ("text/plain", None),
        ("application/grpc+json", None),
    ] {
        assert_eq!(version(&rig, typed(kind), &a).await.as_deref(), expected, "{kind}");
    }
    assert_eq!(version(&rig, post("").path("/v1/other"), &a).await, None);
    assert_eq!(rig.request(ClientRequest::get(CHAT)).await.version(), None);
    assert_eq!(rig.request(post(a)).await.upstream(), Some("1.1.0"), "the canary's cluster has it");
    unharmed_json(&rig).await;
}

/// The filter lives on: it still tells the models apart.
async fn unharmed_json(rig: &Running) {
    let log = rig.logs();
    for word in ["panicked", "[critical]", "Function: proxy_"] {
        assert!(!log.contains(word), "{word} in the log:\n{log}");
    }
    for _ in 0..8 {
        assert_eq!(rig.request(post(r#"{"model": "a"}"#)).await.version(), Some("1.1.0"));
        assert_eq!(rig.request(post(r#"{"model": "b"}"#)).await.version(), Some("b-1"));
    }
}

/// Writes in pieces that Envoy reads one by one.
async fn drip(stream: &mut TcpStream, pieces: impl Iterator<Item = Vec<u8>>) {
    for piece in pieces {
        stream.write_all(&piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads an answer with a content-length; its head and its body.
async fn answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let head = head(stream).await;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.expect("a length").parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (head, body)
}

fn head_of(framing: &str) -> String {
    format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
    )
}

/// Byte by byte, by length and in chunks, and several requests on one connection.
#[tokio::test]
async fn a_body_that_comes_in_drips_is_read() {
    let rig = models().start().await;
    let mut stream = rig.dial().await;
    for (model, version) in [("a", "1.1.0"), ("b", "b-1"), ("a", "1.1.0")] {
        let body = format!("{{\"messages\": [1, 2.5], \"model\": \"{model}\", \"stream\": true}}");
        let head = head_of(&format!("content-length: {}", body.len()));
        stream.write_all(head.as_bytes()).await.unwrap();
        drip(&mut stream, body.bytes().map(|byte| vec![byte])).await;
        let (head, echoed) = answer(&mut stream).await;
        assert!(head.contains(&format!("x-canary-version: {version}")), "{head}");
        assert_eq!(String::from_utf8(echoed).unwrap(), body);

        stream.write_all(head_of("transfer-encoding: chunked").as_bytes()).await.unwrap();
        let chunk = |byte: u8| format!("1\r\n{}\r\n", char::from(byte)).into_bytes();
        drip(&mut stream, body.bytes().map(chunk)).await;
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        let (head, echoed) = answer(&mut stream).await;
        assert!(head.contains(&format!("x-canary-version: {version}")), "{head}");
        assert_eq!(String::from_utf8(echoed).unwrap(), body);
    }
    unharmed_json(&rig).await;
}

/// Requests that a client sends without waiting for answers are held and decided one after the other.
#[tokio::test]
async fn pipelined_requests_are_told_apart() {
    let rig = models().start().await;
    let mut stream = rig.dial().await;
    let models = ["a", "b", "c", "a"];
    let mut sent = String::new();
    for model in models {
        let body = format!("{{\"model\": \"{model}\"}}");
        sent += &head_of(&format!("content-length: {}", body.len()));
        sent += &body;
    }
    stream.write_all(sent.as_bytes()).await.unwrap();
    for (model, version) in
        models.into_iter().zip([Some("1.1.0"), Some("b-1"), None, Some("1.1.0")])
    {
        let (head, body) = answer(&mut stream).await;
        assert_eq!(String::from_utf8(body).unwrap(), format!("{{\"model\": \"{model}\"}}"));
        let named = head.lines().find_map(|line| line.strip_prefix("x-canary-version: "));
        assert_eq!(named, version, "{model}");
    }
}

/// A body of 50 MB is neither held as a whole, which Envoy's buffer limit would refuse with a 413, nor
/// changed.
#[tokio::test]
async fn an_upload_of_any_size_passes_unchanged() {
    let rig = models().start().await;
    let filler = |bytes: usize| (0..bytes).map(|at| b'a' + (at % 23) as u8).collect::<Vec<u8>>();
    let upload = |before: &str, bytes: usize, after: &str| {
        Bytes::from([before.as_bytes(), &filler(bytes), after.as_bytes()].concat())
    };
    let large = 50_000_000;
    let late = upload("{\"x\": \"", large, "\", \"model\": \"a\"}");
    assert_eq!(version_over_http2(&rig, post(""), &late).await, None);
    for (body, expected) in [
        (upload("{\"model\": \"a\", \"x\": \"", large, "\"}"), Some("1.1.0")),
        (upload("{\"x\": \"", 60_000, "\", \"model\": \"a\"}"), Some("1.1.0")),
        (upload("{\"x\": \"", 66_000, "\", \"model\": \"a\"}"), None),
    ] {
        assert_eq!(version(&rig, post(""), &body).await.as_deref(), expected, "{}", body.len());
    }
    unharmed_json(&rig).await;
}

/// The largest `max_body` stays below Envoy's buffer limit.
#[tokio::test]
async fn the_largest_body_that_is_held_is_not_refused() {
    let rig =
        models().rollout(|rollout| rollout["match"]["request_json"]["max_body"] = json!("512KiB"));
    let rig = rig.start().await;
    let body =
        |filler| Bytes::from(format!("{{\"x\": \"{}\", \"model\": \"a\"}}", "x".repeat(filler)));
    for (filler, expected) in [(520_000, Some("1.1.0")), (530_000, None)] {
        let found = version(&rig, post(""), &body(filler)).await;
        assert_eq!(found.as_deref(), expected, "{filler}");
    }
    assert_eq!(version_over_http2(&rig, post(""), &body(5_000_000)).await, None);
}

/// After a second, the request goes on as one that doesn't match, and the rest of it passes unread. If
/// it were still held, the model in the last bytes would send it to the canary.
#[tokio::test]
async fn a_slow_upload_is_not_waited_for() {
    let rig = models().start().await;
    let body = "{\"x\": 1, \"model\": \"a\"}";
    let mut stream = rig.dial().await;
    let (early, late) = body.split_at(8);
    let head = head_of(&format!("content-length: {}", body.len()));
    stream.write_all(format!("{head}{early}").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    stream.write_all(late.as_bytes()).await.unwrap();
    let (head, echoed) = answer(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("x-canary-version"), "{head}");
    assert_eq!(String::from_utf8(echoed).unwrap(), body);
    unharmed_json(&rig).await;
}

/// A tick decides about a request without a body that says enough, too: here by the next source of a
/// key. What it decided is what is counted and named.
#[tokio::test]
async fn a_late_request_gets_the_version_of_its_next_key() {
    let rig = Rig::new().reading_bodies().unguarded().stable(echo()).canary(echo());
    let rig = rig.affinity(json!([{"request_json": "/user"}, {"header": "x-user"}])).weight(50.0);
    let rig = rig.start().await;
    let users: Vec<String> = (0..12).map(|user| format!("u{user}")).collect();
    let mut streams = Vec::new();
    for user in &users {
        let mut stream = rig.dial().await;
        let head = head_of(&format!("x-user: {user}\r\ncontent-length: 2"));
        stream.write_all(format!("{head}{{").as_bytes()).await.unwrap();
        streams.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    for (stream, user) in streams.iter_mut().zip(&users) {
        stream.write_all(b"}").await.unwrap();
        let (head, _) = answer(stream).await;
        let version = at_half(user);
        assert!(head.contains(&format!("x-canary-version: {version}")), "{user} {head}");
        assert!(head.contains(&format!("x-upstream: {version}")), "{user} {head}");
    }
    rig.counted(12).await;
}

/// The version that this key gets at 50 %.
fn at_half(key: &str) -> &'static str {
    let bucket = KeyHash::new("demo/1.1.0", key.as_bytes()).bucket();
    if bucket.on_canary(Weight::parse_percent("50").unwrap()) { "1.1.0" } else { "1.0.0" }
}

#[tokio::test]
async fn a_key_in_the_body_keeps_its_client_on_its_version() {
    let rig = Rig::new().reading_bodies().stable(echo()).canary(echo());
    let rig = rig.affinity(json!([{"request_json": "/user"}])).weight(50.0).start().await;
    for user in 0..20 {
        for (value, key) in
            [(json!(format!("u{user}")), format!("u{user}")), (json!(user), user.to_string())]
        {
            let body = json!({"messages": ["x"], "user": value}).to_string();
            let found = version(&rig, post(""), &Bytes::from(body)).await;
            assert_eq!(found.as_deref(), Some(at_half(&key)), "{key}");
        }
    }
}

/// Envoy asks for the body although the headers are held.
#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let rig = models().start().await;
    let body = "{\"model\": \"a\"}";
    let mut stream = rig.dial().await;
    let framing = format!("expect: 100-continue\r\ncontent-length: {}", body.len());
    stream.write_all(head_of(&framing).as_bytes()).await.unwrap();
    let interim = head(&mut stream).await;
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    stream.write_all(body.as_bytes()).await.unwrap();
    let (head, _) = answer(&mut stream).await;
    assert!(head.contains("x-canary-version: 1.1.0"), "{head}");
}

/// A client that leaves while its request is held leaves nothing behind: no count, and nothing that a
/// later tick would trip over.
#[tokio::test]
async fn a_client_that_leaves_while_it_is_held_is_forgotten() {
    let rig = models().start().await;
    for _ in 0..20 {
        let mut stream = rig.dial().await;
        let sent = format!("{}{{\"mod", head_of("content-length: 100"));
        stream.write_all(sent.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    unharmed_json(&rig).await;
    let counted = rig.counted(8).await;
    assert_eq!(counted.metric_of("canary", "rq_total"), 8, "those that were decided");
}

/// A request that is held when a configuration is pushed is decided by the one that it came under.
#[tokio::test]
async fn a_pushed_configuration_leaves_held_requests_alone() {
    let mut rig = models().start().await;
    let mut stream = rig.dial().await;
    let sent = format!("{}{{\"x\": 1", head_of("content-length: 9"));
    stream.write_all(sent.as_bytes()).await.unwrap();
    rig.push_config(|config| config["rollouts"][0]["salt"] = json!("other"));
    rig.configured(2).await;
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    stream.write_all(b" }").await.unwrap();
    let (head, _) = answer(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("x-canary-version"), "{head}");
    unharmed_json(&rig).await;
}

/// The module without body hooks says which field needs them.
#[tokio::test]
async fn the_headers_module_refuses_it() {
    let with = |rollout: &mut Value| {
        rollout["match"] = json!({"request_json": {"pointer": "/model", "values": ["a"]}});
        rollout["affinity"] = json!([{"request_json": "/user"}]);
    };
    let mut rig = Rig::new().start().await;
    rig.push_config(|config| with(&mut config["rollouts"][0]));
    let refused = async || rig.stat("filter.config_rejected").await;
    rig.eventually("the push is refused", refused, |count| *count > 0).await;
    for field in ["match.request_json", "affinity[0].request_json"] {
        let message = format!("rollouts[0].{field}: this module has no body hooks");
        assert!(rig.logs().contains(&message), "{}", rig.logs());
    }
    assert_eq!(rig.get("/").await.version(), Some("1.0.0"), "the last good one stays in force");
}

/// Trailers end a request: one that is still held when they come is decided at once, with or without
/// what it was held for.
#[tokio::test]
async fn trailers_end_a_held_request() {
    let rig = models().bootstrap(|bootstrap| {
        bootstrap.connection_manager()["http_protocol_options"] = json!({"enable_trailers": true});
    });
    let rig = rig.start().await;
    let send = async |body: &str| {
        let mut stream = rig.dial().await;
        let sent =
            format!("{}{:x}\r\n{body}\r\n", head_of("transfer-encoding: chunked"), body.len());
        stream.write_all(sent.as_bytes()).await.unwrap();
        // Envoy hands over the chunk alone, so that it is the trailers that end the request.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let began = Instant::now();
        stream.write_all(b"0\r\nx-sum: 1\r\n\r\n").await.unwrap();
        let (head, echoed) = answer(&mut stream).await;
        assert_eq!(String::from_utf8(echoed).unwrap(), body);
        (head, began.elapsed())
    };
    let (answers, callbacks) =
        rig.traced(async { [send("{\"x\": 1").await, send("{\"model\": \"b\"}").await] }).await;
    let trailers = callbacks.iter().filter(|callback| callback.name == "proxy_on_request_trailers");
    assert_eq!(trailers.count(), 2);
    let [(undecided, took), (decided, _)] = answers;
    assert!(!undecided.contains("x-canary-version"), "{undecided}");
    assert!(took < Duration::from_millis(900), "the tick would have let it go on later: {took:?}");
    assert!(decided.contains("x-canary-version: b-1"), "{decided}");
    unharmed_json(&rig).await;
}
