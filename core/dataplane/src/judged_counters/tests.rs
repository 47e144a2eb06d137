//! Counting at one age, in simulated workers.

use serde_json::json;

use crate::effect::RequestChange;
use crate::simulation::{Process, Request, SECOND, SimulatedResponse, SimulatedWorker, config};

const AGE: u64 = 2 * SECOND;

/// A worker of a rollout with `outcome_age: 2s`, a conversion, and these changes.
fn worker<'a>(process: &'a Process, fields: serde_json::Value) -> SimulatedWorker<'a> {
    SimulatedWorker::start(process, &json(fields), 1)
}

fn json(fields: serde_json::Value) -> Vec<u8> {
    config(|rollout| {
        rollout["outcome_age"] = "2s".into();
        rollout["guard"] = json!({"enabled": false});
        rollout["signals"] = json!([
            {"name": "other", "from": {"request": {"path_prefix": "/x"}}, "conversion": true},
            {"name": "paid", "from": {"response_header": "x-paid"}, "conversion": true},
            {"name": "order", "from": {"request": {"path_prefix": "/order"}}, "conversion": true},
        ]);
        for (field, value) in fields.as_object().unwrap() {
            rollout[field] = value.clone();
        }
    })
}

fn sticky() -> serde_json::Value {
    json!({"affinity": [{"header": "x-user"}]})
}

/// These counters of stable's version 1.
fn stable<const N: usize>(process: &Process, metrics: [&str; N]) -> [u64; N] {
    metrics.map(|metric| process.stat(&format!("stable.1.{metric}")))
}

const JUDGED: [&str; 4] = ["assigned_total", "judged_total", "judged_failure", "judged_unanswered"];
const CLIENTS: [&str; 4] =
    ["assigned_total", "client_total", "client_failure", "client_first_failure"];

/// Each request counts when its slot of a quarter of a second has reached the age: with its failure, or
/// not at all.
#[test]
fn a_request_counts_at_its_age_with_what_is_known_by_then() {
    let process = Process::default();
    let mut worker = worker(&process, json!({}));
    worker.tick();
    assert_eq!(process.stat("outcome_age_seconds"), 2);
    for status in ["200", "404", "503"] {
        let (request, _) = worker.begin(&[]);
        worker.end(request, status);
    }
    let (left, _) = worker.begin(&[]);
    worker.leave(left);
    let (hangs, _) = worker.begin(&[]);
    worker.pass(AGE);
    assert_eq!(stable(&process, JUDGED), [5, 0, 0, 0], "what is assigned counts at once");
    assert_eq!(stable(&process, ["rq_total", "rq_failure", "rq_abandoned"]), [4, 1, 1]);
    worker.pass(SECOND / 4);
    assert_eq!(stable(&process, JUDGED), [5, 3, 1, 2]);
    worker.end(hangs, "500");
    worker.pass(AGE * 2);
    assert_eq!(stable(&process, JUDGED), [5, 3, 1, 2], "later outcomes are not judged");
    assert_eq!(stable(&process, ["rq_total", "rq_failure"]), [5, 2], "but shown");
}

#[test]
fn an_age_is_shown_rounded_up_and_kept_exactly() {
    let process = Process::default();
    let mut worker = worker(&process, json!({"outcome_age": "1s1ms"}));
    let (request, _) = worker.begin(&[]);
    worker.end(request, "200");
    worker.pass(SECOND + SECOND / 4);
    assert_eq!(process.stat("outcome_age_seconds"), 2);
    assert_eq!(stable(&process, JUDGED), [1, 0, 0, 0]);
    worker.pass(1_000_000);
    assert_eq!(stable(&process, JUDGED), [1, 1, 0, 0]);
}

/// A conversion counts like a failure, at the age; an answer that fails converts nothing.
#[test]
fn conversions_count_at_the_age() {
    let process = Process::default();
    let mut worker = worker(&process, sticky());
    for (user, path, status) in
        [("a", "/", "200"), ("a", "/order", "200"), ("b", "/order", "500"), ("c", "/order", "201")]
    {
        let (mut request, _) = worker.begin(&[("x-user", user), (":path", path)]);
        let response = vec![(":status", status.to_owned()), ("x-paid", "1".to_owned())];
        if path == "/order" {
            let response = SimulatedResponse(response);
            worker.worker.respond(&mut request, &response, true, &process);
        }
        worker.end(request, status);
    }
    worker.tick();
    let order = ["signal.order.converted", "signal_first.order.converted"];
    assert_eq!(stable(&process, order), [0, 0]);
    worker.pass(3 * SECOND);
    assert_eq!(
        stable(&process, order),
        [2, 1],
        "c's first request converts, a's first one doesn't"
    );
    assert_eq!(stable(&process, ["signal.other.converted"]), [0]);
    assert_eq!(stable(&process, ["signal.paid.converted"]), [2], "by a header of good answers");
    assert_eq!(stable(&process, ["client_total", "judged_total"]), [3, 4]);
}

/// Overridden requests never count, inherited ones not as assigned, diverted ones only so.
#[test]
fn what_is_not_compared_is_not_judged() {
    let process = Process::default();
    let fields = json!({"inherit": true, "override": {"header": "x-canary"}, "weight": 100});
    let mut worker = worker(&process, fields);
    let (request, role) = worker.begin(&[("x-canary", "never")]);
    assert_eq!(role, "stable");
    worker.end(request, "500");
    let (request, _) = worker.begin(&[("x-canary-version", "1")]);
    worker.end(request, "500");
    let (mut diverted, role) = worker.begin(&[]);
    assert_eq!(role, "canary");
    let response = SimulatedResponse(vec![
        (":status", "500".to_owned()),
        ("xds.cluster_name", "s".to_owned()),
    ]);
    worker.worker.respond(&mut diverted, &response, true, &process);
    worker.leave(diverted);
    worker.pass(3 * SECOND);
    assert_eq!(stable(&process, JUDGED), [0, 1, 1, 0]);
    let canary = JUDGED.map(|metric| process.stat(&format!("canary.2.{metric}")));
    assert_eq!(canary, [1, 0, 0, 0]);
    assert_eq!(stable(&process, ["rq_forced"]), [1]);
}

/// Several workers count a client once: as assigned, as seen, at its first judged request, and as
/// failed.
#[test]
fn several_workers_count_a_client_once() {
    let process = Process::default();
    let mut workers: Vec<_> =
        (0..4).map(|seed| SimulatedWorker::start(&process, &json(sticky()), seed)).collect();
    for round in 0..3 {
        for worker in &mut workers {
            for user in ["a", "b", "c", "d"] {
                let (request, _) = worker.begin(&[("x-user", user)]);
                let fails = user == "a" || (user == "b" && round == 1);
                worker.end(request, if fails { "500" } else { "200" });
            }
        }
    }
    // A request without a key is a client of its own.
    let (request, _) = workers[0].begin(&[]);
    workers[0].end(request, "500");
    workers.iter_mut().for_each(SimulatedWorker::tick);
    assert_eq!(stable(&process, CLIENTS), [5, 0, 0, 0]);
    workers.iter_mut().for_each(|worker| worker.pass(SECOND));
    workers.iter_mut().for_each(SimulatedWorker::tick);
    assert_eq!(stable(&process, CLIENTS), [5, 5, 3, 2]);
    assert_eq!(stable(&process, ["judged_total", "judged_failure"]), [49, 17], "requests");
}

/// A client is seen at its first request that is judged, and that request says how its first one went.
#[test]
fn a_client_counts_with_its_first_request_that_is_judged() {
    let process = Process::default();
    let mut worker = worker(&process, sticky());
    let a = [("x-user", "a")];
    // The first request hangs and the second fails: the second is the first that is judged.
    let (hangs, _) = worker.begin(&a);
    let (fails, _) = worker.begin(&a);
    worker.end(fails, "500");
    // The first of b is slow and good, the second quick and bad: the first one counts as the first.
    let b = [("x-user", "b")];
    let (slow, _) = worker.begin(&b);
    let (quick, _) = worker.begin(&b);
    worker.end(quick, "500");
    worker.pass(SECOND);
    worker.end(slow, "200");
    worker.pass(AGE);
    assert_eq!(stable(&process, CLIENTS), [2, 2, 2, 1]);
    worker.end(hangs, "500");
    worker.pass(2 * AGE);
    assert_eq!(stable(&process, CLIENTS), [2, 2, 2, 1]);
}

/// What was assigned in another window counts for no client, but as requests.
#[test]
fn a_new_window_counts_clients_again() {
    let process = Process::default();
    let mut worker = worker(&process, sticky());
    let request = |worker: &mut SimulatedWorker<'_>| {
        let (request, _) = worker.begin(&[("x-user", "a")]);
        worker.end(request, "500");
    };
    worker.poll(&[("window", "1")]);
    request(&mut worker);
    worker.tick();
    worker.poll(&[("window", "2")]);
    request(&mut worker);
    worker.pass(3 * SECOND);
    assert_eq!(stable(&process, CLIENTS), [2, 1, 1, 1]);
    assert_eq!(stable(&process, ["judged_total", "judged_failure"]), [2, 2]);
    request(&mut worker);
    worker.pass(3 * SECOND);
    assert_eq!(stable(&process, CLIENTS), [2, 1, 1, 1], "once a window");
}

/// Times and signals count only requests that end under the weight that they were assigned under.
#[test]
fn times_count_within_one_weight_generation() {
    let steps: [(&[(&str, &str)], bool); 9] = [
        (&[("weight", "5"), ("lease", "30:a")], false),
        (&[("weight", "5"), ("lease", "30:b")], true),
        (&[("weight", "5"), ("lease", "30:b"), ("window", "2")], true),
        (&[("weight", "5.0000"), ("lease", "30:b"), ("epoch", "2")], true),
        (&[("weight", "5@2"), ("lease", "30:b")], true),
        (&[("weight", "6"), ("lease", "30:b")], false),
        (&[("weight", "5"), ("lease", "30:b")], false),
        (&[("weight", "5@3"), ("lease", "30:b")], false),
        (&[], false),
    ];
    let process = Process::default();
    let mut worker = worker(&process, json!({"outcome_age": "10m", "weight": 5}));
    worker.poll(&[("weight", "0")]);
    for (settings, counts) in steps {
        let before = stable(&process, ["rq_time_us"])[0];
        // At 5 % a request may go to the canary, which is counted alike.
        let canary_before = process.stat("canary.2.rq_time_us");
        let (request, _) = worker.begin(&[]);
        worker.poll(settings);
        worker.end(request, "200");
        worker.tick();
        let after = stable(&process, ["rq_time_us"])[0] - before;
        let after = after + process.stat("canary.2.rq_time_us") - canary_before;
        assert_eq!(after, u64::from(counts), "{settings:?}");
    }
}

#[test]
fn a_trip_a_lease_and_a_returning_weight_start_a_generation() {
    let process = Process::default();
    let mut worker = worker(&process, json!({"guard": {"enabled": true}}));
    let times = || process.stat("stable.1.rq_time_us") + process.stat("canary.2.rq_time_us");
    // The weight goes and comes back while the request runs.
    worker.poll(&[("weight", "50")]);
    let (request, _) = worker.begin(&[]);
    worker.poll(&[("weight", "10")]);
    worker.poll(&[("weight", "50")]);
    worker.end(request, "200");
    worker.tick();
    assert_eq!(times(), 0);
    // The lease ends, and is renewed before the request ends.
    worker.poll(&[("weight", "50"), ("lease", "2:a")]);
    let (request, _) = worker.begin(&[]);
    let (second, _) = worker.begin(&[]);
    process.now_ns.set(process.now_ns.get() + 3 * SECOND);
    worker.end(second, "200");
    worker.poll(&[("weight", "50"), ("lease", "60:b")]);
    worker.end(request, "200");
    worker.tick();
    assert_eq!(times(), 0);
    // The guard trips, and a new epoch brings the weight back.
    let mut old = Vec::new();
    while process.stat("guard_tripped") == 0 {
        let (request, role) = worker.begin(&[]);
        if role == "canary" {
            worker.end(request, "503")
        } else {
            old.push(request);
            None
        };
        worker.tick();
    }
    let before = times();
    worker.poll(&[("weight", "50"), ("lease", "60:b"), ("epoch", "1")]);
    old.into_iter().for_each(|request| drop(worker.end(request, "200")));
    worker.tick();
    assert_eq!(times(), before);
    let (request, _) = worker.begin(&[]);
    worker.end(request, "200");
    worker.tick();
    assert_eq!(times(), before + 1);
}

/// A pushed configuration with another weight starts a generation, in the old worker as well. What the
/// old one leaves is judged at its age.
#[test]
fn a_pushed_weight_starts_a_generation_and_what_is_left_is_judged() {
    let process = Process::default();
    let mut worker = worker(&process, json!({"weight": 0}));
    worker.tick();
    let (request, _) = worker.begin(&[]);
    let (same, _) = worker.begin(&[]);
    let mut old = worker.push(&json(json!({"weight": 0, "outcome_age": "10m"})));
    worker.tick();
    let response = SimulatedResponse(vec![(":status", "500".to_owned())]);
    let end = |worker: &mut crate::worker::FilterWorker, mut request| {
        worker.respond(&mut request, &response, true, &process);
        process.perform(worker.finish(request, &response, &process));
    };
    end(&mut old, same);
    let mut second = worker.push(&json(json!({"weight": 1})));
    worker.tick();
    process.perform(old.tick(7, &mut worker.vm, &process));
    end(&mut old, request);
    process.perform(old.close(&mut worker.vm, &process));
    process.perform(second.close(&mut worker.vm, &process));
    worker.tick();
    assert_eq!(stable(&process, ["rq_total", "rq_time_us", "judged_total"]), [2, 1, 0]);
    worker.pass(3 * SECOND);
    assert_eq!(stable(&process, JUDGED), [2, 2, 2, 0]);
}

/// Labels from the runtime: a request keeps those that it was assigned under until it ends, and what
/// names a version uses the ones in force.
#[test]
fn labels_change_between_requests_not_within_one() {
    let process = Process::default();
    let mut worker = worker(&process, json!({"propagate": true}));
    let old = [("weight", "100@2")];
    worker.poll(&old);
    let (mut first, role) = worker.begin(&[]);
    assert_eq!(role, "canary");
    worker.poll(&[("weight", "100@3"), ("stable_version", "1=2"), ("canary_version", "2=3")]);
    let response = SimulatedResponse(vec![(":status", "200".to_owned())]);
    let change = worker.worker.respond(&mut first, &response, true, &process);
    assert_eq!(change.unwrap().change.version, ("x-canary-version", "2"));
    worker.leave(first);
    let begun = worker.worker.begin(0, &Request(&[]), &process).decided();
    assert!(begun.changes.contains(&RequestChange::Set("x-canary-version", "3")));
    let second = begun.request.unwrap();
    worker.end(second, "200");
    // A label for another configured version is ignored; so is one that can't be read.
    worker.poll(&[("weight", "0"), ("stable_version", "9=8"), ("canary_version", "2=3=4")]);
    let begun = worker.worker.begin(0, &Request(&[]), &process).decided();
    assert_eq!(begun.changes, [RequestChange::Set("x-canary-version", "1")]);
    let third = begun.request.unwrap();
    worker.end(third, "200");
    worker.pass(3 * SECOND);
    let total = |name: &str| process.stat(&format!("{name}.judged_total"));
    assert_eq!(["canary.2", "canary.3", "stable.1", "stable.2"].map(total), [1, 1, 1, 0]);
    let log = process.take_log();
    let unreadable = log.iter().filter(|line| line.contains("canary.r.canary_version is `2=3=4`"));
    assert_eq!(unreadable.count(), 1, "{log:?}");
    assert_eq!(process.stat("canary.3.rq_total"), 1);
}

/// Another worker's record says that the canary is a new version: the default salt is the new one's
/// from the very next canary request on, before any tick.
#[test]
fn a_new_canary_version_brings_its_salt_before_any_tick() {
    let process = Process::default();
    let start = |seed| SimulatedWorker::start(&process, &json(sticky()), seed);
    let (mut leader, mut other) = (start(1), start(2));
    let labeled = [("weight", "50"), ("canary_version", "2=3")];
    leader.poll(&[("weight", "50")]);
    other.tick();
    leader.poll(&labeled);
    let mut fresh = SimulatedWorker::start(
        &process,
        &json(json!({"affinity": [{"header": "x-user"}], "salt": "r/3"})),
        3,
    );
    fresh.poll(&labeled);
    let users: Vec<String> = (0..100).map(|user| format!("user-{user}")).collect();
    // The first request that may go to the canary brings the news.
    let mut news = users.iter().skip_while(|user| other.begin(&[("x-user", user)]).1 == "stable");
    assert!(news.next().is_some());
    for user in &users {
        let headers = [("x-user", user.as_str())];
        assert_eq!(other.begin(&headers).1, fresh.begin(&headers).1, "{user}");
    }
}

/// With the same version on both sides, an inherited version decides nothing.
#[test]
fn one_version_on_both_sides_is_not_inherited() {
    let process = Process::default();
    let mut worker = worker(&process, json!({"inherit": true}));
    assert_eq!(worker.begin(&[("x-canary-version", "2")]).1, "canary");
    worker.poll(&[("weight", "0"), ("stable_version", "1=2")]);
    assert_eq!(worker.begin(&[("x-canary-version", "2")]).1, "stable");
    worker.poll(&[("weight", "100"), ("stable_version", "1=2")]);
    assert_eq!(worker.begin(&[("x-canary-version", "2")]).1, "canary", "by weight");
}

/// The thirty-third version of a role is counted as `other`, by all workers; the headers name it.
#[test]
fn a_role_has_statistics_of_its_own_for_32_versions() {
    let process = Process::default();
    let start = |seed| SimulatedWorker::start(&process, &json(json!({})), seed);
    let (mut leader, mut late) = (start(1), start(2));
    for version in 100..140 {
        let label = format!("1={version}");
        leader.poll(&[("stable_version", &label)]);
        late.tick();
        for worker in [&mut leader, &mut late] {
            let (mut request, _) = worker.begin(&[]);
            let response = SimulatedResponse(vec![(":status", "200".to_owned())]);
            let change = worker.worker.respond(&mut request, &response, true, &process);
            assert_eq!(change.unwrap().change.version.1, version.to_string());
            worker.leave(request);
        }
    }
    // Once it is known, a version keeps its statistics.
    leader.poll(&[("stable_version", "1=100")]);
    let (request, _) = leader.begin(&[]);
    leader.end(request, "200");
    leader.tick();
    late.tick();
    let total = |version: &str| process.stat(&format!("stable.{version}.rq_total"));
    assert_eq!(["100", "130", "131", "139", "other"].map(total), [3, 2, 0, 0, 18]);
}
