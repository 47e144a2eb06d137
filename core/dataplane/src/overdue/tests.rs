use serde_json::json;

use super::*;
use crate::response::BodyChunk;
use crate::simulation::{Process, Request, SECOND, SimulatedWorker, config};
use canary_model::config::Overdue;

const MILLI: u64 = SECOND / 1_000;

fn overdue(rule: serde_json::Value) -> Vec<u8> {
    config(|r| r["failure"] = json!({"overdue": rule}))
}

/// A worker of a module with or without body hooks.
fn worker<'a>(process: &'a Process, body_hooks: bool, json: &[u8]) -> SimulatedWorker<'a> {
    let mut worker = SimulatedWorker::start(process, json, 1);
    worker.worker.body_hooks = body_hooks;
    worker
}

fn later(process: &Process, milliseconds: u64) {
    process.now_ns.set(process.now_ns.get() + milliseconds * MILLI);
}

/// Sends a request that ends with its headers, or doesn't, as the stream `stream`.
fn send(
    worker: &mut SimulatedWorker<'_>,
    stream: u32,
    ended: bool,
    headers: &[(&str, &str)],
) -> MatchedRequest {
    let sent = Sent { headers: Request(headers), ended };
    worker.worker.begin(stream, &sent, worker.process).decided().request.unwrap()
}

/// A request that ends with its headers, or doesn't.
struct Sent<'a> {
    headers: Request<'a>,
    ended: bool,
}

impl Headers for Sent<'_> {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.headers.get(name)
    }

    fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
        self.headers.get_all(name)
    }

    fn has_body(&self) -> bool {
        !self.ended
    }
}

fn body(worker: &mut SimulatedWorker<'_>, request: &mut MatchedRequest, size: usize, ended: bool) {
    let chunk = BodyChunk { size, ended, bytes: || None };
    let effects = worker.worker.body(request, chunk, worker.process);
    worker.process.perform(effects);
}

/// `rq_total`, `rq_failure`, `rq_overdue`, and all classes together.
fn counts(worker: &mut SimulatedWorker<'_>, role: &str) -> (u64, u64, u64, u64) {
    worker.tick();
    let of = |metric: &str| worker.process.stat(&format!("{role}.{metric}"));
    let classes = (2..=5).map(|class| of(&format!("rq_{class}xx"))).sum();
    (of("rq_total"), of("rq_failure"), of("rq_overdue"), classes)
}

#[test]
fn a_request_counts_when_its_deadline_passes_and_never_again() {
    let process = Process::default();
    let mut worker = worker(&process, true, &overdue(json!({"answer": "10s"})));
    let (mut late, never) = (send(&mut worker, 1, true, &[]), send(&mut worker, 2, true, &[]));
    let mut in_time = send(&mut worker, 3, true, &[]);
    later(&process, 9_999);
    worker.respond(&mut in_time, &[(":status", "200")], true);
    assert_eq!(counts(&mut worker, "stable.1"), (0, 0, 0, 0));
    later(&process, 1);
    assert_eq!(counts(&mut worker, "stable.1"), (2, 2, 2, 0));
    assert_eq!(process.stat("stable.1.rq_time_us"), 2);
    worker.respond(&mut late, &[(":status", "503")], true);
    worker.leave(late);
    worker.leave(never);
    worker.leave(in_time);
    assert_eq!(counts(&mut worker, "stable.1"), (3, 2, 2, 1));
    assert_eq!(process.stat("stable.1.rq_abandoned"), 0);
}

/// What happens between the deadline and the next tick comes too late.
#[test]
fn the_deadline_decides_not_the_tick() {
    let process = Process::default();
    let rule = json!({"answer": "1s", "first_byte": "2s", "idle": "1s"});
    let mut worker = worker(&process, true, &overdue(rule));
    let mut answered = send(&mut worker, 1, true, &[]);
    let left = send(&mut worker, 2, true, &[]);
    let mut stalled = send(&mut worker, 3, true, &[]);
    worker.respond(&mut stalled, &[(":status", "200")], false);
    body(&mut worker, &mut stalled, 5, false);
    later(&process, 1_001);
    worker.respond(&mut answered, &[(":status", "200")], true);
    worker.leave(answered);
    worker.leave(left);
    body(&mut worker, &mut stalled, 5, false);
    body(&mut worker, &mut stalled, 0, true);
    worker.leave(stalled);
    assert_eq!(counts(&mut worker, "stable.1"), (3, 3, 3, 0));
    later(&process, 60_000);
    assert_eq!(counts(&mut worker, "stable.1"), (3, 3, 3, 0));
}

#[test]
fn a_slow_upload_is_the_clients_doing() {
    let process = Process::default();
    let mut worker = worker(&process, true, &overdue(json!({"answer": "1s"})));
    let request = send(&mut worker, 1, false, &[("content-length", "5")]);
    later(&process, 60_000);
    assert_eq!(counts(&mut worker, "stable.1"), (0, 0, 0, 0));
    worker.worker.request_ended(&request, &process);
    later(&process, 999);
    assert_eq!(counts(&mut worker, "stable.1"), (0, 0, 0, 0));
    later(&process, 1);
    assert_eq!(counts(&mut worker, "stable.1"), (1, 1, 1, 0));
}

/// Without body hooks, Envoy says at the deadline how much of the request has come.
#[test]
fn without_body_hooks_the_content_length_tells() {
    let process = Process::default();
    let mut worker = worker(&process, false, &overdue(json!({"answer": "1s"})));
    let number = |value: u64| value.to_le_bytes().to_vec();
    let received = |stream: u32, bytes: u64| {
        let mut streams = process.streams.borrow_mut();
        streams.insert((stream, "request.total_size".into()), number(bytes + 100));
        streams.insert((stream, "request.headers_bytes".into()), number(100));
    };
    let sized = [("content-length", "10")];
    let requests = [
        send(&mut worker, 1, true, &[]),
        send(&mut worker, 2, false, &sized),
        send(&mut worker, 3, false, &sized),
        send(&mut worker, 4, false, &sized),
        send(&mut worker, 5, false, &[]),
    ];
    received(2, 10);
    received(3, 9);
    later(&process, 1_000);
    assert_eq!(counts(&mut worker, "stable.1"), (2, 2, 2, 0), "1 and 2");
    for mut request in requests {
        worker.respond(&mut request, &[(":status", "200")], true);
        worker.leave(request);
    }
    assert_eq!(counts(&mut worker, "stable.1"), (5, 2, 2, 3), "the others end as they end");
}

#[test]
fn the_first_byte_and_each_further_chunk_have_deadlines() {
    let process = Process::default();
    let json = overdue(json!({"first_byte": "2s", "idle": "1s"}));
    let mut worker = worker(&process, true, &json);
    let mut silent = send(&mut worker, 1, true, &[]);
    let mut stalls = send(&mut worker, 2, true, &[]);
    let mut flows = send(&mut worker, 3, true, &[]);
    let mut empty = send(&mut worker, 4, true, &[]);
    for request in [&mut silent, &mut stalls, &mut flows] {
        worker.respond(request, &[(":status", "200")], false);
    }
    worker.respond(&mut empty, &[(":status", "204")], true);
    body(&mut worker, &mut stalls, 1, false);
    for _ in 0..5 {
        body(&mut worker, &mut flows, 1, false);
        later(&process, 900);
    }
    assert_eq!(counts(&mut worker, "stable.1"), (2, 2, 2, 0), "silent and stalls");
    body(&mut worker, &mut flows, 0, true);
    later(&process, 60_000);
    [silent, stalls, flows, empty].into_iter().for_each(|request| worker.leave(request));
    assert_eq!(counts(&mut worker, "stable.1"), (4, 2, 2, 2));
}

/// The canary hangs: the guard trips in the tick after the deadline. A stall in the middle doesn't feed
/// it, because a client that stops reading looks the same.
#[test]
fn the_guard_sees_deadlines_but_not_stalls() {
    for (rule, trips) in [(json!({"answer": "10s"}), true), (json!({"idle": "10s"}), false)] {
        let process = Process::default();
        let mut worker = worker(&process, true, &overdue(rule));
        worker.poll(&[("weight", "50")]);
        let mut open: Vec<_> =
            (0..200).map(|stream| send(&mut worker, stream, true, &[])).collect();
        for request in &mut open {
            if request.exchange.chosen() == Role::Stable || !trips {
                worker.respond(request, &[(":status", "200")], false);
                body(&mut worker, request, 1, request.exchange.chosen() == Role::Stable);
            }
        }
        later(&process, 10_000);
        let (total, failure, overdue, _) = counts(&mut worker, "canary.2");
        assert!(total > 50 && total == failure && total == overdue, "{total} {failure} {overdue}");
        worker.tick();
        assert_eq!(process.stat("guard_tripped"), u64::from(trips));
    }
}

/// Requests that the kill switch sent to stable aren't counted, even if they are overdue; nor are
/// overridden ones.
#[test]
fn diverted_and_overridden_requests_are_never_overdue() {
    let process = Process::default();
    let json = config(|r| {
        r["weight"] = 100.into();
        r["failure"] = json!({"overdue": {"answer": "1s"}});
        r["override"] = json!({"header": "x-canary"});
    });
    let mut worker = worker(&process, true, &json);
    let diverted = send(&mut worker, 1, true, &[]);
    let forced = send(&mut worker, 2, true, &[("x-canary", "always")]);
    let hangs = send(&mut worker, 3, true, &[]);
    let cluster = |name: &str| name.as_bytes().to_vec();
    process.streams.borrow_mut().insert((1, "xds.cluster_name".into()), cluster("s"));
    process.streams.borrow_mut().insert((3, "xds.cluster_name".into()), cluster("c"));
    later(&process, 1_000);
    assert_eq!(counts(&mut worker, "canary.2"), (1, 1, 1, 0));
    [diverted, forced, hangs].into_iter().for_each(|request| worker.leave(request));
    worker.tick();
    assert_eq!(process.stat("canary.2.rq_forced"), 1);
}

/// A pushed configuration: requests in flight keep the deadlines that they began under, and what has
/// passed when their worker ends is counted.
#[test]
fn a_pushed_configuration_leaves_old_deadlines_to_the_old_worker() {
    let process = Process::default();
    let mut worker = worker(&process, true, &overdue(json!({"answer": "1s"})));
    let hangs = send(&mut worker, 1, true, &[]);
    let mut old = worker.push(&overdue(json!({"answer": "5s"})));
    let new = send(&mut worker, 2, true, &[]);
    later(&process, 1_000);
    assert_eq!(counts(&mut worker, "stable.1"), (0, 0, 0, 0));
    let effects = old.close(&mut worker.vm, &process);
    process.perform(effects);
    assert_eq!(counts(&mut worker, "stable.1"), (1, 1, 1, 0));
    later(&process, 4_000);
    assert_eq!(counts(&mut worker, "stable.1"), (2, 2, 2, 0));
    drop((hangs, new));
}

/// Nothing is kept of requests where no deadline is configured.
#[test]
fn without_deadlines_nothing_is_watched() {
    let process = Process::default();
    let mut worker = worker(&process, true, &config(|_| {}));
    assert!(send(&mut worker, 1, true, &[]).watched.is_none());
    assert_eq!(worker.worker.rollouts[0].rollout.failure.overdue, Overdue::default());
}
