//! Rescue, as `envoy/rescue.yaml` has it: what fails on the canary is answered by stable, so that
//! the users don't see it and the judge does.

use canary_integration::{
    Behavior, Bootstrap, ClientRequest, ClientResponse, Fault, FilterStats, Rig, Running,
    TestUpstream,
};
use hyper::Method;
use serde_json::{Value, json};

/// A second for each try, instead of fifteen.
fn hasty(bootstrap: &mut Bootstrap) {
    let routes = &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
    routes[0]["route"]["retry_policy"]["per_try_timeout"] = "1s".into();
}

/// Everything goes to the canary, without the guard, and its answers are read.
fn rig() -> Rig {
    let signals = |rollout: &mut Value| {
        rollout["signals"] = json!([
            {"name": "by", "from": {"response_header": "x-upstream"},
             "categories": [{"value": "1.0.0", "bin": "old"}, {"value": "1.1.0", "bin": "new"}]},
            {"name": "asked", "from": {"request": {"method": "GET"}}, "conversion": true}]);
    };
    Rig::new().rescue().rollout(signals).unguarded().weight(100.0)
}

/// Of the canary: total, failed, rescued, 2xx, 5xx.
fn canary(stats: &FilterStats) -> [u64; 5] {
    ["rq_total", "rq_failure", "rq_rescued", "rq_2xx", "rq_5xx"]
        .map(|metric| stats.metric_of("canary", metric))
}

fn signals(stats: &FilterStats) -> u64 {
    stats.values.iter().filter(|(name, _)| name.contains(".signal.")).map(|(_, count)| count).sum()
}

fn call() -> ClientRequest {
    ClientRequest::new(Method::POST, "/s/M").header("content-type", "application/grpc").http2()
}

fn by(answer: &ClientResponse, version: &str) {
    assert_eq!((answer.status, answer.upstream()), (200, Some(version)), "{answer:?}");
    assert_eq!(answer.version(), Some(version), "the stamp names who really answered");
}

#[tokio::test]
async fn the_clients_of_a_canary_that_fails_everything_see_nothing_of_it() {
    let rig = rig().canary(TestUpstream::ok().failing(503)).start().await;
    let tally = rig.load(600).concurrency(32).await;
    assert_eq!((tally.with_status(200), tally.of_version("1.0.0")), (600, 600), "{tally:?}");
    let stats = rig.counted(600).await;
    assert_eq!(canary(&stats), [600, 600, 600, 600, 0]);
    assert_eq!((signals(&stats), stats.metric_of("stable", "rq_total")), (0, 0));
    assert_eq!((rig.canary().seen(), rig.stable().seen()), (600, 600));
    let times = async || rig.stats().await.samples("canary", "rq_time_us");
    rig.eventually("its times are the clients'", times, |times| *times == 600).await;
}

/// However it fails: refused, reset, silent, with a status, in gRPC; a request with a body, too.
#[tokio::test]
async fn every_kind_of_failure_is_rescued() {
    let mut rig = rig().bootstrap(hasty).canary(TestUpstream::down()).start().await;
    let mut sent = 0;
    let mut rescued = async |rig: &Running| {
        for ask in [
            ClientRequest::get("/"),
            ClientRequest::new(Method::POST, "/").body("a body").http2(),
            call(),
        ] {
            by(&rig.request(ask).await, "1.0.0");
            sent += 1;
            let stats = rig.counted(sent).await;
            assert_eq!(canary(&stats), [sent, sent, sent, sent, 0]);
        }
    };
    rescued(&rig).await;
    rig.canary_mut().up();
    let faults: [fn(&mut Behavior); 3] = [
        |behavior| behavior.fault = Fault::Reset,
        |behavior| behavior.fault = Fault::Hang,
        // gRPC's status must be in the headers: when the trailers come, the answer has begun.
        |behavior| {
            (behavior.fault, behavior.errors) = (Fault::None, 1.0);
            behavior.grpc_trailers_only = true;
        },
    ];
    for fault in faults {
        rig.canary().change(fault);
        rescued(&rig).await;
    }
    assert_eq!(signals(&rig.stats().await), 0);
    let bodies = rig.stable().requests();
    let bodies = bodies.iter().filter(|seen| &seen.body[..] == b"a body").count();
    assert!(bodies >= 4, "the body is sent again");
}

#[tokio::test]
async fn what_fails_on_both_is_a_failure_and_no_rescue() {
    for (stable, status) in [(TestUpstream::ok().failing(500), 500), (TestUpstream::down(), 503)] {
        let rig = rig().stable(stable).canary(TestUpstream::ok().failing(503)).start().await;
        for _ in 0..10 {
            assert_eq!(rig.get("/").await.status, status);
        }
        assert_eq!(canary(&rig.counted(10).await), [10, 10, 0, 0, 10]);
    }
}

#[tokio::test]
async fn a_canary_that_answers_is_its_own_witness() {
    let rig = rig().canary(TestUpstream::ok().errors(0.5)).start().await;
    let tally = rig.load(200).concurrency(1).await;
    assert_eq!(tally.with_status(200), 200, "{tally:?}");
    assert_eq!((tally.of_version("1.0.0"), tally.of_version("1.1.0")), (100, 100), "{tally:?}");
    assert_eq!(tally.count(|outcome| outcome.version == outcome.upstream), 200);
    let stats = rig.judged(200).await;
    assert_eq!(canary(&stats), [200, 100, 100, 200, 0]);
    let judged = ["judged_total", "judged_failure"].map(|metric| stats.metric_of("canary", metric));
    assert_eq!(judged, [200, 100]);
    assert_eq!(stats.value("demo.canary.1.1.0.signal.by.new"), 100);
    assert_eq!(stats.value("demo.canary.1.1.0.signal.asked.converted"), 100);
    assert_eq!(signals(&stats), 200, "of rescued answers none");
    // What Envoy's retry doesn't regard as a failure isn't rescued.
    rig.canary().change(|behavior| (behavior.errors, behavior.status) = (0.0, 404));
    let answer = rig.get("/").await;
    assert_eq!((answer.status, answer.version()), (404, Some("1.1.0")));
    assert_eq!(canary(&rig.counted(201).await), [201, 100, 100, 200, 0]);
}

fn ill(bootstrap: &mut Bootstrap) {
    let endpoints = &mut bootstrap.cluster("demo-canary")["load_assignment"]["endpoints"];
    endpoints[0]["lb_endpoints"][0]["health_status"] = "UNHEALTHY".into();
}

fn gone(bootstrap: &mut Bootstrap) {
    bootstrap.cluster("demo-canary")["load_assignment"]["endpoints"] = json!([]);
}

/// With no healthy endpoint on the canary, or none at all, Envoy asks stable at once: the canary has
/// failed all the same, and it's stable's name that the answer bears.
#[tokio::test]
async fn a_canary_without_a_healthy_endpoint_is_rescued_at_the_first_try() {
    for unreachable in [ill as fn(&mut Bootstrap), gone] {
        let rig = rig().before_start(unreachable).start().await;
        for ask in [ClientRequest::get("/"), ClientRequest::get("/").http2(), call()] {
            by(&rig.request(ask).await, "1.0.0");
        }
        let stats = rig.counted(3).await;
        assert_eq!((canary(&stats), stats.metric_of("stable", "rq_total")), ([3, 3, 3, 3, 0], 0));
        assert_eq!((rig.canary().seen(), signals(&stats)), (0, 0));
        // What stable then fails at has failed twice.
        rig.stable().change(|behavior| (behavior.errors, behavior.error_status) = (1.0, 500));
        let answer = rig.get("/").await;
        assert_eq!((answer.status, answer.version()), (500, Some("1.0.0")));
        assert_eq!(canary(&rig.counted(4).await), [4, 4, 3, 3, 1]);
    }
}

/// The guard hears of what the users don't.
#[tokio::test]
async fn rescued_failures_trip_the_guard() {
    let rig =
        Rig::new().rescue().canary(TestUpstream::ok().failing(503)).weight(50.0).start().await;
    let tally = rig.load(400).concurrency(8).await;
    assert_eq!((tally.with_status(200), tally.of_version("1.0.0")), (400, 400), "{tally:?}");
    let tripped = async || rig.stat("demo.guard_tripped").await;
    rig.eventually("it trips", tripped, |tripped| *tripped == 1).await;
    assert!((21..=30).contains(&rig.canary().seen()), "{}", rig.canary().seen());
}

#[tokio::test]
async fn a_tester_is_rescued_and_counted_apart() {
    let rig = rig().canary(TestUpstream::ok().failing(503)).weight(0.0);
    let rig = rig.rollout(|rollout| rollout["override"] = json!({"header": "x-canary"}));
    let rig = rig.start().await;
    by(&rig.request(ClientRequest::get("/").header("x-canary", "always")).await, "1.0.0");
    let forced = async || rig.stats().await.metric_of("canary", "rq_forced");
    rig.eventually("it is counted", forced, |forced| *forced == 1).await;
    assert_eq!(canary(&rig.stats().await), [0; 5]);
}

#[tokio::test]
async fn the_kill_switch_closes_the_rescued_route_as_well() {
    let rig = rig().start().await;
    rig.runtime_modify(&[("canary.demo.enabled", "0")]).await;
    by(&rig.get("/").await, "1.0.0");
    rig.runtime_modify(&[("canary.demo.enabled", "100")]).await;
    by(&rig.get("/").await, "1.1.0");
    assert_eq!(canary(&rig.counted(1).await), [1, 0, 0, 1, 0]);
}
