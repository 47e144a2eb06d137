//! Requests that are held for their bodies.

use serde_json::{Value, json};

use crate::arrival::Begun;
use crate::effect::RequestChange;
use crate::simulation::{Process, Request, SECOND, SimulatedWorker, config};

const CHAT: [(&str, &str); 3] =
    [(":path", "/chat"), ("content-type", "application/json"), ("content-length", "9")];

/// A rollout for the requests whose body says the model `a`, always to the canary.
fn model_a(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    config(|rollout| {
        rollout["weight"] = json!(100);
        rollout["match"] = json!({"path_prefixes": ["/chat"],
            "request_json": {"pointer": "/model", "values": ["a"], "max_body": "64B"}});
        change(rollout);
    })
}

fn started<'a>(process: &'a Process, json: &[u8]) -> SimulatedWorker<'a> {
    SimulatedWorker::start(process, json, 1)
}

#[test]
fn a_request_is_held_until_its_body_says_where_it_belongs() {
    let process = Process::default();
    let mut worker = started(&process, &model_a(|_| {}));
    for (pieces, version) in [
        (&["{\"mod", "el\": \"a\""][..], Some("canary")),
        (&["{\"model\": \"b\""], None),
        (&["{\"x\": {}, ", "\"model\"", ": \"a", "\""], Some("canary")),
        (&["[]"], None),
    ] {
        worker.hold(7, &CHAT);
        let (last, before) = pieces.split_last().unwrap();
        for piece in before {
            assert!(worker.read_body(7, piece, false, &CHAT).is_none(), "{piece}");
        }
        let decided = worker.read_body(7, last, false, &CHAT);
        let decided = decided.expect("held for longer than needed");
        assert_eq!(decided.map(|(_, role)| role), version, "{pieces:?}");
        let more = worker.worker.read_body(7, |_| panic!("read"), true, &Request(&CHAT), &process);
        assert!(more.is_none(), "the rest passes unread");
    }
}

/// Each byte is read once, wherever the host's buffer begins.
#[test]
fn the_body_is_read_from_where_it_was_left() {
    let process = Process::default();
    let mut worker = started(&process, &model_a(|_| {}));
    worker.hold(7, &CHAT);
    for (from, chunk) in [(0, "{\"mod"), (5, ""), (5, "el\": ")] {
        let bytes = |at| {
            assert_eq!(at, from);
            chunk.as_bytes().to_vec()
        };
        let begun = worker.worker.read_body(7, bytes, false, &Request(&CHAT), &process);
        assert!(matches!(begun, Some(Begun::Held)));
    }
}

#[test]
fn only_requests_with_a_json_body_are_held() {
    let process = Process::default();
    let mut worker = started(&process, &model_a(|_| {}));
    for headers in [
        &CHAT[..2],
        &[CHAT[0], CHAT[2]],
        &[CHAT[0], CHAT[2], ("content-type", "text/plain")],
        &[CHAT[0], CHAT[2], ("content-type", "application/grpc+json")],
        &[(":path", "/other"), CHAT[1], CHAT[2]],
    ] {
        let begun = worker.worker.begin(7, &Request(headers), &process);
        let Begun::Decided(decided) = begun else { panic!("{headers:?}") };
        assert!(decided.request.is_none() && decided.changes.is_empty(), "{headers:?}");
    }
}

/// Without more bytes, a request is decided when it has been held for a second, and with them when the
/// limit is reached or the body ends.
#[test]
fn a_request_is_not_held_for_longer_than_a_second() {
    let process = Process::default();
    let mut worker = started(&process, &model_a(|_| {}));
    worker.hold(7, &CHAT);
    assert!(worker.read_body(7, "{\"x\": ", false, &CHAT).is_none());
    let now_ns = process.now_ns.get();
    assert_eq!(worker.worker.overlong(now_ns + SECOND - 1), None);
    assert_eq!(worker.worker.overlong(now_ns + SECOND), Some(7));
    let released = worker.worker.release(7, &Request(&CHAT), &process).unwrap();
    assert!(released.request.is_none(), "as a request that doesn't match");
    assert_eq!(worker.worker.overlong(now_ns + SECOND), None);
    worker.hold(8, &CHAT);
    let long = format!("{{\"x\": \"{}", "x".repeat(99));
    assert!(matches!(worker.read_body(8, &long, false, &CHAT), Some(None)));
    worker.hold(9, &CHAT);
    assert!(matches!(worker.read_body(9, "{\"model\": \"a", true, &CHAT), Some(None)));
}

/// A tick belongs to no stream, so the stream fetches what the tick decided.
#[test]
fn a_released_request_is_kept_for_its_stream() {
    let process = Process::default();
    let json = config(|rollout| {
        rollout["weight"] = json!(100);
        rollout["affinity"] = json!([{"request_json": "/user"}, {"header": "u"}]);
    });
    let mut worker = started(&process, &json);
    let headers = [CHAT[0], CHAT[1], CHAT[2], ("u", "7")];
    for stream in [7, 8] {
        worker.hold(stream, &headers);
    }
    let released = worker.worker.release(7, &Request(&headers), &process).unwrap();
    assert!(released.changes.contains(&RequestChange::Reroute));
    let request = released.request;
    worker.worker.keep(7, request);
    assert!(worker.worker.end_hold(7).is_some() && worker.worker.end_hold(7).is_none());
    assert!(worker.worker.end_hold(8).is_none(), "its client left");
    assert_eq!(worker.worker.overlong(u64::MAX), None);
}

/// The weight that counts is the one in force when the request is decided, and its time runs from its
/// headers.
#[test]
fn the_weight_is_confirmed_when_the_request_is_decided() {
    let process = Process::default();
    let mut worker = started(&process, &model_a(|_| {}));
    let begun_ns = process.now_ns.get();
    worker.hold(7, &CHAT);
    worker.poll(&[("weight", "0")]);
    let decided = worker.read_body(7, "{\"model\": \"a\"", false, &CHAT);
    let (request, role) = decided.unwrap().unwrap();
    assert_eq!(role, "stable");
    assert_eq!(request.exchange.trial().unwrap().started_ns, begun_ns);
}

/// A later rollout can't take a request while an earlier one may still get it.
#[test]
fn the_first_rollout_that_matches_wins() {
    let mut all: Value = serde_json::from_slice(&model_a(|_| {})).unwrap();
    let mut rest = all["rollouts"][0].clone();
    rest["name"] = json!("rest");
    rest["match"] = json!({"path_prefixes": ["/chat"]});
    rest["weight"] = json!(0);
    all["rollouts"].as_array_mut().unwrap().push(rest);
    let process = Process::default();
    let mut worker = started(&process, all.to_string().as_bytes());
    for (body, version) in [("{\"model\": \"a\"", "canary"), ("{\"model\": \"b\"", "stable")] {
        worker.hold(7, &CHAT);
        assert_eq!(worker.read_body(7, body, false, &CHAT).unwrap().unwrap().1, version);
    }
}

/// A key in the body holds a request only where no earlier source has one.
#[test]
fn a_key_in_the_body_is_waited_for() {
    let json = config(|rollout| {
        rollout["weight"] = json!(50);
        rollout["affinity"] = json!([{"header": "u"}, {"request_json": "/user"}]);
    });
    let process = Process::default();
    let mut worker = started(&process, &json);
    let mut roles = || -> Vec<_> {
        let mut of = |user| {
            worker.hold(7, &CHAT);
            let body = format!("{{\"user\": {user},");
            worker.read_body(7, &body, false, &CHAT).unwrap().unwrap().1
        };
        (0..40).map(&mut of).collect()
    };
    let first = roles();
    assert!(first.contains(&"canary") && first.contains(&"stable"), "{first:?}");
    assert_eq!(roles(), first);
    worker.begin(&[CHAT[0], CHAT[1], CHAT[2], ("u", "7")]);
}
