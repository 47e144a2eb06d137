//! The scenarios. Each leaves the system as it found it: no controller, weight 0, and says what it found.

use std::time::{Duration, Instant};

use canary_integration::{ClientRequest, FAIL, Load};

use crate::system::{ComposeController, System};

const STABLE: &str = "1.0.0";
const CANARY: &str = "1.1.0";
/// Requests a second while a rollout runs.
const RATE: f64 = 300.0;

/// A weight of 20 % is what clients get, within four standard errors, and nothing fails.
pub(crate) async fn split(system: &System) -> String {
    const REQUESTS: u64 = 5_000;
    system.canaryctl(&["set", "weight", "demo", "20"]).await;
    let tally = system.load(REQUESTS).await.await;
    assert_eq!(tally.with_status(200), REQUESTS, "{tally:?}");
    let by_canary = tally.of_version(CANARY);
    assert!((887..=1_113).contains(&by_canary), "{tally:?}");
    system.canaryctl(&["set", "weight", "demo", "0"]).await;
    system.all_go_to(STABLE).await;
    format!("at 20 %, {by_canary} of {REQUESTS} answers by the canary")
}

/// The control port refuses everything that canaryctl doesn't need.
pub(crate) async fn narrow_door(system: &System) -> String {
    let admin = system.control().await;
    for path in ["/", "/config_dump", "/clusters", "/certs", "/stats/recentlookups", "/help"] {
        assert_eq!(admin.get(path).await.map(|(status, _)| status), Ok(404), "GET {path}");
    }
    for path in ["/quitquitquit", "/logging?level=trace", "/drain_listeners", "/runtime", "/stats"]
    {
        assert_eq!(admin.post(path).await.map(|(status, _)| status), Ok(404), "POST {path}");
    }
    assert_eq!(admin.get("/runtime_modify?canary.demo.weight=100").await.map(|a| a.0), Ok(404));
    "everything but the four reads and /runtime_modify is a 404".to_owned()
}

/// Weights are pushed one after the other, and each is in force when canaryctl says so.
pub(crate) async fn pushes(system: &System) -> String {
    let traffic = system.load(Load::ENDLESS).await.rate(RATE).spawn();
    for weight in [5, 50, 100, 0] {
        system.canaryctl(&["set", "weight", "demo", &weight.to_string()]).await;
        system.weight_in_force(weight).await;
    }
    system.all_go_to(STABLE).await;
    let tally = traffic.stop().await;
    assert_eq!(tally.with_status(200), tally.requests(), "{tally:?}");
    format!("5, 50, 100, 0 %: {} requests meanwhile, none failed", tally.requests())
}

/// A good version gets all traffic; Prometheus sees Envoy and the controller, and is asked.
pub(crate) async fn good(system: &System) -> String {
    let traffic = system.load(Load::ENDLESS).await.rate(RATE).spawn();
    let controller = system.controller("good").await;
    let probe = async || system.prometheus("up{job=~'envoy|canaryctl'} == 1").await;
    system.within("Prometheus scrapes Envoy and the controller", probe, |up| *up == 2).await;
    let ended = controller.ends().await;
    assert_eq!(ended.code, "0", "{}", ended.log);
    system.all_go_to(CANARY).await;
    let tally = traffic.stop().await;
    assert_eq!(tally.with_status(200), tally.requests(), "{tally:?}");
    system.canaryctl(&["set", "weight", "demo", "0"]).await;
    system.all_go_to(STABLE).await;
    format!("Healthy: {} requests meanwhile, none failed", tally.requests())
}

/// A version that fails a tenth of its requests is rolled back.
pub(crate) async fn bad(system: &System) -> String {
    let load = system.load(Load::ENDLESS).await.rate(RATE);
    let traffic = load.failing_a_tenth(CANARY).spawn();
    let controller = system.controller("good").await;
    let ended = controller.ends().await;
    assert_eq!(ended.code, "1", "{}", ended.log);
    system.all_go_to(STABLE).await;
    let tally = traffic.stop().await;
    let failed = tally.with_status(503);
    assert!((1..100).contains(&failed), "{tally:?}");
    let why = ended.log.lines().find_map(|line| line.split_once("rolling back to stable: "));
    let (_, why) = why.unwrap_or_else(|| panic!("no reason in {}", ended.log));
    format!("Degraded: {failed} of {} requests failed. {why}", tally.requests())
}

/// A version that fails everything is stopped by the filter itself; no controller runs.
pub(crate) async fn guard(system: &System) -> String {
    system.canaryctl(&["set", "weight", "demo", "50"]).await;
    let fails = |_| ClientRequest::get("/").header(FAIL, CANARY);
    let tally = system.load(1_000).await.rate(RATE).each(fails).await;
    let failed = tally.with_status(503);
    // A quarter of a second of 150 failures a second passes until all workers know.
    assert!((1..100).contains(&failed), "{tally:?}");
    system.weight_in_force(0).await;
    assert_eq!(system.stat("demo.guard_tripped").await, 1);
    system.all_go_to(STABLE).await;
    system.canaryctl(&["set", "weight", "demo", "0", "--reset-guard"]).await;
    format!("tripped: {failed} of 1000 requests failed")
}

/// A restart ends what was pushed at run time: all traffic is on stable, until a weight is set again.
pub(crate) async fn restart_by_hand(system: &System) -> String {
    system.canaryctl(&["set", "weight", "demo", "100"]).await;
    system.all_go_to(CANARY).await;
    system.restart("envoy").await;
    system.is_up().await;
    let tally = system.load(200).await.await;
    assert_eq!((tally.of_version(STABLE), tally.with_status(200)), (200, 200), "{tally:?}");
    system.canaryctl(&["set", "weight", "demo", "100"]).await;
    system.all_go_to(CANARY).await;
    system.canaryctl(&["set", "weight", "demo", "0"]).await;
    "stable after it; a weight that is set again holds".to_owned()
}

/// A controller gives an Envoy that was restarted its weight again, and goes on where it was.
pub(crate) async fn restart_under_a_controller(system: &System) -> String {
    let controller = system.controller("steady").await;
    system.weight_in_force(50).await;
    let traffic = system.load(Load::ENDLESS).await.rate(RATE).spawn();
    let before = counted(system, &controller, 500).await;
    drop(traffic);
    let start = Instant::now();
    system.restart("envoy").await;
    system.is_up().await;
    system.weight_in_force(50).await;
    let back = start.elapsed();
    let _traffic = system.load(Load::ENDLESS).await.rate(RATE).spawn();
    let after = counted(system, &controller, before + 500).await;
    controller.steer("abort").await;
    let ended = controller.ends().await;
    assert_eq!(ended.code, "1", "{}", ended.log);
    system.all_go_to(STABLE).await;
    let took = back.as_secs_f64();
    format!("50 % again after {took:.1} s; counted {before} requests before it, {after} in all")
}

/// Waits until the controller has counted this many requests.
async fn counted(system: &System, controller: &ComposeController, requests: u64) -> u64 {
    let probe = async || {
        let shown = controller.shows().await;
        let of = |role: &str| shown[role]["requests"].as_u64().unwrap_or_default();
        of("stable") + of("canary")
    };
    let what = format!("the controller has counted {requests} requests");
    system.within(&what, probe, |all| *all >= requests).await
}

/// Cut off from its Envoys, the controller can't renew the lease: stable. Back again, it goes on.
pub(crate) async fn cut(system: &System) -> String {
    let traffic = system.load(Load::ENDLESS).await.rate(RATE).spawn();
    let controller = system.controller("steady").await;
    system.weight_in_force(50).await;
    let start = Instant::now();
    let cut = controller.disconnect().await;
    system.weight_in_force(0).await;
    let expired = start.elapsed();
    assert!(expired < Duration::from_secs(10), "a lease of 5 s ran out after {expired:?}");
    assert_eq!(system.stat("demo.lease_expired").await, 1);
    system.all_go_to(STABLE).await;
    let shown = controller.shows().await;
    assert_eq!(shown["envoys"][0]["ok"], false, "{shown:#}");
    let waits = shown["waits_for"].to_string();
    let start = Instant::now();
    cut.mend().await;
    system.weight_in_force(50).await;
    let back = start.elapsed();
    assert_eq!(system.stat("demo.lease_expired").await, 0);
    controller.steer("promote").await;
    let ended = controller.ends().await;
    assert_eq!(ended.code, "0", "{}", ended.log);
    system.all_go_to(CANARY).await;
    let tally = traffic.stop().await;
    assert_eq!(tally.with_status(200), tally.requests(), "{tally:?}");
    system.canaryctl(&["set", "weight", "demo", "0"]).await;
    let (expired, back) = (expired.as_secs_f64(), back.as_secs_f64());
    format!(
        "stable after {expired:.1} s, 50 % again {back:.1} s after its end; none failed; it said {waits}"
    )
}
