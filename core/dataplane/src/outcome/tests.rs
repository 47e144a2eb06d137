use serde_json::json;

use super::*;
use crate::assign::Reason;
use canary_model::config::Config;

fn rollout() -> Rollout {
    let config = json!({"rollouts": [{"name": "r",
        "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"}}]});
    Config::parse(config.to_string().as_bytes()).unwrap().rollouts.remove(0)
}

fn exchange(role: Role, reason: Reason, grpc: bool) -> Exchange {
    let assignment = Assignment::for_test(role, reason);
    Exchange::begin(&assignment, CountingUnit::Request, grpc, 1_000_000)
}

fn compared(exchange: &Exchange) -> ComparedRequest {
    match exchange.finish(&rollout().failure, 3_500_000) {
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
        rescued: false,
        time_us: Some(2_500),
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
    assert!(!saved.is_readable(&rollout().failure));
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
        assert_eq!(exchange.finish(&rollout().failure, 0), request);
    }
}

#[test]
fn an_overridden_request_counts_separately() {
    for role in Role::ALL {
        let mut exchange = exchange(role, Reason::Override, false);
        exchange.answered(500, Responder::Chosen);
        assert_eq!(exchange.finish(&rollout().failure, 0), Outcome::Overridden(role));
    }
}

#[test]
fn grpc_fails_by_its_own_status() {
    for (http, grpc, outcome) in [
        (200, Some(0), RequestResult::Success),
        (200, Some(14), RequestResult::Failure),
        (200, Some(5), RequestResult::Success),
        (200, None, RequestResult::Failure),
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

#[test]
fn a_grpc_stream_that_breaks_off_fails_unless_the_client_left() {
    let (dc, dr, upstream_termination) = (1 << 14, 1 << 28, 1 << 6);
    let flags = [
        (0, RequestResult::Failure),
        (upstream_termination, RequestResult::Failure),
        (dc, RequestResult::Abandoned),
        (dr | upstream_termination, RequestResult::Abandoned),
    ];
    for (flags, outcome) in flags {
        let mut broken = exchange(Role::Canary, Reason::Random, true);
        assert!(!broken.broke_off(), "it hasn't begun");
        broken.answered(200, Responder::Chosen);
        assert!(broken.broke_off());
        broken.set_response_flags(flags);
        assert_eq!((compared(&broken).result, compared(&broken).class), (outcome, 2), "{flags}");
        broken.set_grpc_status(14);
        assert!(!broken.broke_off());
        assert_eq!(compared(&broken).result, RequestResult::Failure, "a status that came holds");
    }
    let mut http = exchange(Role::Canary, Reason::Random, false);
    http.answered(200, Responder::Chosen);
    assert!(!http.broke_off(), "an HTTP answer has its status");
}

#[test]
fn who_answered() {
    let rollout = rollout();
    let upstream = |cluster: &str, attempts, role: Option<&str>| {
        let bytes = |text: &str| text.as_bytes().to_vec();
        responder(
            &rollout,
            &UpstreamInfo { cluster: Some(bytes(cluster)), attempts, role: role.map(bytes) },
        )
    };
    assert_eq!(upstream("c", None, None), Responder::Chosen);
    assert_eq!(upstream("s", None, None), Responder::KillSwitch);
    assert_eq!(upstream("c-rescued", Some(1), Some("canary")), Responder::Chosen);
    assert_eq!(upstream("c-rescued", Some(1), Some("stable")), Responder::Rescue);
    assert_eq!(upstream("c-rescued", Some(1), None), Responder::Chosen);
    assert_eq!(upstream("c-rescued", Some(2), Some("stable")), Responder::Rescue);
    assert_eq!(upstream("c-rescued", Some(2), Some("canary")), Responder::Chosen);
    assert_eq!(upstream("c-rescued", Some(2), None), Responder::Rescue);
    assert_eq!(responder(&rollout, &UpstreamInfo::default()), Responder::Chosen);
}

#[test]
fn what_clients_and_upstreams_may_write() {
    assert!(
        is_grpc(b"application/grpc")
            && is_grpc(b"Application/gRPC+proto")
            && !is_grpc(b"application/json")
            && !is_grpc(b"")
            && !is_grpc(b"application/grpc-web+proto")
    );
    assert_eq!(
        (http_status(b"200"), http_status(b"99"), http_status(b"\xff"), http_status(b"600")),
        (Some(200), None, None, None)
    );
    assert_eq!(
        (grpc_status(b"0"), grpc_status(b" 14 "), grpc_status(b"x"), grpc_status(b"-1")),
        (0, 14, 2, 2)
    );
}
