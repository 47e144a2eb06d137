//! The confirmed canary: what all workers share is read when a request is about to go to the canary,
//! at no other, and so a rollback holds on all workers from the moment it's written.

use std::collections::BTreeMap;
use std::time::Duration;

use canary_integration::{
    Callback, ClientRequest, Load, LoadTally, RequestOutcome, Rig, Running, RunningLoad,
    TestUpstream,
};
use serde_json::json;

/// Every call that returns data and so costs ten times the others.
const DEAR: [&str; 5] = [
    "proxy_get_header_map_value",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_shared_data",
    "random_get",
];

/// How often a callback of these made a call of these.
fn calls(callbacks: &[Callback], in_callback: &str, wanted: &[&str]) -> usize {
    let of = callbacks.iter().filter(|callback| callback.name == in_callback);
    of.flat_map(|callback| &callback.calls).filter(|call| wanted.contains(&call.as_str())).count()
}

fn times(callbacks: &[Callback], name: &str) -> usize {
    callbacks.iter().filter(|callback| callback.name == name).count()
}

const SHARED: [&str; 2] = ["proxy_get_shared_data", "proxy_set_shared_data"];

#[tokio::test]
async fn the_shared_record_is_read_for_canary_requests_alone() {
    for (weight, reads) in [(0.0, 0), (100.0, 1)] {
        let rig = Rig::new().unguarded().weight(weight).start().await;
        let (tally, callbacks) = rig.traced(async { rig.load(60).concurrency(8).await }).await;
        assert_eq!(tally.with_status(200), 60);
        assert_eq!(times(&callbacks, "proxy_on_request_headers"), 60);
        assert_eq!(
            calls(&callbacks, "proxy_on_request_headers", &SHARED),
            reads * 60,
            "{weight} %"
        );
        for other in ["proxy_on_context_create", "proxy_on_response_headers", "proxy_on_delete"] {
            assert_eq!(times(&callbacks, other), 60, "{other}");
            assert_eq!(calls(&callbacks, other, &SHARED), 0, "{other} at {weight} %");
        }
    }
}

/// By user it's the same: the key decides whether a look is needed.
#[tokio::test]
async fn with_affinity_only_the_canarys_users_cost_a_look() {
    let rig = Rig::new().unguarded().affinity(json!([{"header": "x-user-id"}])).weight(50.0);
    let rig = rig.start().await;
    let by_user = |number: u64| ClientRequest::get("/").header("x-user-id", number.to_string());
    let load = async { rig.load(100).each(by_user).await };
    let (tally, callbacks) = rig.traced(load).await;
    let on_canary = usize::try_from(tally.of_version("1.1.0")).unwrap();
    assert!((20..80).contains(&on_canary));
    assert_eq!(calls(&callbacks, "proxy_on_request_headers", &SHARED), on_canary);
}

/// What a request may cost of the calls that return data. A feature that isn't configured costs
/// nothing, and neither does one that is for a request that doesn't need it.
#[tokio::test]
async fn dear_calls_stay_within_their_budget() {
    let by_user = json!([{"header": "x-user-id"}]);
    for (name, rig, most) in [
        // The two internal headers, the content type; the status; how the response ended.
        ("stable, random roll", Rig::new(), 5),
        ("stable, by header", Rig::new().affinity(by_user), 6),
        // Besides, the shared record, the guard's score and who answered; not the version's header.
        ("canary, random roll", Rig::new().weight(100.0), 7),
        // The guard's score is as the only worker left it.
        ("canary, one worker", Rig::new().workers(1).weight(100.0), 6),
    ] {
        let rig = rig.start().await;
        let load =
            async { rig.load(40).each(|_| ClientRequest::get("/").header("x-user-id", "7")).await };
        let (_, callbacks) = rig.traced(load).await;
        let of_requests = callbacks.iter().filter(|callback| callback.name != "proxy_on_tick");
        let of_requests =
            of_requests.filter(|callback| callback.name != "proxy_on_http_call_response");
        let dear = of_requests.flat_map(|callback| &callback.calls);
        let dear = dear.filter(|call| DEAR.contains(&call.as_str())).count();
        // Where the other worker was faster the guard's score is read once more.
        assert!(dear <= most * 40 + 4, "{name}: {dear} for 40 requests");
    }
}

/// The calls that a callback of this name makes most often.
fn usual_calls(callbacks: &[Callback], name: &str) -> Vec<String> {
    let mut counts: BTreeMap<&[String], usize> = BTreeMap::new();
    for callback in callbacks.iter().filter(|callback| callback.name == name) {
        *counts.entry(&callback.calls).or_default() += 1;
    }
    let usual = counts.into_iter().max_by_key(|(_, count)| *count);
    usual.map(|(calls, _)| calls.to_vec()).unwrap_or_default()
}

/// Every call of a plain GET. Each costs what docs/BENCHMARKS.md says, so a new one is a decision.
#[tokio::test]
async fn a_request_makes_these_calls_and_no_other() {
    const GET: &str = "proxy_get_header_map_value";
    const SET: &str = "proxy_replace_header_map_value";
    let to_stable = [
        ("proxy_on_request_headers", vec!["clock_time_get", GET, GET, GET]),
        ("proxy_on_response_headers", vec![GET, SET]),
        ("proxy_on_delete", vec!["proxy_get_property", "clock_time_get"]),
    ];
    let to_canary = [
        (
            "proxy_on_request_headers",
            vec![
                "clock_time_get",
                "proxy_get_shared_data",
                GET,
                GET,
                SET,
                SET,
                "proxy_call_foreign_function",
            ],
        ),
        ("proxy_on_response_headers", vec![GET, "proxy_get_property", SET]),
        ("proxy_on_delete", vec!["proxy_get_property", "clock_time_get", "proxy_set_shared_data"]),
    ];
    for (weight, expected) in [(0.0, to_stable), (100.0, to_canary)] {
        let rig = Rig::new().workers(1).weight(weight).start().await;
        let (tally, callbacks) = rig.traced(async { rig.load(40).await }).await;
        assert_eq!(tally.with_status(200), 40);
        for (name, calls) in expected {
            assert_eq!(usual_calls(&callbacks, name), calls, "{name} at {weight} %");
        }
    }
}

fn on_canary(outcome: &RequestOutcome) -> bool {
    outcome.version.as_deref() == Some("1.1.0")
}

/// Endless traffic on all of four workers.
fn traffic(rig: &Running) -> RunningLoad {
    rig.load(Load::ENDLESS).concurrency(40).rate(2_000.0).spawn()
}

/// Lets it run for this many more milliseconds.
async fn goes_on(rig: &Running, traffic: &RunningLoad, milliseconds: u64) {
    let until = traffic.elapsed() + Duration::from_millis(milliseconds);
    rig.eventually("more traffic", async || traffic.elapsed(), |now| *now > until).await;
}

/// From the first answer on that went by the new record, nothing that is sent may go to the canary.
fn nothing_stale(tally: &LoadTally) {
    let on_stable = tally.outcomes.iter().filter(|outcome| !on_canary(outcome));
    let first = on_stable.map(|outcome| outcome.at + outcome.took);
    let first = first.min().expect("some went to stable");
    let late = tally.outcomes.iter().filter(|outcome| outcome.at > first);
    assert!(late.clone().count() > 200, "too little traffic to tell");
    let stale: Vec<_> = late.filter(|outcome| on_canary(outcome)).collect();
    assert!(stale.is_empty(), "after {first:?}: {stale:?}");
}

/// Ticks are slow here: without the look at the record other workers would go on for half a second.
fn slow() -> Rig {
    Rig::new().workers(4).config(|config| config["runtime"]["interval"] = "1s".into())
}

#[tokio::test]
async fn weight_0_holds_from_that_moment_on_all_workers() {
    let rig = slow().start().await;
    for _ in 0..2 {
        rig.runtime_modify(&[("canary.demo.weight", "100")]).await;
        rig.all_go_to("1.1.0").await;
        let traffic = traffic(&rig);
        goes_on(&rig, &traffic, 300).await;
        rig.runtime_modify(&[("canary.demo.weight", "0")]).await;
        rig.weight_in_force(0).await;
        goes_on(&rig, &traffic, 1_000).await;
        nothing_stale(&traffic.stop().await);
    }
}

#[tokio::test]
async fn an_expired_lease_holds_from_that_moment_on_all_workers() {
    let rig = slow().start().await;
    rig.runtime_modify(&[("canary.demo.weight", "100"), ("canary.demo.lease", "2:a")]).await;
    rig.all_go_to("1.1.0").await;
    let traffic = traffic(&rig);
    let expired = async || rig.stat("demo.lease_expired").await;
    rig.eventually("the lease's end", expired, |expired| *expired == 1).await;
    goes_on(&rig, &traffic, 1_000).await;
    nothing_stale(&traffic.stop().await);
}

/// The moment of a trip is the end of the failure that is one too many.
#[tokio::test]
async fn a_trip_holds_from_that_moment_on_all_workers() {
    let rig =
        slow().canary(TestUpstream::ok().failing(503).latency_ms(60)).weight(50.0).start().await;
    let traffic = traffic(&rig);
    goes_on(&rig, &traffic, 1_000).await;
    let tally = traffic.stop().await;
    let failures = tally.outcomes.iter().filter(|outcome| on_canary(outcome));
    let mut ends: Vec<_> = failures.map(|outcome| outcome.at + outcome.took).collect();
    ends.sort();
    // Envoy counts a request a moment after its last byte is sent.
    let tripped = ends[20] + Duration::from_millis(15);
    let stale = tally.count(|outcome| on_canary(outcome) && outcome.at > tripped);
    assert_eq!(stale, 0, "{} canary requests in all", ends.len());
    assert!(tally.count(|outcome| outcome.at > tripped) > 500);
}
