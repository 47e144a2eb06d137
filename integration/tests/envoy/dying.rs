//! Dead means stable, also when the filter dies: refused at the start, killed in a request, killed
//! in a poll, cut off from the admin. Stable answers everything, and nothing fails but what was
//! under way in the VM that died.

use std::time::Duration;

use canary_integration::{
    Bootstrap, ClientRequest, Load, LoadTally, Rig, Running, TestUpstream, artifacts,
};
use serde_json::json;

/// Everything is answered by stable, without an error, on every worker.
async fn all_stable(rig: &Running) {
    let canary = rig.canary().seen();
    let forged = |_| ClientRequest::get("/").header("x-canary-route", "demo-canary");
    let tally = rig.load(300).concurrency(40).each(forged).await;
    let by_stable = tally.count(|outcome| outcome.upstream.as_deref() == Some("1.0.0"));
    assert_eq!((by_stable, tally.with_status(200)), (300, 300), "{tally:?}");
    assert_eq!(rig.canary().seen(), canary);
}

/// What can't be loaded leaves Envoy serving, and the next good push mends it.
async fn mended(mut rig: Running, complaint: &str) {
    all_stable(&rig).await;
    rig.eventually("Envoy says why", async || rig.logs(), |log| log.contains(complaint)).await;
    rig.push_plugin(|plugin| {
        plugin.code(&artifacts::filter());
        plugin.configuration()["rollouts"][0]["weight"] = 100.into();
    });
    rig.all_go_to("1.1.0").await;
}

#[tokio::test]
async fn a_missing_module() {
    mended(Rig::new().without_filter().start().await, "Invalid path").await;
}

#[tokio::test]
async fn a_corrupt_module() {
    let whole = std::fs::read(artifacts::filter()).unwrap();
    for bytes in [&whole[..whole.len() / 2], b"not even wasm", b""] {
        let corrupt = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(corrupt.path(), bytes).unwrap();
        let rig = Rig::new().wasm(corrupt.path()).dead_filter().weight(100.0).start().await;
        mended(rig, "Unable to create Wasm").await;
    }
}

#[tokio::test]
async fn a_refused_configuration() {
    let rig = Rig::new().rollout(|rollout| rollout["weight"] = "much".into()).dead_filter();
    mended(rig.start().await, "canary: configuration refused: rollouts[0].weight: ").await;
}

/// A rig whose filter dies when it's told to.
fn mortal() -> Rig {
    Rig::new().wasm(&artifacts::panicking_filter())
}

/// Sends marked requests one after the other until every worker's VM is dead, and tells how many
/// were lost.
async fn kill_workers(rig: &Running) -> u64 {
    let tally =
        rig.load(64).concurrency(1).each(|_| ClientRequest::get("/").header("x-panic", "now"));
    // One connection reaches one worker; many reach them all.
    let mut lost = failed(&tally.await);
    for _ in 0..32 {
        lost +=
            failed(&rig.load(1).each(|_| ClientRequest::get("/").header("x-panic", "now")).await);
    }
    lost
}

fn failed(tally: &LoadTally) -> u64 {
    tally.requests() - tally.with_status(200)
}

#[tokio::test]
async fn a_vm_that_dies_takes_its_own_request_along_and_no_other() {
    let mut rig = mortal().workers(2).weight(100.0).start().await;
    rig.all_go_to("1.1.0").await;
    assert_eq!(kill_workers(&rig).await, 2, "one request for each of two workers");
    assert_eq!(rig.logs().matches("the test wants it").count(), 2);
    all_stable(&rig).await;
    // Whoever is left polls on: the main thread's VM has no requests to die of.
    rig.polled(3).await;
    let heartbeat = rig.stat("filter.heartbeat").await;
    let beats = async || rig.stat("filter.heartbeat").await;
    rig.eventually("the heart beats on", beats, |now| *now > heartbeat).await;
    all_stable(&rig).await;
    // A configuration that differs makes new VMs.
    rig.push_config(|config| config["rollouts"][0]["salt"] = "another".into());
    rig.all_go_to("1.1.0").await;
}

#[tokio::test]
async fn one_workers_death_is_not_the_others() {
    let rig = mortal().workers(2).weight(100.0).start().await;
    let tally = rig.load(1).each(|_| ClientRequest::get("/").header("x-panic", "now")).await;
    assert_eq!(failed(&tally), 1);
    let tally = rig.load(400).concurrency(40).await;
    let by = |version: &str| {
        tally.count(|outcome| outcome.upstream.as_deref() == Some(version) && outcome.status == 200)
    };
    assert!(by("1.0.0") > 0 && by("1.1.0") > 0, "one dead, one alive: {tally:?}");
    assert_eq!(by("1.0.0") + by("1.1.0"), 400, "{tally:?}");
    // The live one obeys the runtime.
    rig.runtime_modify(&[("canary.demo.weight", "0")]).await;
    rig.polled(2).await;
    all_stable(&rig).await;
}

/// Requests under way in the VM that dies are lost; those of another are not, and the next ones of
/// either are answered.
#[tokio::test]
async fn beyond_what_was_under_way_nothing_fails() {
    let rig =
        mortal().workers(1).canary(TestUpstream::ok().latency_ms(600)).weight(50.0).start().await;
    let under_way = rig.load(24).concurrency(24).spawn();
    let seen = async || rig.canary().seen() + rig.stable().seen();
    rig.eventually("24 sent", seen, |seen| *seen == 24).await;
    let sent_to_canary = rig.canary().seen();
    // Stable's are answered by now, or soon.
    let answered = async || rig.stats().await.metric_of("stable", "rq_total");
    rig.eventually("stable's are over", answered, |over| *over == rig.stable().seen()).await;
    let traffic = rig.load(Load::ENDLESS).concurrency(8).rate(300.0).spawn();
    let died = rig.request(ClientRequest::get("/").header("x-panic", "now")).await;
    assert_eq!((died.status, died.version()), (503, None));
    let moment = traffic.elapsed();
    rig.eventually(
        "more traffic",
        async || traffic.elapsed(),
        |now| *now > moment + Duration::from_secs(1),
    )
    .await;
    let lost = failed(&under_way.finished().await);
    assert!(lost <= sent_to_canary, "{lost} of {sent_to_canary} under way");
    let tally = traffic.stop().await;
    let later = tally.outcomes.iter().filter(|outcome| outcome.at > moment);
    assert!(later.clone().count() > 100);
    let wrong: Vec<_> = later.filter(|outcome| outcome.status != 200).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(failed(&tally) <= 8, "one a connection at most: {tally:?}");
    all_stable(&rig).await;
}

/// The leader dies in a poll, and another one takes over.
#[tokio::test]
async fn a_leader_that_dies_is_followed() {
    let rig = mortal().workers(4).start().await;
    let deaths = async || rig.logs().matches("the poller shall be gone").count();
    rig.runtime_modify(&[("panic.poller", "now")]).await;
    rig.eventually("a leader's death", deaths, |deaths| *deaths > 0).await;
    rig.runtime_modify(&[("panic.poller", "")]).await;
    rig.runtime_modify(&[("canary.demo.weight", "100")]).await;
    rig.weight_in_force(1_000_000).await;
    rig.polled(2).await;
    let tally = rig.load(300).concurrency(40).await;
    assert_eq!(tally.with_status(200), 300, "{tally:?}");
    assert!(tally.of_version("1.1.0") > 0, "{tally:?}");
}

/// Every leader dies in turn, until there is none: no worker polls, and nothing is left that could
/// send a request to the canary.
#[tokio::test]
async fn when_every_poller_is_gone_stable_answers() {
    let rig = mortal().workers(2).weight(100.0).start().await;
    rig.all_go_to("1.1.0").await;
    let traffic = rig.load(Load::ENDLESS).concurrency(16).rate(400.0).spawn();
    rig.runtime_modify(&[("panic.poller", "now")]).await;
    // Two workers and the main thread.
    let deaths = async || rig.logs().matches("the poller shall be gone").count();
    rig.eventually("every leader's death", deaths, |deaths| *deaths == 3).await;
    let moment = traffic.elapsed();
    // What was sent to the canary before may reach it a little later.
    let arrivals = async || {
        let before = rig.canary().seen();
        tokio::time::sleep(Duration::from_millis(200)).await;
        rig.canary().seen() - before
    };
    rig.eventually("nothing more reaches the canary", arrivals, |arrived| *arrived == 0).await;
    all_stable(&rig).await;
    let tally = traffic.stop().await;
    let late = |outcome: &canary_integration::RequestOutcome| {
        outcome.at > moment && outcome.upstream.as_deref() != Some("1.0.0")
    };
    assert_eq!(tally.count(late), 0, "{tally:?}");
    assert!(failed(&tally) <= 16, "what was under way at most: {tally:?}");
}

/// The admin goes away: the last weight holds until its lease ends, and then stable answers. No
/// request notices.
#[tokio::test]
async fn when_the_admin_is_gone_the_lease_ends() {
    let set = |value: &str| json!({"layer_values": [value], "final_value": value});
    let entries = json!({"canary.demo.weight": set("100"), "canary.demo.lease": set("3:a")});
    let body = json!({"layers": ["admin"], "entries": entries}).to_string();
    let mut admin = TestUpstream::ok().body(body).start("admin");
    let at = admin.at();
    let elsewhere = move |bootstrap: &mut Bootstrap| bootstrap.add_cluster("other_admin", at);
    let config =
        |config: &mut serde_json::Value| config["runtime"] = json!({"cluster": "other_admin"});
    let rig = Rig::new().bootstrap(elsewhere).config(config).start().await;
    rig.all_go_to("1.1.0").await;
    let traffic = rig.load(Load::ENDLESS).concurrency(16).rate(400.0).spawn();
    admin.down().await;
    let failures = async || rig.stat("filter.poll_failure").await;
    rig.eventually("failed polls", failures, |failures| *failures >= 2).await;
    assert_eq!(rig.load(50).await.of_version("1.1.0"), 50, "the last weight holds");
    rig.all_go_to("1.0.0").await;
    all_stable(&rig).await;
    let tally = traffic.stop().await;
    assert_eq!(failed(&tally), 0, "{tally:?}");
}
