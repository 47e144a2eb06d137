use serde_json::json;

use super::*;
use crate::assign::Reason;
use canary_model::config::Config;

fn failure(rule: serde_json::Value) -> FailureRule {
    let config = json!({"rollouts": [{"name": "r", "failure": rule,
        "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"}}]});
    Config::parse(config.to_string().as_bytes()).unwrap().rollouts.remove(0).failure
}

fn exchange(role: Role, reason: Reason, grpc: bool) -> Exchange {
    let assignment = Assignment::for_test(role, reason);
    Exchange::begin(&assignment, CountingUnit::Request, grpc, 1_000_000)
}

fn compared(exchange: &Exchange) -> ComparedRequest {
    ended(exchange, &FailureRule::default(), ResponseEnd::Complete)
}

fn ended(exchange: &Exchange, failure: &FailureRule, end: ResponseEnd) -> ComparedRequest {
    match exchange.finish(failure, end, None, 3_500_000) {
        Outcome::Compared(compared) => compared,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_from_the_chosen_version() {
    let mut exchange = exchange(Role::Canary, Reason::Random, false);
    assert_eq!(exchange.answered(503, Responder::Chosen), Role::Canary);
    let expected = ComparedRequest {
        role: Role::Canary,
        unit: CountingUnit::Request,
        result: RequestResult::Failure,
        class: 5,
        fault: None,
        rescued: false,
        time_us: Some(2_500),
        ttfb_us: None,
        gap_us: None,
    };
    assert_eq!(compared(&exchange), expected);
}

#[test]
fn a_rescued_request_is_the_canarys_failure_as_the_client_got_it() {
    let mut saved = exchange(Role::Canary, Reason::Random, false);
    assert_eq!(saved.answered(200, Responder::Rescue), Role::Stable);
    let request = compared(&saved);
    assert_eq!(
        (request.role, request.result, request.class, request.rescued),
        (Role::Canary, RequestResult::Failure, 2, true)
    );
    assert!(!saved.is_readable(&FailureRule::default()));
    let mut both_failed = exchange(Role::Canary, Reason::Random, false);
    both_failed.answered(503, Responder::Rescue);
    let request = compared(&both_failed);
    assert_eq!(
        (request.result, request.class, request.rescued),
        (RequestResult::Failure, 5, false)
    );
}

#[test]
fn a_diverted_request_is_not_counted_unless_overridden() {
    for (reason, request) in [
        (Reason::Random, Outcome::Diverted(CountingUnit::Request)),
        (Reason::Override, Outcome::Overridden(Role::Stable)),
    ] {
        let mut exchange = exchange(Role::Canary, reason, false);
        assert_eq!(exchange.answered(200, Responder::KillSwitch), Role::Stable);
        assert_eq!(
            exchange.finish(&FailureRule::default(), ResponseEnd::Complete, None, 0),
            request
        );
    }
}

#[test]
fn an_overridden_request_counts_separately() {
    for role in Role::ALL {
        let mut exchange = exchange(role, Reason::Override, false);
        exchange.answered(500, Responder::Chosen);
        assert_eq!(
            exchange.finish(&FailureRule::default(), ResponseEnd::Complete, None, 0),
            Outcome::Overridden(role)
        );
    }
}

#[test]
fn grpc_fails_by_its_own_status() {
    for (http, grpc, outcome) in [
        (200, Some(0), RequestResult::Success),
        (200, Some(14), RequestResult::Failure),
        (200, Some(5), RequestResult::Success),
        (503, None, RequestResult::Failure),
        (404, None, RequestResult::Success),
        (503, Some(0), RequestResult::Success),
    ] {
        let mut exchange = exchange(Role::Stable, Reason::Random, true);
        exchange.answered(http, Responder::Chosen);
        if let Some(status) = grpc {
            exchange.set_grpc_status(status);
        }
        let request = compared(&exchange);
        assert_eq!(
            (request.result, u16::from(request.class)),
            (outcome, http / 100),
            "{http} {grpc:?}"
        );
    }
}

#[test]
fn a_client_that_left_is_neither_and_an_upgrade_has_no_time() {
    let left = compared(&exchange(Role::Canary, Reason::Random, false));
    assert_eq!((left.result, left.class), (RequestResult::Abandoned, 0));
    let mut upgraded = exchange(Role::Canary, Reason::Random, false);
    upgraded.answered(101, Responder::Chosen);
    assert_eq!(compared(&upgraded).time_us, None);
}

/// What is counted of an exchange by how it ended: the result, whether it broke, and whether its time
/// counts.
type Counted = (RequestResult, bool, bool);

const SUCCESS: Counted = (RequestResult::Success, false, true);
const FAILURE: Counted = (RequestResult::Failure, false, true);
const BROKEN: Counted = (RequestResult::Failure, true, true);
const ABANDONED: Counted = (RequestResult::Abandoned, false, false);
const LEFT: Counted = (RequestResult::Success, false, false);

fn counted(exchange: &Exchange, failure: &FailureRule, end: ResponseEnd) -> Counted {
    let request = ended(exchange, failure, end);
    let broken = request.fault == Some(ResponseFault::Broken);
    (request.result, broken, request.time_us.is_some())
}

#[test]
fn how_a_response_ended_decides_before_its_status() {
    let by_default = FailureRule::default();
    let off = failure(json!({"broken": false}));
    use ResponseEnd::{Broken, ClientLeft, Complete};
    for (http, end, expected, without) in [
        (200, Complete, SUCCESS, SUCCESS),
        (200, Broken, BROKEN, SUCCESS),
        (503, Broken, BROKEN, FAILURE),
        (404, Broken, BROKEN, SUCCESS),
        (200, ClientLeft, LEFT, LEFT),
        (
            503,
            ClientLeft,
            (RequestResult::Failure, false, false),
            (RequestResult::Failure, false, false),
        ),
    ] {
        let mut exchange = exchange(Role::Canary, Reason::Random, false);
        assert_eq!(counted(&exchange, &by_default, end), ABANDONED, "no headers, {end:?}");
        exchange.answered(http, Responder::Chosen);
        exchange.set_begun();
        assert_eq!(counted(&exchange, &by_default, end), expected, "{http} {end:?}");
        assert_eq!(counted(&exchange, &off, end), without, "{http} {end:?}");
        assert_eq!(u16::from(ended(&exchange, &by_default, end).class), http / 100);
    }
}

#[test]
fn grpc_without_a_status_is_broken_unless_the_client_ended_it() {
    let by_default = FailureRule::default();
    let off = failure(json!({"broken": false}));
    use ResponseEnd::{Broken, ClientLeft, Complete};
    for (http, status, end, expected, without) in [
        (200, None, Complete, BROKEN, SUCCESS),
        (200, None, Broken, BROKEN, SUCCESS),
        (503, None, Complete, FAILURE, FAILURE),
        (404, None, Complete, SUCCESS, SUCCESS),
        (404, None, Broken, BROKEN, SUCCESS),
        (200, None, ClientLeft, ABANDONED, ABANDONED),
        (200, Some(0), ClientLeft, LEFT, LEFT),
        (200, Some(14), Complete, FAILURE, FAILURE),
        (200, Some(0), Broken, BROKEN, SUCCESS),
    ] {
        let mut exchange = exchange(Role::Canary, Reason::Random, true);
        exchange.answered(http, Responder::Chosen);
        exchange.set_begun();
        if let Some(status) = status {
            exchange.set_grpc_status(status);
        }
        assert_eq!(counted(&exchange, &by_default, end), expected, "{http} {status:?} {end:?}");
        assert_eq!(counted(&exchange, &off, end), without, "{http} {status:?} {end:?}");
    }
}

/// An event stream begins with its first byte: a client that leaves before it has got nothing yet.
#[test]
fn a_response_that_hasnt_begun_is_abandoned_by_its_client_only() {
    let mut silent = exchange(Role::Canary, Reason::Random, false);
    silent.answered(200, Responder::Chosen);
    let by_default = FailureRule::default();
    assert_eq!(counted(&silent, &by_default, ResponseEnd::ClientLeft), ABANDONED);
    assert_eq!(counted(&silent, &by_default, ResponseEnd::Broken), BROKEN);
}

#[test]
fn where_the_end_matters_and_no_hook_has_seen_it() {
    let answered = |by, http| {
        let mut exchange = exchange(Role::Canary, Reason::Random, false);
        exchange.answered(http, by);
        exchange
    };
    assert!(answered(Responder::Chosen, 200).needs_end());
    assert!(answered(Responder::Rescue, 200).needs_end());
    assert!(!exchange(Role::Canary, Reason::Random, false).needs_end(), "abandoned");
    assert!(!answered(Responder::KillSwitch, 200).needs_end(), "not counted");
    assert!(!answered(Responder::Chosen, 101).needs_end(), "succeeded with its headers");
    let mut local = answered(Responder::Chosen, 504);
    local.set_local_reply(true);
    assert!(!local.needs_end(), "Envoy's own");
    let mut complete = answered(Responder::Chosen, 200);
    complete.set_ended();
    assert!(!complete.needs_end(), "a hook saw it");
    let mut forced = exchange(Role::Canary, Reason::Override, false);
    forced.answered(200, Responder::Chosen);
    assert!(!forced.needs_end(), "not compared");
}

#[test]
fn an_overdue_request_is_a_failure_in_no_class() {
    let trial = exchange(Role::Canary, Reason::Random, true).trial().unwrap();
    let overdue = |ttfb, first_byte| {
        let timings = Timings { ttfb, gap: true };
        match Outcome::overdue(&trial, timings, (Deadline::Answer, 31_000_000), first_byte) {
            Outcome::Compared(request) => request,
            other => panic!("{other:?}"),
        }
    };
    let request = overdue(true, None);
    assert_eq!((request.result, request.class), (RequestResult::Failure, 0));
    assert_eq!(request.fault, Some(ResponseFault::Overdue(Deadline::Answer)));
    assert_eq!((request.time_us, request.ttfb_us), (Some(30_000), Some(30_000)));
    assert_eq!(overdue(true, Some(7)).ttfb_us, Some(7));
    assert_eq!((overdue(false, Some(7)).ttfb_us, overdue(false, None).gap_us), (None, None));
    assert_eq!(exchange(Role::Canary, Reason::Override, false).trial(), None);
}

/// By the events of its body: no done marker is broken, whatever `broken` says of the connection; an
/// error or no event with data is a failure. What a client didn't wait for isn't held against it.
#[test]
fn the_events_of_a_stream_decide_before_its_status() {
    let mut stream = exchange(Role::Canary, Reason::Random, false);
    stream.answered(200, Responder::Chosen);
    stream.set_begun();
    let off = failure(json!({"broken": false}));
    for (fault, result, broken) in [
        (StreamFault::Incomplete, RequestResult::Failure, true),
        (StreamFault::Empty, RequestResult::Failure, false),
        (StreamFault::Error, RequestResult::Failure, false),
    ] {
        let by = |end| match stream.finish(&off, end, Some(fault), 0) {
            Outcome::Compared(request) => {
                (request.result, request.fault == Some(ResponseFault::Broken))
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(by(ResponseEnd::Complete), (result, broken), "{fault:?}");
        assert_eq!(by(ResponseEnd::ClientLeft), (RequestResult::Success, false), "{fault:?}");
    }
}
