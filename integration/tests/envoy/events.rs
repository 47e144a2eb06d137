//! Streams of server-sent events: what makes one a failure, when its first token came and how far its
//! tokens lie apart, and what signals read in its events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use canary_integration::{
    ClientRequest, FilterStats, Latch, RawAnswer, Rig, Running, ScrapedBin, TestUpstream,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A rig that sends everything to the canary, with these fields of the rollout and without a guard.
async fn with(fields: Value) -> Running {
    let rig = Rig::new().reading_bodies().unguarded().weight(100.0);
    let rig = rig.rollout(|rollout| {
        rollout.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    });
    rig.canary(TestUpstream::ok()).start().await
}

/// The rule for a server that speaks like OpenAI's.
fn rule() -> Value {
    json!({"done": "[DONE]", "error": "/error", "content": "/choices/0/delta/content"})
}

/// From now on, the canary answers like this.
fn answers(rig: &Running, answer: RawAnswer) {
    rig.canary().change(|behavior| behavior.raw = Some(Arc::new(move |_| Some(answer.clone()))));
}

/// A stream in chunks of so many bytes, each sent by itself, that ends as its protocol requires.
fn stream(events: &str, size: usize) -> RawAnswer {
    let bytes = events.as_bytes().chunks(size);
    let chunks: Vec<&str> = bytes.map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
    RawAnswer::events(&chunks, Duration::from_millis(u64::from(chunks.len() > 1))).end()
}

/// What counts of the canary: requests, failures, and of these the broken ones.
fn counts(stats: &FilterStats) -> [u64; 3] {
    ["rq_total", "rq_failure", "rq_broken"].map(|metric| stats.metric_of("canary", metric))
}

/// An event of a chat's stream with this delta.
fn delta(delta: &str) -> String {
    format!("data: {{\"choices\": [{{\"delta\": {delta}}}]}}\n\n")
}

/// However a stream is cut and by either protocol, its events decide: done marker, errors, and whether
/// there is any data.
#[tokio::test]
async fn what_a_stream_lacks_makes_it_a_failure_however_it_is_cut() {
    let rig = with(json!({"failure": {"sse": rule()}})).await;
    let token = delta("{\"content\": \"Hi\"}");
    let done = "data: [DONE]\n\n";
    let crlf = format!(": hello\r\n\r\n{token}data: [DONE]\r\n\r\n");
    let error = "data: {\"error\": {\"message\": \"out of memory\"}}\n\n";
    let (ok, failed, broken) = ([1, 0, 0], [1, 1, 0], [1, 1, 1]);
    let streams = [
        (format!("{token}{done}"), ok),
        (crlf, ok),
        (format!("{token}data: [DONE]"), ok),
        (format!("{token}data:[DONE]\r"), ok),
        (token.clone(), broken),
        (format!("{token}: [DONE]\n\n"), broken),
        (": ping\n\n: ping\n\n".to_owned(), broken),
        (done.to_owned(), failed),
        (format!("data\n\ndata:\n\n{done}"), failed),
        (format!("{token}{error}{done}"), failed),
        (format!("{token}data: {{\"error\":\ndata: 1}}\n\n{done}"), failed),
        (format!("data: {{\"error\": null}}\n\n{done}"), ok),
    ];
    let mut before = [0; 3];
    for (text, expected) in &streams {
        for size in [text.len(), 1, 7] {
            answers(&rig, stream(text, size));
            for ask in [ClientRequest::get("/"), ClientRequest::get("/").http2()] {
                let answer = rig.request(ask).await;
                assert_eq!((answer.status, answer.text()), (200, text.clone()), "unchanged");
                let after = counts(&rig.counted(before[0] + 1).await);
                let counted = [0, 1, 2].map(|place| after[place] - before[place]);
                assert_eq!(counted, *expected, "{text:?} in chunks of {size}");
                before = after;
            }
        }
    }
    assert_eq!(rig.stats().await.metric_of("canary", "rq_2xx"), before[0]);
}

/// An event that says so is a failure while the stream goes on, and what follows changes nothing.
#[tokio::test]
async fn an_error_event_counts_at_once() {
    let rig = with(json!({"failure": {"sse": rule()}})).await;
    let latch = Latch::default();
    let begin = format!("{}data: {{\"error\": \"x\"}}\n\n", delta("{\"content\": \"Hi\"}"));
    let answer = RawAnswer::events(&[&begin], Duration::ZERO).wait(&latch);
    answers(&rig, answer.data(&b"data: [DONE]\n\n"[..]).end());
    let mut client = rig.dial().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let counted = counts(&rig.counted(1).await);
    assert_eq!(counted, [1, 1, 0], "before the stream ended");
    latch.open();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("[DONE]"), "{text}");
    answers(&rig, stream("data: 1\n\ndata: [DONE]\n\n", 100));
    rig.get("/").await;
    assert_eq!(counts(&rig.counted(2).await), [2, 1, 0], "it counts once");
}

/// What the rule doesn't read goes by its status: other types, other statuses, compressed bodies, and
/// answers without a body.
#[tokio::test]
async fn what_is_not_read_goes_by_its_status() {
    let rig = with(json!({"failure": {"sse": rule()}})).await;
    let of_type = |status: u16, content: &str| {
        RawAnswer::new(status).header("content-type", content).data(&b"data: 1\n\n"[..])
    };
    let answered = [
        of_type(200, "text/plain").end(),
        of_type(404, "text/event-stream").end(),
        of_type(200, "text/event-stream").header("content-encoding", "gzip").end(),
        RawAnswer::new(200).header("content-type", "text/event-stream").length(0),
    ];
    for answer in answered {
        answers(&rig, answer);
        assert_ne!(rig.get("/").await.status, 503);
    }
    assert_eq!(counts(&rig.counted(4).await), [4, 0, 0]);
    answers(&rig, of_type(200, "Text/Event-Stream;charset=utf-8").end());
    rig.get("/").await;
    assert_eq!(counts(&rig.counted(5).await), [5, 1, 1]);
}

/// The bins of a histogram of the canary, once it has this many samples.
async fn sampled(rig: &Running, metric: &str, samples: u64) -> Vec<ScrapedBin> {
    let enough = |stats: &FilterStats| stats.samples("canary", metric) >= samples;
    let stats = rig.eventually(metric, async || rig.stats().await, enough).await;
    stats.bins("canary", metric)
}

/// Asserts that there is one sample, and that it lies between these milliseconds.
fn assert_one_sample(bins: &[ScrapedBin], least_ms: f64, most_ms: f64) {
    let [bin] = bins else {
        panic!("not one sample: {bins:?}");
    };
    let within = bin.lower + bin.width >= least_ms * 1e3 && bin.lower <= most_ms * 1e3;
    assert!(within && bin.count == 1, "{bins:?} not within {least_ms} to {most_ms} ms");
}

/// Not the comment and not the role, which come at once, but the first token ends the wait for it.
#[tokio::test]
async fn a_streams_times_go_by_its_events_with_content() {
    let rig = with(json!({"timings": ["ttfb", "gap"], "failure": {"sse": rule()}})).await;
    let token = delta("{\"content\": \"x\"}");
    let empty = delta("{\"role\": \"assistant\", \"content\": \"\"}");
    let pause = Duration::from_millis(200);
    let mut answer = RawAnswer::events(&[": hello\n\n", &empty], Duration::ZERO);
    for _ in 0..4 {
        // Each token is two chunks.
        let (begin, end) = token.split_at(9);
        answer = answer.pause(pause).data(begin.to_owned()).data(end.to_owned());
    }
    answers(&rig, answer.pause(pause).data(&b"data: [DONE]\n\n"[..]).end());
    rig.get("/").await;
    let stats = rig.counted(1).await;
    assert_eq!(counts(&stats), [1, 0, 0]);
    assert_one_sample(&sampled(&rig, "rq_ttfb_us", 1).await, 200.0, 5_000.0);
    // Three gaps of 200 ms. By chunks, seven gaps in 600 ms would be 86 ms.
    assert_one_sample(&sampled(&rig, "rq_gap_us", 1).await, 120.0, 5_000.0);
    assert_one_sample(&sampled(&rig, "rq_time_us", 1).await, 1_000.0, 10_000.0);
}

/// Bodies that aren't event streams are timed by their chunks, without being read; an answer without a
/// body by its headers.
#[tokio::test]
async fn other_bodies_are_timed_by_their_chunks() {
    let rig = with(json!({"timings": ["ttfb", "gap"]})).await;
    let pause = Duration::from_millis(200);
    let answer = RawAnswer::new(200).pause(pause).data("a").pause(pause).data("b").pause(pause);
    answers(&rig, answer.data("c").end());
    rig.get("/").await;
    assert_one_sample(&sampled(&rig, "rq_ttfb_us", 1).await, 200.0, 5_000.0);
    assert_one_sample(&sampled(&rig, "rq_gap_us", 1).await, 120.0, 5_000.0);
    answers(&rig, RawAnswer::new(200).length(0).end());
    rig.get("/").await;
    let ttfb = sampled(&rig, "rq_ttfb_us", 2).await;
    assert!(ttfb.len() == 2 && ttfb[0].lower < 200_000.0, "{ttfb:?}");
    assert_eq!(rig.stats().await.samples("canary", "rq_gap_us"), 1, "one chunk has no gap");
}

/// What was counted of the canary's signals, by `signal.bin`.
fn bins(stats: &FilterStats) -> BTreeMap<String, u64> {
    let of_signal = stats.values.iter().filter_map(|(name, count)| {
        let (_, bin) = name.strip_prefix("demo.canary.")?.split_once(".signal.")?;
        (*count > 0).then(|| (bin.to_owned(), *count))
    });
    of_signal.collect()
}

fn expected(bins: &[(&str, u64)]) -> BTreeMap<String, u64> {
    bins.iter().map(|(bin, count)| ((*bin).to_owned(), *count)).collect()
}

/// The first or the last event with a reason counts, however the stream is cut. An answer of the other
/// kind says nothing to a signal, so one endpoint may do both.
#[tokio::test]
async fn finish_reasons_of_events_and_of_whole_answers() {
    let from = |event: &str| json!({"response_sse": "/choices/0/finish_reason", "event": event});
    let rig = with(json!({"signals": [
        {"name": "first", "from": from("first"), "categories": ["stop", "length"]},
        {"name": "last", "from": from("last"), "categories": ["stop", "length"]},
        {"name": "whole", "from": {"response_json": "/choices/0/finish_reason"}, "categories": ["stop"]},
    ]}))
    .await;
    let reason =
        |reason: &str| format!("data: {{\"choices\": [{{\"finish_reason\": {reason}}}]}}\r\n\r\n");
    let none = reason("null");
    let (length, stop) = (reason("\"length\""), reason("\"stop\""));
    let text = [&none, &length, &none, &stop, &none, "data: [DONE]\n\n"].concat();
    let mut asked = 0;
    for size in [text.len(), 1, 13] {
        answers(&rig, stream(&text, size));
        rig.get("/").await;
        asked += 1;
        let counted = expected(&[("first.length", asked), ("last.stop", asked)]);
        assert_eq!(bins(&rig.counted(asked).await), counted, "in chunks of {size}");
    }
    let whole = RawAnswer::new(200).header("content-type", "application/json");
    answers(&rig, whole.data("{\"choices\": [{\"finish_reason\": \"stop\"}]}").end());
    rig.get("/").await;
    answers(&rig, stream(&none, 100));
    rig.get("/").await;
    answers(
        &rig,
        RawAnswer::events(&[&text], Duration::ZERO).header("content-encoding", "br").end(),
    );
    rig.get("/").await;
    let counted = [
        ("first.length", 3),
        ("first.unreadable", 2),
        ("last.stop", 3),
        ("last.unreadable", 2),
        ("whole.stop", 1),
    ];
    assert_eq!(bins(&rig.counted(6).await), expected(&counted));
}

/// Numbers are samples of a histogram; what can't be one is unreadable, and so is NaN.
#[tokio::test]
async fn values_are_samples() {
    let rig = with(json!({"signals": [
        {"name": "tokens", "from": {"response_sse": "/usage/total"}, "values": {}},
        {"name": "cost", "from": {"response_json": "/cost"}, "values": {"scale": 1000}},
        {"name": "score", "from": {"response_json": "/score"}, "bins": [0]},
    ]}))
    .await;
    answers(&rig, stream("data: {}\n\ndata: {\"usage\": {\"total\": 42}}\n\ndata: [DONE]\n\n", 5));
    rig.get("/").await;
    for body in [
        "{\"cost\": 0.0125, \"score\": NaN}",
        "{\"cost\": 0.0125, \"score\": -Infinity}",
        "{\"cost\": -1, \"score\": Infinity}",
        "{\"cost\": NaN, \"score\": 1}",
        "{\"cost\": Infinity, \"score\": \"NaN\"}",
    ] {
        answers(&rig, RawAnswer::new(200).data(body).end());
        assert_eq!(rig.get("/").await.text(), body, "unchanged");
    }
    let counted =
        [("cost.unreadable", 3), ("score.b0", 1), ("score.b1", 2), ("score.unreadable", 2)];
    assert_eq!(bins(&rig.counted(6).await), expected(&counted));
    for (signal, value, samples) in [("tokens", 42.0, 1), ("cost", 13.0, 2)] {
        let [bin] = sampled(&rig, &format!("value.{signal}"), samples).await[..] else {
            panic!("not in one bin");
        };
        let within = bin.lower <= value && value < bin.lower + bin.width;
        assert!(within && bin.count == samples, "{signal}: {bin:?}");
    }
}
