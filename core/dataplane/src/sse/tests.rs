use serde_json::json;

use super::*;

fn pointer(text: &str) -> Pointer {
    Pointer::parse(text).unwrap()
}

/// The rule of the documentation's example.
fn rule() -> SseRule {
    SseRule {
        done: Some("[DONE]".to_owned()),
        error: Some(pointer("/error")),
        content: vec![pointer("/choices/0/delta/content"), pointer("/choices/0/delta/tool_calls")],
    }
}

/// The state after these events, and which of them have content.
fn read(rule: &SseRule, events: &[&str]) -> (StreamState, Vec<bool>) {
    let mut state = StreamState::default();
    let content = events.iter().map(|data| {
        let json = serde_json::from_str(data).ok();
        state.read(rule, Some(data.as_bytes()), json.as_ref())
    });
    let content = content.collect();
    (state, content)
}

fn fault(rule: &SseRule, events: &[&str]) -> Option<StreamFault> {
    read(rule, events).0.fault(rule)
}

fn delta(delta: Value) -> String {
    json!({"choices": [{"delta": delta}]}).to_string()
}

#[test]
fn a_whole_stream_is_no_failure() {
    let token = delta(json!({"content": "Hi"}));
    let (state, content) = read(&rule(), &[&delta(json!({"role": "a"})), &token, "[DONE]"]);
    assert_eq!(content, [false, true, false]);
    assert!(state.is_done() && !state.has_error());
    assert_eq!(state.fault(&rule()), None);
}

#[test]
fn what_has_content() {
    for (value, expected) in [
        (json!({"content": "x"}), true),
        (json!({"content": " "}), true),
        (json!({"content": 0}), true),
        (json!({"content": false}), true),
        (json!({"content": null, "tool_calls": [{}]}), true),
        (json!({"content": {"a": null}}), true),
        (json!({"content": ""}), false),
        (json!({"content": null}), false),
        (json!({"content": [], "tool_calls": {}}), false),
        (json!({"role": "assistant"}), false),
    ] {
        assert_eq!(read(&rule(), &[&delta(value.clone())]).1, [expected], "{value}");
    }
    assert_eq!(read(&rule(), &["not JSON", "", "{}"]).1, [false; 3]);
    let any = SseRule { content: Vec::new(), ..rule() };
    assert_eq!(read(&any, &["not JSON", "{}", "", "[DONE]"]).1, [true, true, false, false]);
}

#[test]
fn a_stream_without_its_done_marker_is_incomplete() {
    for events in [&["{}"][..], &[], &["[DONE] "], &["{}", "[done]"]] {
        assert_eq!(fault(&rule(), events), Some(StreamFault::Incomplete), "{events:?}");
    }
    let without = SseRule { done: None, ..rule() };
    assert_eq!(fault(&without, &["{}"]), None);
}

#[test]
fn an_error_is_a_failure_whatever_follows() {
    for error in ["{\"message\": \"out of memory\"}", "\"\"", "0", "false", "{}", "[]"] {
        let event = format!("{{\"error\": {error}}}");
        for events in [&[event.as_str()][..], &["{}", &event, "{}", "[DONE]"], &["[DONE]", &event]]
        {
            assert_eq!(fault(&rule(), events), Some(StreamFault::Error), "{events:?}");
        }
    }
    assert_eq!(fault(&rule(), &["{\"error\": null}", "[DONE]"]), None);
    assert_eq!(fault(&rule(), &["error", "{\"a\": {\"error\": 1}}", "[DONE]"]), None);
    let marker = SseRule { done: Some("{\"error\":1}".to_owned()), ..rule() };
    assert_eq!(fault(&marker, &["{}", "{\"error\":1}"]), Some(StreamFault::Error));
}

#[test]
fn a_stream_without_data_is_empty() {
    for events in [&["[DONE]"][..], &["", "[DONE]"]] {
        assert_eq!(fault(&rule(), events), Some(StreamFault::Empty), "{events:?}");
    }
    let nothing = SseRule::default();
    assert_eq!(fault(&nothing, &[]), Some(StreamFault::Empty));
    assert_eq!(fault(&nothing, &["", ""]), Some(StreamFault::Empty));
    assert_eq!(fault(&nothing, &["[DONE]"]), None);
}

#[test]
fn an_event_that_is_too_large_has_content_and_is_not_read() {
    let mut state = StreamState::default();
    assert!(state.read(&rule(), None, None));
    assert!(!state.is_done() && !state.has_error());
    assert_eq!(state.fault(&SseRule { done: None, ..rule() }), None);
}

#[test]
fn events_are_needed_until_nothing_can_change() {
    let needs = |rule: &SseRule, events: &[&str]| read(rule, events).0.needs_events(rule);
    let done = SseRule { error: None, ..rule() };
    let nothing = SseRule::default();
    assert!(needs(&nothing, &[""]) && !needs(&nothing, &["a"]));
    assert!(needs(&done, &["a"]) && needs(&done, &["[DONE]"]) && !needs(&done, &["a", "[DONE]"]));
    assert!(needs(&rule(), &["a", "[DONE]"]) && !needs(&rule(), &["{\"error\": 1}"]));
}

#[test]
fn content_types_of_event_streams() {
    for yes in ["text/event-stream", "Text/Event-Stream; charset=utf-8", " text/event-stream ;a=b"]
    {
        assert!(is_event_stream(yes.as_bytes()), "{yes}");
    }
    for no in ["", "text/event-streams", "application/json", "text/plain; text/event-stream"] {
        assert!(!is_event_stream(no.as_bytes()), "{no}");
    }
}
