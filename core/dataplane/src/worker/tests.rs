//! Workers of one simulated process: pushes, contention, drop order, unreadable records.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;

use super::*;
use crate::clients::ClientSet;
use crate::cohort::KeyHash;
use crate::control::{Control, WeightReason, weight_in_force};
use crate::guard::{Guard, GuardEvent};
use crate::shared::RecordError;
use crate::simulation::{Process, SECOND, SimulatedWorker, config, configured};
use canary_model::role::Role;
use canary_model::weight::Weight;

fn plain() -> Vec<u8> {
    config(|_| {})
}

/// One request; the canary fails.
fn one_request(worker: &Rc<RefCell<SimulatedWorker<'static>>>) {
    let mut worker = worker.borrow_mut();
    let (request, role) = worker.begin(&[]);
    worker.end(request, if role == "canary" { "503" } else { "200" });
}

/// Both workers see the canary fail, and each writes between the other's read and write. One of them
/// trips the guard and reports it, and both obey.
#[test]
fn workers_that_race_for_the_guards_trip_report_it_once() {
    let process: &'static Process = Box::leak(Box::default());
    let start = |seed| Rc::new(RefCell::new(SimulatedWorker::start(process, &plain(), seed)));
    let workers = [start(1), start(2)];
    workers[0].borrow_mut().poll(&[("weight", "50")]);
    workers[1].borrow_mut().tick();
    process.take_log();
    for _ in 0..200 {
        if process.is_undisturbed() {
            let other = Rc::clone(&workers[1]);
            process.interleave(move || one_request(&other));
        }
        one_request(&workers[0]);
    }
    let log = process.take_log();
    assert_eq!(log.iter().filter(|line| line.contains("guard tripped")).count(), 1, "{log:?}");
    for worker in &workers {
        assert!((0..20).all(|_| worker.borrow_mut().begin(&[]).1 == "stable"));
    }
}

#[test]
fn contention_loses_no_event() {
    let process: &'static Process = Box::leak(Box::default());
    let record = || Guard::record("r");
    record().create(process, || Guard::new(0));
    let weight = Weight::parse_percent("5").unwrap();
    let observe = move || {
        record().update(process, |guard| guard.observe(0, weight, &[GuardEvent::CanarySuccess]));
    };
    for _ in 0..50 {
        // Three other workers are faster, one after the other.
        (0..3).for_each(|_| process.interleave(observe));
        observe();
    }
    assert_eq!(record().read(process).unwrap().counts(Role::Canary).total, 200);
}

/// A request to the canary reads the record that confirms it, and nothing else that is shared: the
/// guard's score is as the worker left it.
#[test]
fn a_canary_request_reads_one_record_if_no_other_worker_writes() {
    let process = Process::default();
    let mut worker = SimulatedWorker::start(&process, &plain(), 1);
    worker.poll(&[("weight", "100")]);
    let mut calls = |status| {
        process.shared_calls.set((0, 0));
        let (request, role) = worker.begin(&[]);
        assert_eq!(role, "canary");
        worker.end(request, status);
        process.shared_calls.get()
    };
    // It has to find once that the score is as it left it. The poll wrote in between.
    assert_eq!([calls("200"), calls("200"), calls("200")], [(2, 1); 3]);
    for status in ["200", "503", "200"] {
        assert_eq!(calls(status), (1, 1), "{status}");
    }
}

#[test]
fn a_client_that_two_workers_see_failing_counts_as_failed_once() {
    let process: &'static Process = Box::leak(Box::default());
    let record = || ClientSet::record("failed", "r");
    record().create(process, ClientSet::default);
    let client = KeyHash::new("salt", b"client");
    let insert = move || {
        record().update(process, |failed| failed.insert(0, client)).is_some_and(|new| new.1)
    };
    let other = Rc::new(RefCell::new(false));
    let seen = Rc::clone(&other);
    process.interleave(move || *seen.borrow_mut() = insert());
    let first = insert();
    assert_eq!((first, *other.borrow()), (false, true), "the faster worker counts it");
}

#[test]
fn a_write_that_is_beaten_sixteen_times_is_left_to_the_next_occasion() {
    let process = Process::default();
    let record = ClientSet::record("failed", "r");
    record.create(&process, ClientSet::default);
    let client = KeyHash::new("salt", b"client");
    process.beat(16);
    assert!(record.update(&process, |failed| failed.insert(0, client)).is_none());
    assert_eq!(record.read(&process), Ok(ClientSet::default()));
    process.beat(15);
    let stored = record.update(&process, |failed| failed.insert(0, client));
    assert!(stored.is_some_and(|(_, new)| new));
}

/// The worker's cached weight is high, the shared record says zero: no request goes to the canary,
/// before any tick.
#[test]
fn a_cached_weight_sends_no_request_to_the_canary() {
    let process = Process::default();
    let mut leader = SimulatedWorker::start(&process, &plain(), 1);
    let mut other = SimulatedWorker::start(&process, &plain(), 2);
    leader.poll(&[("weight", "100")]);
    other.tick();
    let (request, role) = other.begin(&[]);
    assert_eq!(role, "canary");
    other.end(request, "200");
    leader.poll(&[("weight", "0")]);
    assert_eq!(other.worker.rollouts[0].cached_in_force(0).weight, Weight::FULL, "still cached");
    assert_eq!(other.begin(&[]).1, "stable");
}

#[test]
fn an_unreadable_record_is_stable_with_its_own_reason() {
    let process = Process::default();
    let mut worker = SimulatedWorker::start(&process, &config(|r| r["weight"] = 100.into()), 1);
    assert_eq!(worker.begin(&[]).1, "canary");
    let record = Control::record("r");
    let reason = |error| {
        let rollout = &configured(&Process::default(), &mut Vm::default(), &plain(), 1).rollouts[0];
        let in_force = weight_in_force(Err(error), &rollout.rollout, 0);
        assert_eq!(in_force.weight, Weight::ZERO);
        in_force.reason
    };
    for (break_it, error) in [(true, RecordError::Unreadable), (false, RecordError::Missing)] {
        if break_it {
            process.corrupt(record.key(), b"\xff");
        } else {
            process.forget(record.key());
        }
        assert_eq!(record.read(&process).unwrap_err(), error);
        assert_eq!(worker.begin(&[]).1, "stable", "{error:?}");
        worker.tick();
        assert_eq!(worker.begin(&[]).1, "stable", "a tick doesn't hide it");
        assert_eq!(reason(error), WeightReason::NoRecord(error));
    }
}

/// After a rollout is Healthy, Envoy keeps weight 100 for its version. The next canary starts at 0.
#[test]
fn a_weight_for_another_version_is_zero_and_said_once() {
    let process = Process::default();
    let mut worker = SimulatedWorker::start(&process, &plain(), 1);
    worker.poll(&[("weight", "100@2")]);
    assert_eq!(worker.begin(&[]).1, "canary");
    process.now_ns.set(process.now_ns.get() + SECOND);
    worker.tick();
    assert_eq!(process.stat("weight_ppm"), 1_000_000);
    let mut old = worker.push(&config(|r| r["canary"]["version"] = "3".into()));
    process.perform(old.close(&mut worker.vm, &process));
    process.take_log();
    assert_eq!(worker.begin(&[]).1, "stable", "at once, before any tick");
    for _ in 0..3 {
        worker.poll(&[("weight", "100@2")]);
    }
    assert_eq!((worker.begin(&[]).1, process.stat("weight_ppm")), ("stable", 0));
    let expected = "canary: the weight of rollout r is set for version 2, but the canary is 3; all \
                    requests go to stable until a weight is set for 3";
    assert_eq!(process.take_log(), [expected]);
    worker.poll(&[("weight", "100@3")]);
    assert_eq!(worker.begin(&[]).1, "canary");
    worker.poll(&[("weight", "100")]);
    assert_eq!(worker.begin(&[]).1, "canary", "a bare weight holds for any version");
}

/// Requests in flight keep the configuration that they began under. Only the newest worker polls and
/// shows, and an older one takes over again if the newer one ends first.
#[test]
fn generations_during_a_push() {
    let process = Process::default();
    let mut worker = SimulatedWorker::start(&process, &config(|r| r["weight"] = 100.into()), 1);
    let (in_flight, role) = worker.begin(&[]);
    assert_eq!(role, "canary");
    let mut old = worker.push(&config(|r| r["canary"]["version"] = "3".into()));
    worker.tick();
    assert_eq!(process.stat("weight_ppm"), 0, "the new configuration's weight");
    process.take_polls();
    process.now_ns.set(10 * SECOND);
    process.perform(old.tick(8, &mut worker.vm, &process));
    assert_eq!(process.stat("weight_ppm"), 0, "the old one shows nothing");
    assert!(process.take_polls().is_empty(), "and doesn't poll");
    // The new one ends first: its configuration was taken back while requests still ran.
    let mut newer = std::mem::replace(&mut worker.worker, old);
    process.perform(newer.close(&mut worker.vm, &process));
    worker.tick();
    assert_eq!(process.stat("weight_ppm"), 1_000_000);
    assert_eq!(process.take_polls().len(), 1);
    worker.end(in_flight, "200");
    worker.tick();
    assert_eq!((process.stat("canary.2.rq_total"), process.stat("canary.3.rq_total")), (1, 0));
}

/// The root context goes first, then the last request, then the worker: nothing counted is lost, and
/// nothing is counted twice.
#[test]
fn drop_order_loses_no_count() {
    let process = Process::default();
    let sticky = |version: &str| {
        config(|r| {
            r["affinity"] = json!([{"header": "x-user"}]);
            r["salt"] = "fixed".into();
            r["canary"]["version"] = version.into();
        })
    };
    let mut worker = SimulatedWorker::start(&process, &sticky("2"), 1);
    let (first, _) = worker.begin(&[("x-user", "a")]);
    let mut old = worker.push(&sticky("3"));
    // The client was seen by the old worker, so the new one doesn't count it again.
    let (second, _) = worker.begin(&[("x-user", "a")]);
    worker.end(second, "200");
    // The last request of the old worker ends, then the worker.
    let response = crate::simulation::SimulatedResponse(vec![]);
    process.perform(old.finish(first, &response, &process));
    assert_eq!(process.stat("stable.1.rq_total"), 0, "not handed over yet");
    process.perform(old.close(&mut worker.vm, &process));
    drop(old);
    assert_eq!((process.stat("stable.1.rq_total"), process.stat("stable.1.rq_abandoned")), (1, 1));
    // Its first request was abandoned, so the client is counted at its next one. The new worker counts
    // what the old one left.
    let (third, _) = worker.begin(&[("x-user", "a")]);
    worker.end(third, "200");
    worker.pass(21 * SECOND);
    let of = |metric: &str| process.stat(&format!("stable.1.{metric}"));
    assert_eq!((of("rq_total"), of("client_total")), (3, 1));
    assert_eq!((of("judged_total"), of("judged_unanswered")), (2, 1));
    assert_eq!(of("assigned_total"), 1);
}

/// The id that the filter generates is the request's key, so a client counts once and not again when
/// it returns with its cookie.
#[test]
fn cookie_clients_count_once() {
    let process = Process::default();
    let json = config(|r| {
        r["affinity"] = json!([{"cookie": "cohort"}]);
        r["guard"] = json!({"enabled": false});
    });
    let mut worker = SimulatedWorker::start(&process, &json, 1);
    let mut cookies = Vec::new();
    for _ in 0..100 {
        let (request, _) = worker.begin(&[]);
        let set = worker.end(request, "500").unwrap();
        cookies.push(set.split(';').next().unwrap().to_owned());
    }
    for cookie in &cookies {
        let (request, _) = worker.begin(&[("cookie", cookie)]);
        assert_eq!(worker.end(request, "500"), None, "it keeps its cookie");
    }
    worker.pass(21 * SECOND);
    let of = |metric: &str| process.stat(&format!("stable.1.{metric}"));
    assert_eq!((of("rq_total"), of("client_total"), of("client_failure")), (200, 100, 100));
    assert_eq!((of("judged_total"), of("assigned_total")), (200, 100));
    assert_eq!(of("client_first_failure"), 100);
}

/// A request whose client leaves before an answer is no trial: neither for the requests nor, in a
/// sticky rollout, for the clients.
#[test]
fn an_abandoned_request_leaves_its_client_unseen() {
    let process = Process::default();
    let json = config(|r| r["affinity"] = json!([{"header": "x-user"}]));
    let mut worker = SimulatedWorker::start(&process, &json, 1);
    let of = |metric: &str| process.stat(&format!("stable.1.{metric}"));
    let user = [("x-user", "a")];
    for _ in 0..3 {
        let (request, _) = worker.begin(&user);
        worker.leave(request);
    }
    worker.pass(21 * SECOND);
    assert_eq!((of("rq_total"), of("rq_abandoned"), of("rq_failure")), (3, 3, 0));
    assert_eq!((of("client_total"), of("rq_time_us"), of("judged_unanswered")), (0, 0, 3));
    let (request, _) = worker.begin(&user);
    worker.end(request, "503");
    worker.pass(21 * SECOND);
    assert_eq!((of("client_total"), of("client_failure"), of("client_first_failure")), (1, 1, 1));
    // One request hangs while the next one fails: that one is the first that is judged.
    let user = [("x-user", "b")];
    let (hanging, _) = worker.begin(&user);
    let (failing, _) = worker.begin(&user);
    worker.end(failing, "503");
    worker.leave(hanging);
    worker.pass(21 * SECOND);
    assert_eq!((of("client_total"), of("client_failure"), of("client_first_failure")), (2, 2, 2));
    assert_eq!((of("judged_total"), of("judged_failure"), of("judged_unanswered")), (2, 2, 4));
}

#[test]
fn a_lasting_poll_failure_is_logged_once_and_so_is_its_end() {
    let process = Process::default();
    let mut worker = SimulatedWorker::start(&process, &plain(), 1);
    process.take_log();
    let fail = |worker: &mut SimulatedWorker<'_>, status: Option<&'static [u8]>| {
        process.now_ns.set(process.now_ns.get() + SECOND);
        worker.tick();
        let answer = PollAnswer { status, body: b"" };
        let effects = worker.worker.answered(answer, &worker.vm, &process);
        process.perform(effects);
    };
    fail(&mut worker, None);
    fail(&mut worker, None);
    fail(&mut worker, Some(b"503"));
    process.perform(worker.worker.refused("BadArgument".to_owned()));
    worker.poll(&[]);
    let log = process.take_log();
    for (line, part) in
        log.iter().zip(["no answer", "status 503", "cluster `envoy_admin`", "readable again"])
    {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(log.len(), 4, "{log:?}");
}

#[test]
fn a_module_without_body_hooks_refuses_what_needs_them() {
    let signal = |from: &str| {
        json!([{"name": "a", "from": {"response_header": "h"}, "conversion": true},
            {"name": "b", "from": {from: "/a"}, "conversion": true}])
    };
    for (field, value, path) in [
        ("signals", signal("response_json"), "signals[1].from.response_json"),
        ("signals", signal("response_sse"), "signals[1].from.response_sse"),
        ("failure", json!({"sse": {}}), "failure.sse"),
        ("timings", json!(["gap"]), "timings"),
    ] {
        let json = config(|r| r[field] = value);
        let process = Process::default();
        let refused = FilterWorker::configure(&json, false, 1, &mut Vm::default(), &process);
        process.perform(refused.map(|_| ()).unwrap_err());
        let log = process.take_log();
        let expected = format!("rollouts[0].{path}: this module has no body hooks");
        assert!(log.len() == 1 && log[0].contains(&expected), "{log:?}");
        assert!(FilterWorker::configure(&json, true, 1, &mut Vm::default(), &process).is_ok());
    }
}
