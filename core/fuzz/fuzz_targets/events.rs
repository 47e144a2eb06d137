//! Any event stream in any chunks: the events are those that a plain reading of the standard finds, chunks don't matter,
//! and what a response's body tells only ever grows.
#![no_main]

use std::sync::LazyLock;

use canary_dataplane::events::{Event, EventScanner};
use canary_dataplane::host::Response;
use canary_dataplane::response_body::{BodyProgress, ResponseBody, ResponseStart};
use canary_dataplane::signal::SignalReading;
use canary_dataplane::sse::StreamFault;
use canary_model::config::{Config, Rollout};
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"{"rollouts": [{"name": "r",
    "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"},
    "failure": {"sse": {"done": "[DONE]", "error": "/error", "content": ["/a", "/b/0"]}},
    "timings": ["ttfb", "gap"],
    "signals": [
      {"name": "first", "from": {"response_sse": "/a", "event": "first"}, "categories": ["1", "x"]},
      {"name": "last", "from": {"response_sse": "/b/*", "max_body": "20B"}, "values": {"scale": 10}},
      {"name": "kept", "from": {"response_json": "/a"}, "bins": [0, 1]}
    ]}]}"#;

static ROLLOUT: LazyLock<Rollout> = LazyLock::new(|| {
    let config = Config::parse(CONFIG.as_bytes()).expect("the configuration is sound");
    config.rollouts.into_iter().next().expect("it has a rollout")
});

fuzz_target!(|data: &[u8]| {
    let Some((size, stream)) = data.split_first() else {
        return;
    };
    let size = usize::from(*size).max(1);
    let whole = events(&[stream], stream.len());
    let chunks: Vec<&[u8]> = stream.chunks(size).collect();
    assert_eq!(whole, events(&chunks, stream.len()), "chunks matter");
    assert_eq!(whole, plain(stream), "not what the standard says");
    let limited = events(&chunks, size);
    assert_eq!(whole.len(), limited.len(), "an event is missing");
    for (event, limited) in whole.iter().zip(&limited) {
        let fits = event.as_ref().is_some_and(|data| data.len() <= size);
        assert_eq!(limited.as_ref(), event.as_ref().filter(|_| fits));
    }
    let (fault, readings) = read(&[stream]);
    let (cut_fault, cut_readings) = read(&chunks);
    assert_eq!(fault, cut_fault, "chunks matter to the verdict");
    // After an error nothing more is read.
    if fault != Some(StreamFault::Error) {
        assert_eq!(readings, cut_readings, "chunks matter to signals");
    }
});

/// The events that the scanner finds; `None` is one above the limit.
fn events(chunks: &[&[u8]], limit: usize) -> Vec<Option<Vec<u8>>> {
    let mut found = Vec::new();
    let mut note = |event: Event<'_>| {
        found.push(match event {
            Event::Data(data) => Some(data.to_vec()),
            Event::Oversize => None,
        });
    };
    let mut scanner = EventScanner::new(limit);
    chunks.iter().for_each(|chunk| scanner.push(chunk, &mut note));
    scanner.finish(&mut note);
    found
}

/// The events by the standard's words, from the stream as a whole.
fn plain(stream: &[u8]) -> Vec<Option<Vec<u8>>> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut lines = vec![Vec::new()];
    let mut bytes = stream.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if(|next| **next == b'\n');
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            byte => lines.last_mut().expect("a line").push(*byte),
        }
    }
    // The end of the stream ends the last event.
    lines.push(Vec::new());
    let (mut found, mut data) = (Vec::new(), None::<Vec<u8>>);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if line.is_empty() {
            found.extend(data.take().map(Some));
        } else if field == b"data" {
            match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => data = Some(value.to_vec()),
            }
        }
    }
    found
}

struct EventStreamHeaders;

impl Response for EventStreamHeaders {
    fn header(&self, name: &str) -> Option<Vec<u8>> {
        (name == "content-type").then(|| b"text/event-stream".to_vec())
    }

    fn attribute(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }

    fn attribute_u64(&self, _: &[&str]) -> Option<u64> {
        None
    }
}

fn read(chunks: &[&[u8]]) -> (Option<StreamFault>, Vec<SignalReading>) {
    let start = ResponseStart {
        status: 200,
        ended: false,
        event_stream: true,
        signals: true,
        now_ns: 1_000,
        draw: 7,
    };
    let mut body = ResponseBody::new(&ROLLOUT, &EventStreamHeaders, &start).expect("it is needed");
    let (mut before, mut needed) = (BodyProgress::default(), true);
    for (at, chunk) in chunks.iter().enumerate() {
        let needs = body.needs_bytes(&ROLLOUT);
        assert!(needed || !needs, "bytes are needed again");
        needed = needs;
        let now_ns = 2_000 + 1_000 * at as u64;
        let after = body.push(&ROLLOUT, chunk.len(), needs.then_some(chunk), now_ns);
        grown(before, after);
        before = after;
    }
    grown(before, body.end(&ROLLOUT));
    let ended = 2_000 + 1_000 * chunks.len() as u64;
    assert!(body.ttfb_us(0).is_none_or(|ttfb| (2..=ended / 1_000).contains(&ttfb)));
    assert!(body.gap_us().is_none_or(|gap| gap <= ended / 1_000));
    let readings = body.readings(&ROLLOUT);
    let signals: Vec<usize> = readings.iter().map(|reading| reading.signal).collect();
    assert_eq!(signals, [0, 1], "one reading of each signal of events");
    (body.fault(&ROLLOUT), readings)
}

fn grown(before: BodyProgress, after: BodyProgress) {
    let pairs = [
        (before.began, after.began),
        (before.content, after.content),
        (before.done, after.done),
        (before.error, after.error),
    ];
    assert!(pairs.iter().all(|(before, after)| after >= before), "{before:?} {after:?}");
}
