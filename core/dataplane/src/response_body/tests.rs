use canary_model::config::Config;
use serde_json::{Value, json};

use super::*;
use crate::signal::SignalValue;

const MS: u64 = 1_000_000;
/// When the response's headers came; its request's came at 0.
const HEADERS_NS: u64 = 5 * MS;

/// A rollout with these fields.
fn rollout(fields: Value) -> Rollout {
    let mut rollout = json!({"name": "r",
        "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"}});
    rollout.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let config = json!({"rollouts": [rollout]});
    Config::parse(config.to_string().as_bytes()).unwrap().rollouts.remove(0)
}

/// The headers of a response: content type and encoding.
struct TypedResponse(&'static str, Option<&'static str>);

const STREAM: TypedResponse = TypedResponse("text/event-stream; charset=utf-8", None);
const PLAIN: TypedResponse = TypedResponse("application/json", None);

impl Response for TypedResponse {
    fn header(&self, name: &str) -> Option<Vec<u8>> {
        match name {
            "content-type" => Some(self.0.into()),
            "content-encoding" => self.1.map(Into::into),
            _ => None,
        }
    }

    fn attribute(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }

    fn attribute_u64(&self, _: &[&str]) -> Option<u64> {
        None
    }
}

fn start() -> ResponseStart {
    ResponseStart {
        status: 200,
        ended: false,
        event_stream: false,
        signals: true,
        now_ns: HEADERS_NS,
        draw: 0,
    }
}

fn begin(rollout: &Rollout, response: &TypedResponse) -> ResponseBody {
    begin_as(rollout, response, &start()).unwrap()
}

/// Reads the content type as the worker does.
fn begin_as(
    rollout: &Rollout,
    response: &TypedResponse,
    start: &ResponseStart,
) -> Option<ResponseBody> {
    let content = response.header("content-type");
    let event_stream = content.is_some_and(|content| crate::sse::is_event_stream(&content));
    ResponseBody::new(rollout, response, &ResponseStart { event_stream, ..*start })
}

/// Hands over a chunk the way the shell does: its bytes only if they are needed.
fn push(rollout: &Rollout, body: &mut ResponseBody, chunk: &str, at_ms: u64) -> BodyProgress {
    let bytes = body.needs_bytes(rollout).then_some(chunk.as_bytes());
    body.push(rollout, chunk.len(), bytes, at_ms * MS)
}

/// A response whose chunks come at these milliseconds, ended.
fn whole(rollout: &Rollout, response: &TypedResponse, chunks: &[(u64, &str)]) -> ResponseBody {
    let mut body = begin(rollout, response);
    for (at_ms, chunk) in chunks {
        push(rollout, &mut body, chunk, *at_ms);
    }
    body.end(rollout);
    body
}

fn timed() -> Rollout {
    rollout(json!({"timings": ["ttfb", "gap"]}))
}

fn times(rollout: &Rollout, response: &TypedResponse, chunks: &[(u64, &str)]) -> [Option<u64>; 2] {
    let body = whole(rollout, response, chunks);
    [body.ttfb_us(0), body.gap_us()]
}

#[test]
fn nothing_is_followed_that_nothing_depends_on() {
    let plain = rollout(json!({}));
    assert!(begin_as(&plain, &PLAIN, &start()).is_none());
    let signal = json!([{"name": "a", "from": {"response_json": ""}, "categories": ["1"]}]);
    let signals = rollout(json!({"signals": signal}));
    let unread = ResponseStart { signals: false, ..start() };
    assert!(begin_as(&signals, &PLAIN, &unread).is_none());
    assert!(begin(&signals, &PLAIN).needs_bytes(&signals));
}

#[test]
fn bodies_are_timed_by_chunks() {
    let rollout = timed();
    assert!(!begin(&rollout, &PLAIN).needs_bytes(&rollout));
    assert_eq!(times(&rollout, &PLAIN, &[(9, "a")]), [Some(9_000), None]);
    let chunks = [(9, ""), (10, "a"), (12, "b"), (13, ""), (20, "c"), (21, "")];
    assert_eq!(times(&rollout, &PLAIN, &chunks), [Some(10_000), Some(5_000)]);
}

#[test]
fn a_response_without_a_body_has_its_first_byte_with_its_headers() {
    let rollout = timed();
    assert_eq!(times(&rollout, &PLAIN, &[]), [Some(5_000), None]);
    assert_eq!(times(&rollout, &PLAIN, &[(8, "")]), [Some(5_000), None]);
    let broke_off = begin(&rollout, &PLAIN);
    assert_eq!(broke_off.ttfb_us(0), None);
    let ended = ResponseStart { ended: true, ..start() };
    let mut body = begin_as(&rollout, &STREAM, &ended).unwrap();
    body.end(&rollout);
    assert_eq!((body.ttfb_us(0), body.fault(&rollout)), (Some(5_000), None));
}

#[test]
fn event_streams_are_timed_by_events_with_content() {
    let events = [
        (6, ": waiting\n\n"),
        (7, "data: {\"a\": \"\"}\n\n"),
        (10, "data: {\"a\": 1}"),
        (11, "\n\ndata: {\"a\""),
        (14, ": 2}\n\ndata: {\"a\": 3}\n\n"),
        (30, "data: {}\n\n"),
    ];
    let any = timed();
    assert_eq!(times(&any, &STREAM, &events), [Some(7_000), Some(23_000 / 4)]);
    let content =
        rollout(json!({"timings": ["ttfb", "gap"], "failure": {"sse": {"content": "/a"}}}));
    assert_eq!(times(&content, &STREAM, &events), [Some(11_000), Some(1_500)]);
    assert_eq!(times(&content, &STREAM, &[(6, "data: {}\n\n")]), [None, None]);
    assert_eq!(times(&content, &STREAM, &[]), [None, None]);
}

#[test]
fn a_last_event_counts_from_its_chunk() {
    let rollout = timed();
    let chunks = [(10, "data: a\n\n"), (16, "data: b"), (20, "")];
    assert_eq!(times(&rollout, &STREAM, &chunks), [Some(10_000), Some(6_000)]);
}

#[test]
fn streams_that_are_not_read_go_by_bytes() {
    let rollout = rollout(json!({"timings": ["ttfb", "gap"], "failure": {"sse": {"done": "x"}}}));
    let chunks = [(10, ": ping\n\n"), (12, ": ping\n\n")];
    let by_bytes = [Some(10_000), Some(2_000)];
    for response in [TypedResponse("text/event-stream", Some("gzip")), PLAIN] {
        assert!(!begin(&rollout, &response).needs_bytes(&rollout));
        let body = whole(&rollout, &response, &chunks);
        assert_eq!(([body.ttfb_us(0), body.gap_us()], body.fault(&rollout)), (by_bytes, None));
    }
    let failed = ResponseStart { status: 404, signals: false, ..start() };
    let mut body = begin_as(&rollout, &STREAM, &failed).unwrap();
    assert!(!body.needs_bytes(&rollout));
    assert!(push(&rollout, &mut body, ": ping\n\n", 10).content);
    assert_eq!(body.fault(&rollout), None);
    let plain = TypedResponse("text/event-stream", Some("Identity"));
    assert!(begin(&rollout, &plain).needs_bytes(&rollout));
}

#[test]
fn bytes_are_needed_only_as_long_as_they_decide_something() {
    let needs = |fields: Value, chunks: &[&str]| {
        let rollout = rollout(fields);
        let mut body = begin(&rollout, &STREAM);
        for (at, chunk) in (10..).zip(chunks) {
            push(&rollout, &mut body, chunk, at);
        }
        body.needs_bytes(&rollout)
    };
    let (ping, event, done) = (": ping\n\n", "data: {\"a\":1}\n\n", "data: [DONE]\n\n");
    let error = "data: {\"error\":{}}\n\n";
    for (fields, chunks, expected) in [
        (json!({"timings": ["ttfb"]}), &[ping][..], true),
        (json!({"timings": ["ttfb"]}), &[ping, event], false),
        (json!({"timings": ["gap"]}), &[event, event, done], true),
        (json!({"failure": {"sse": {}}}), &[ping], true),
        (json!({"failure": {"sse": {}}}), &[event], false),
        (json!({"failure": {"sse": {"done": "[DONE]"}}}), &[event], true),
        (json!({"failure": {"sse": {"done": "[DONE]"}}}), &[event, done], false),
        (json!({"failure": {"sse": {"error": "/error"}}}), &[event, event], true),
        (json!({"failure": {"sse": {"error": "/error"}}, "timings": ["gap"]}), &[error], false),
    ] {
        assert_eq!(needs(fields.clone(), chunks), expected, "{fields} {chunks:?}");
    }
}

#[test]
fn progress_is_known_as_it_comes() {
    let rollout = rollout(json!({"timings": ["ttfb"], "failure": {
        "sse": {"done": "[DONE]", "error": "/error", "content": ["/a"]}}}));
    let mut body = begin(&rollout, &STREAM);
    let mut expected = BodyProgress::default();
    assert_eq!(push(&rollout, &mut body, "", 6), expected);
    expected.began = true;
    assert_eq!(push(&rollout, &mut body, "data: {\"b\": 1}\n\n", 7), expected);
    expected.content = true;
    assert_eq!(push(&rollout, &mut body, "data: {\"a\": 1}\n\n", 8), expected);
    assert_eq!(push(&rollout, &mut body, "data: [DONE]", 9), expected);
    expected.done = true;
    assert_eq!(push(&rollout, &mut body, "\n\n", 9), expected);
    expected.error = true;
    assert_eq!(push(&rollout, &mut body, "data: {\"error\": 1}\n\n", 9), expected);
    assert_eq!(body.fault(&rollout), Some(StreamFault::Error));
}

#[test]
fn what_a_stream_lacks_is_known_at_its_end() {
    let rollout = rollout(json!({"failure": {"sse": {"done": "[DONE]"}}}));
    let fault = |chunks: &[(u64, &str)]| whole(&rollout, &STREAM, chunks).fault(&rollout);
    assert_eq!(fault(&[(6, "data: a\n\ndata: [DO"), (7, "NE]")]), None);
    assert_eq!(fault(&[(6, "data: a\n\n")]), Some(StreamFault::Incomplete));
    assert_eq!(fault(&[(6, "data: [DONE]\n\n")]), Some(StreamFault::Empty));
    assert_eq!(fault(&[]), Some(StreamFault::Incomplete));
    let long = format!("data: {}\n\ndata: [DONE]\n\n", "x".repeat(70_000));
    assert_eq!(fault(&[(6, &long)]), None);
    assert_eq!(whole(&timed(), &STREAM, &[]).fault(&timed()), None, "no rule, no fault");
}

/// The readings by signal: a bin's index, or a sample.
fn readings(rollout: &Rollout, body: &ResponseBody) -> Vec<(usize, SignalValue)> {
    body.readings(rollout).into_iter().map(|reading| (reading.signal, reading.value)).collect()
}

fn both_kinds() -> Rollout {
    rollout(json!({"signals": [
        {"name": "kept", "from": {"response_json": "/n", "max_body": "50B"}, "values": {}},
        {"name": "event", "from": {"response_sse": "/n", "max_body": "50B"}, "values": {}},
    ]}))
}

#[test]
fn a_body_says_something_only_to_signals_of_its_kind() {
    let rollout = both_kinds();
    let kept = whole(&rollout, &PLAIN, &[(6, "{\"n\""), (7, ": 7}")]);
    assert_eq!(readings(&rollout, &kept), [(0, SignalValue::Sample(7))]);
    let stream = whole(&rollout, &STREAM, &[(6, "data: {\"n\": 8}\n\nda"), (7, "ta: {\"n\": 9}")]);
    assert_eq!(readings(&rollout, &stream), [(1, SignalValue::Sample(9))]);
    let other = ResponseStart { status: 404, ..start() };
    let mut stream = begin_as(&rollout, &STREAM, &other).unwrap();
    push(&rollout, &mut stream, "data: {\"n\": 8}\n\n", 6);
    stream.end(&rollout);
    assert_eq!(readings(&rollout, &stream), [(1, SignalValue::Sample(8))]);
}

#[test]
fn a_body_that_broke_off_says_nothing() {
    let rollout = both_kinds();
    for response in [PLAIN, STREAM] {
        for text in ["", "{\"n\": 7}", "data: {\"n\": 7}\n\n"] {
            let mut body = begin(&rollout, &response);
            push(&rollout, &mut body, text, 6);
            assert_eq!(readings(&rollout, &body), [], "{text}");
        }
    }
}

#[test]
fn what_is_compressed_too_large_or_missing_is_unreadable() {
    let rollout = both_kinds();
    let unreadable = SignalValue::Bin(0);
    for (content, signal) in [("application/json", 0), ("text/event-stream", 1)] {
        let zipped = TypedResponse(content, Some("gzip"));
        assert!(!begin(&rollout, &zipped).needs_bytes(&rollout));
        let body = whole(&rollout, &zipped, &[(6, "{\"n\": 7}")]);
        assert_eq!(readings(&rollout, &body), [(signal, unreadable)], "{content}");
        let empty = whole(&rollout, &TypedResponse(content, None), &[]);
        assert_eq!(readings(&rollout, &empty), [(signal, unreadable)], "{content}");
    }
    let padding = " ".repeat(43);
    let fits = format!("{{\"n\": 7}}{}", &padding[1..]);
    let kept = whole(&rollout, &PLAIN, &[(6, &fits)]);
    assert_eq!(readings(&rollout, &kept), [(0, SignalValue::Sample(7))]);
    let large = whole(&rollout, &PLAIN, &[(6, &fits), (7, " ")]);
    assert_eq!(readings(&rollout, &large), [(0, unreadable)]);
    let mut gap = begin(&rollout, &PLAIN);
    push(&rollout, &mut gap, "{\"n\": 7", 6);
    gap.push(&rollout, 1, None, 7 * MS);
    gap.push(&rollout, 1, Some(b"}"), 7 * MS);
    gap.end(&rollout);
    assert_eq!(readings(&rollout, &gap), [(0, unreadable)]);
    let event = format!("data: {{\"n\": 7{padding}}}\n\n");
    let stream = whole(&rollout, &STREAM, &[(6, "data: {\"n\": 6}\n\n"), (7, &event)]);
    assert_eq!(readings(&rollout, &stream), [(1, unreadable)]);
}
