use serde_json::json;

use super::*;
use crate::simulation::{Process, SimulatedResponse, SimulatedWorker, config};

fn counts(worker: &mut SimulatedWorker<'_>) -> (u64, u64, u64, u64, u64) {
    worker.tick();
    let of = |metric: &str| worker.process.stat(&format!("stable.1.{metric}"));
    (of("rq_total"), of("rq_failure"), of("rq_broken"), of("rq_2xx"), of("rq_time_us"))
}

/// A response whose end no hook sees, as in the module without body hooks, and what Envoy says of it.
fn answered(worker: &mut SimulatedWorker<'_>, status: &str, details: &'static str) {
    let (mut request, _) = worker.begin(&[]);
    worker.respond(&mut request, &[(":status", status)], false);
    worker.over(request, details);
}

#[test]
fn a_response_that_breaks_off_fails_and_one_whose_client_left_doesnt() {
    let process = Process::default();
    let mut worker = SimulatedWorker::start(&process, &config(|_| {}), 1);
    worker.worker.body_hooks = false;
    answered(&mut worker, "200", "via_upstream");
    assert_eq!(counts(&mut worker), (1, 0, 0, 1, 1));
    answered(&mut worker, "200", "upstream_reset_after_response_started{connection_termination}");
    answered(&mut worker, "200", "response_timeout");
    assert_eq!(counts(&mut worker), (3, 2, 2, 3, 3));
    answered(&mut worker, "200", "downstream_remote_disconnect");
    assert_eq!(counts(&mut worker), (4, 2, 2, 4, 3), "a success without a time");
}

/// Envoy's own 504 has the details of a response that Envoy cut off; while the headers pass, they tell
/// which of both it is.
#[test]
fn envoys_own_timeout_isnt_broken() {
    let process = Process::default();
    let mut worker = SimulatedWorker::start(&process, &config(|_| {}), 1);
    worker.worker.body_hooks = false;
    for (details, broken) in [("response_timeout", 0), ("via_upstream", 1)] {
        let (mut request, _) = worker.begin(&[]);
        let headers = [(":status", "504"), ("response.code_details", details)];
        let response = SimulatedResponse(headers.map(|(name, text)| (name, text.into())).into());
        worker.worker.respond(&mut request, &response, false, &process);
        worker.over(request, "response_timeout");
        worker.tick();
        assert_eq!(process.stat("stable.1.rq_broken"), broken, "{details}");
    }
    assert_eq!((process.stat("stable.1.rq_5xx"), process.stat("stable.1.rq_failure")), (2, 2));
}

/// In the module with body hooks, Envoy isn't asked if a hook saw the end.
#[test]
fn an_end_that_a_hook_saw_is_complete() {
    let process = Process::default();
    let mut worker = SimulatedWorker::start(&process, &config(|_| {}), 1);
    let (mut request, _) = worker.begin(&[]);
    worker.respond(&mut request, &[(":status", "504")], false);
    let last = BodyChunk { size: 3, ended: true, bytes: || None };
    worker.worker.body(&mut request, last, &process);
    worker.over(request, "response_timeout");
    worker.tick();
    assert_eq!((process.stat("stable.1.rq_broken"), process.stat("stable.1.rq_5xx")), (0, 1));
}

#[test]
fn an_upgraded_connection_counts_with_its_headers() {
    let process = Process::default();
    let mut worker = SimulatedWorker::start(&process, &config(|_| {}), 1);
    let (mut request, _) = worker.begin(&[]);
    worker.respond(&mut request, &[(":status", "101")], false);
    assert_eq!(counts(&mut worker), (1, 0, 0, 0, 0));
    worker.over(request, "upstream_reset_after_response_started{connection_termination}");
    assert_eq!(counts(&mut worker), (1, 0, 0, 0, 0));
}

/// The canary's answers that break off trip the guard as its errors do.
#[test]
fn the_guard_sees_a_broken_response_as_any_failure() {
    let trips_after = |status: &str, details: &'static str| {
        let process = Process::default();
        let mut worker = SimulatedWorker::start(&process, &config(|_| {}), 1);
        worker.worker.body_hooks = false;
        worker.poll(&[("weight", "5")]);
        let mut failures = 0;
        for _ in 0..2_000 {
            let (mut request, role) = worker.begin(&[]);
            let canary = role == "canary";
            let status = if canary { status } else { "200" };
            worker.respond(&mut request, &[(":status", status)], false);
            worker.over(request, if canary { details } else { "via_upstream" });
            failures += u64::from(canary);
        }
        worker.tick();
        assert_eq!(process.stat("guard_tripped"), 1);
        failures
    };
    let broken = trips_after("200", "upstream_reset_after_response_started{remote_reset}");
    assert_eq!(broken, trips_after("500", "via_upstream"));
    assert_eq!(broken, 6);
}

#[test]
fn a_body_that_broke_off_says_nothing_to_signals() {
    let process = Process::default();
    let json = config(|r| {
        r["failure"] = json!({"broken": false});
        r["signals"] = json!([{"name": "a", "from": {"response_json": ""}, "categories": ["1"]}]);
    });
    let mut worker = SimulatedWorker::start(&process, &json, 1);
    for (ended, details) in [
        (false, "upstream_reset_after_response_started{remote_reset}"),
        (false, "downstream_remote_disconnect"),
        (true, "via_upstream"),
    ] {
        let (mut request, _) = worker.begin(&[]);
        worker.respond(&mut request, &[(":status", "200")], false);
        let chunk = BodyChunk { size: 1, ended, bytes: || Some(b"1".to_vec()) };
        worker.worker.body(&mut request, chunk, &process);
        worker.over(request, details);
    }
    assert_eq!(counts(&mut worker), (3, 0, 0, 3, 2));
    assert_eq!(process.stat("stable.1.signal.a.1"), 1);
}
