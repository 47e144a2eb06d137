//! The poll of the runtime: garbage, failures, and an admin that doesn't answer.

use canary_integration::{Bootstrap, Fault, Rig, Running, Server, TestUpstream};
use serde_json::json;

#[tokio::test]
async fn garbage_in_the_runtime_is_counted_once_and_the_last_good_value_stays() {
    let rig = Rig::new().start().await;
    rig.runtime_modify(&[("canary.demo.weight", "100")]).await;
    rig.all_go_to("1.1.0").await;
    for (changes, garbage) in ["abc", "101", "05", "-1", "5.", "1e2", "5%", "ä"].iter().zip(1..) {
        rig.runtime_modify(&[("canary.demo.weight", changes)]).await;
        let probe = async || rig.stat("filter.invalid_runtime").await;
        rig.eventually(&format!("{changes} is counted"), probe, |count| *count == garbage).await;
    }
    rig.polled(3).await;
    assert_eq!(rig.stat("filter.invalid_runtime").await, 8, "once per change, not once per poll");
    assert_eq!(rig.logs().matches("canary.demo.weight is `101`").count(), 1, "and logged once");
    assert_eq!(rig.load(50).await.of_version("1.1.0"), 50);
    rig.runtime_modify(&[("canary.demo.weight", "0"), ("canary.demo.lease", "soon")]).await;
    rig.all_go_to("1.0.0").await;
}

/// A rig whose filter polls this upstream instead of Envoy's admin.
async fn polling(admin: &Server) -> Running {
    let at = admin.at();
    let elsewhere = move |bootstrap: &mut Bootstrap| bootstrap.add_cluster("other_admin", at);
    let config =
        |config: &mut serde_json::Value| config["runtime"]["cluster"] = "other_admin".into();
    Rig::new().bootstrap(elsewhere).config(config).start().await
}

#[tokio::test]
async fn a_poll_that_fails_leaves_the_last_weight_and_recovers() {
    let runtime = |weight: &str| {
        let entry = json!({"layer_values": [weight], "final_value": weight});
        json!({"layers": ["admin"], "entries": {"canary.demo.weight": entry}}).to_string()
    };
    let mut admin = TestUpstream::ok().body(runtime("100")).start("admin");
    let rig = polling(&admin).await;
    rig.all_go_to("1.1.0").await;

    admin.change(|behavior| behavior.status = 503);
    polls_fail_on(&rig).await;
    admin
        .change(|behavior| (behavior.status, behavior.body) = (200, Some("{\"layers\": [".into())));
    polls_fail_on(&rig).await;
    admin.change(|behavior| behavior.body = Some("<html>".into()));
    polls_fail_on(&rig).await;
    admin.change(|behavior| behavior.fault = Fault::Reset);
    polls_fail_on(&rig).await;
    admin.down().await;
    polls_fail_on(&rig).await;

    admin.up();
    admin.change(|behavior| {
        (behavior.fault, behavior.body) = (Fault::None, Some(runtime("0").into()))
    });
    rig.all_go_to("1.0.0").await;
}

/// Two more polls fail, the heartbeat goes on, and the canary keeps what it has.
async fn polls_fail_on(rig: &Running) {
    let before = rig.stat("filter.poll_failure").await;
    let probe = async || rig.stat("filter.poll_failure").await;
    rig.eventually("further failed polls", probe, |now| *now >= before + 2).await;
    let tally = rig.load(50).await;
    assert_eq!((tally.of_version("1.1.0"), tally.with_status(200)), (50, 50), "{tally:?}");
}

#[tokio::test]
async fn a_silent_admin_leaves_the_configured_weight_and_its_lease_ends_all_the_same() {
    let admin = TestUpstream::ok().body("{\"layers\": [], \"entries\": {}}").start("admin");
    let rig = polling(&admin).await;
    let entries = json!({
        "canary.demo.weight": {"layer_values": ["100"], "final_value": "100"},
        "canary.demo.lease": {"layer_values": ["2:a"], "final_value": "2:a"},
    });
    admin.change(|behavior| {
        behavior.body = Some(json!({"layers": ["admin"], "entries": entries}).to_string().into())
    });
    rig.all_go_to("1.1.0").await;
    admin.change(|behavior| behavior.fault = Fault::Hang);
    rig.all_go_to("1.0.0").await;
    rig.eventually(
        "the expiry is shown",
        async || rig.stat("demo.lease_expired").await,
        |shown| *shown == 1,
    )
    .await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_a_failed_poll_with_its_name_in_the_log() {
    let config = |config: &mut serde_json::Value| config["runtime"]["cluster"] = "nowhere".into();
    let rig = Rig::new().config(config).weight(100.0).start().await;
    let probe = async || rig.stat("filter.poll_failure").await;
    rig.eventually("failed polls", probe, |count| *count >= 2).await;
    assert_eq!(rig.load(50).await.of_version("1.1.0"), 50);
    assert_eq!(rig.logs().matches("cluster `nowhere`").count(), 1, "{}", rig.logs());
}

/// A thousand keys of other users: 110 KB of JSON, which Envoy takes milliseconds to write.
fn crowded(rig: Rig) -> Rig {
    (0..1_000).fold(rig, |rig, number| rig.runtime(&format!("somebody.elses.key_{number}"), "100"))
}

#[tokio::test]
async fn a_large_runtime_is_read_when_it_changes_and_not_at_every_poll() {
    let rig = crowded(Rig::new()).start().await;
    rig.polled(3).await;
    let counter = "cluster.envoy_admin.upstream_cx_rx_bytes_total";
    let received = async || {
        let stats = rig.admin().json(&format!("/stats?filter=^{counter}$&format=json")).await;
        stats["stats"][0]["value"].as_u64().expect("a counter")
    };
    let before = received().await;
    rig.polled(8).await;
    let by_polls = received().await - before;
    assert!((800..30_000).contains(&by_polls), "{by_polls} bytes for eight polls");
    for (weight, version) in [("100", "1.1.0"), ("0", "1.0.0"), ("100", "1.1.0"), ("", "1.0.0")] {
        rig.runtime_modify(&[("canary.demo.weight", weight)]).await;
        rig.all_go_to(version).await;
    }
    let all = received().await - before;
    assert!((400_000..800_000).contains(&all), "{all} bytes for four changes of some 110 KB");
}

#[tokio::test]
async fn a_large_runtime_without_counters_of_its_changes_is_read_at_every_poll() {
    let runtime = |weight: &str| {
        let entry = json!({"layer_values": [weight], "final_value": weight});
        let mut entries: serde_json::Map<_, _> =
            (0..500).map(|key| (format!("somebody.elses.key_{key}"), entry.clone())).collect();
        entries.insert("canary.demo.weight".to_owned(), entry.clone());
        json!({"layers": ["admin"], "entries": entries}).to_string()
    };
    let admin = TestUpstream::ok().body(runtime("100"));
    let admin = admin.script(|seen| (seen.path != "/runtime").then(|| (403, "no".into())));
    let admin = admin.start("admin");
    let rig = polling(&admin).await;
    for (weight, version) in [("100", "1.1.0"), ("0", "1.0.0"), ("100", "1.1.0")] {
        admin.change(|behavior| behavior.body = Some(runtime(weight).into()));
        rig.all_go_to(version).await;
    }
    rig.polled(8).await;
    let looks = admin.requests().iter().filter(|seen| seen.path != "/runtime").count();
    assert!((1..=2).contains(&looks), "{looks} looks at counters that aren't there");
    assert_eq!(rig.stat("filter.poll_failure").await, 0);
}
