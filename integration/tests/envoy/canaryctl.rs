//! The built canaryctl against a real Envoy, on a unix socket and on a port.

use std::process::Output;

use canary_integration::{AdminOn, Load, Rig, Running};
use serde_json::{Value, json};

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("exit {:?}\n{out}{err}", output.status.code())
}

async fn run(rig: &Running, arguments: &[&str]) {
    let output = rig.canaryctl(arguments).await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output));
}

async fn rollout(rig: &Running) -> Value {
    let output = rig.canaryctl(&["get", "rollout", "demo", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
}

#[tokio::test]
async fn a_weight_is_set_and_followed_on_a_socket_and_on_a_port() {
    for admin in [AdminOn::Unix, AdminOn::Tcp] {
        let rig = Rig::new().admin(admin).start().await;
        run(&rig, &["set", "weight", "demo", "100"]).await;
        rig.weight_in_force(1_000_000).await;
        rig.all_go_to("1.1.0").await;
        run(&rig, &["set", "weight", "demo", "0.25", "--lease", "60s"]).await;
        rig.weight_in_force(2_500).await;
        let lease = rig.runtime_value("canary.demo.lease").await.unwrap_or_default();
        assert!(lease.starts_with("60:"), "{lease}");
    }
}

#[tokio::test]
async fn get_shows_what_the_clients_saw() {
    let rig = Rig::new().unguarded().start().await;
    run(&rig, &["set", "weight", "demo", "30"]).await;
    rig.canary().change(|behaviour| behaviour.errors = 0.5);
    let tally = rig.load(1_000).await;
    rig.counted(1_000).await;
    let shown = rollout(&rig).await;
    assert_eq!(shown["stable"]["requests"], json!(tally.of_version("1.0.0")), "{shown:#}");
    assert_eq!(shown["canary"]["requests"], json!(tally.of_version("1.1.0")));
    assert_eq!(shown["stable"]["failures"], json!(0));
    assert_eq!(shown["canary"]["failures"], json!(tally.with_status(503)));
    assert_eq!(
        (&shown["stable"]["version"], &shown["canary"]["version"]),
        (&json!("1.0.0"), &json!("1.1.0"))
    );
    assert_eq!(shown["guard_tripped"], json!(false));
    let weight = |field: &str| shown["weight"][field].as_f64();
    assert_eq!((weight("set"), weight("in_force")), (Some(30.0), Some(30.0)));
}

#[tokio::test]
async fn after_an_abort_the_very_next_request_is_stable() {
    // With ten seconds between polls only the kill switch can be what holds.
    let slow = |config: &mut Value| config["runtime"]["interval"] = "10s".into();
    let rig = Rig::new().config(slow).weight(100.0).start().await;
    let traffic = rig.load(Load::ENDLESS).rate(300.0).spawn();
    rig.eventually("traffic on the canary", async || rig.canary().seen(), |seen| *seen > 30).await;
    let abort = rig.canaryctl(&["abort", "demo"]).await;
    let aborted = traffic.elapsed();
    assert_eq!(abort.status.code(), Some(0), "{}", text(&abort));
    let after = rig.load(300).concurrency(16).await;
    assert_eq!((after.of_version("1.0.0"), after.with_status(200)), (300, 300), "{after:?}");
    let tally = traffic.stop().await;
    let wrong =
        tally.count(|outcome| outcome.at > aborted && outcome.upstream.as_deref() != Some("1.0.0"));
    assert_eq!(wrong, 0, "{tally:?}");
    assert_eq!(rig.runtime_value("canary.demo.enabled").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn a_weight_above_0_takes_an_abort_back() {
    let rig = Rig::new().start().await;
    run(&rig, &["abort", "demo"]).await;
    run(&rig, &["set", "weight", "demo", "100"]).await;
    rig.all_go_to("1.1.0").await;
}

#[tokio::test]
async fn what_cannot_work_says_so_by_its_exit_code() {
    let rig = Rig::new().start().await;
    for arguments in [
        ["set", "weight", "nobody", "5"],
        ["set", "weight", "demo", "101"],
        ["set", "weight", "demo", "abc"],
    ] {
        let output = rig.canaryctl(&arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{}", text(&output));
    }
    assert_eq!(rig.runtime_value("canary.demo.weight").await, None, "nothing was set");
}

#[tokio::test]
async fn an_envoy_without_an_admin_layer_is_named_as_such() {
    let no_layer = |bootstrap: &mut canary_integration::Bootstrap| {
        bootstrap.document()["layered_runtime"]["layers"].as_array_mut().unwrap().truncate(1);
    };
    let rig = Rig::new().bootstrap(no_layer).start().await;
    let output = rig.canaryctl(&["set", "weight", "demo", "5"]).await;
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("admin"), "{}", text(&output));
}

#[tokio::test]
async fn get_shows_that_the_guard_has_tripped() {
    let rig = Rig::new().start().await;
    run(&rig, &["set", "weight", "demo", "30"]).await;
    rig.canary().change(|behaviour| behaviour.errors = 1.0);
    rig.load(1_000).await;
    rig.weight_in_force(0).await;
    let shown = rollout(&rig).await;
    assert_eq!(shown["guard_tripped"], json!(true), "{shown:#}");
    assert_eq!(shown["weight"]["in_force"].as_f64(), Some(0.0), "{shown:#}");
    assert_eq!(shown["weight"]["set"].as_f64(), Some(30.0), "{shown:#}");
}

/// A push that Envoy refuses is named, by ECDS and by LDS, and isn't taken for what serves; the next good
/// one is.
#[tokio::test]
async fn a_refused_push_is_named_and_the_next_good_one_counts() {
    for rig in [Rig::new(), Rig::new().listener_by_file()] {
        let mut rig = rig.start().await;
        run(&rig, &["set", "weight", "demo", "100"]).await;
        assert_eq!(rig.runtime_value("canary.demo.weight").await.as_deref(), Some("100@1.1.0"));
        rig.all_go_to("1.1.0").await;
        rig.push_config(|config| {
            config["rollouts"][0]["canary"]["version"] = "1.2.0".into();
            config["rollouts"][0]["weight"] = 200.into();
        });
        let refused =
            async || text(&rig.canaryctl(&["get", "rollout", "demo", "-o", "json"]).await);
        rig.eventually("the refusal", refused, |said| said.contains("warning: ")).await;
        let listed = text(&rig.canaryctl(&["list"]).await);
        assert!(listed.contains("1.1.0") && !listed.contains("demo  1.2.0"), "{listed}");
        let shown = rollout(&rig).await;
        assert_eq!(shown["canary"]["version"], json!("1.1.0"), "{shown:#}");
        rig.push_config(|config| {
            config["rollouts"][0]["canary"]["version"] = "1.3.0".into();
            config["rollouts"][0]["weight"] = 0.into();
        });
        let version = async || rollout(&rig).await["canary"]["version"].clone();
        rig.eventually("the good push", version, |version| *version == json!("1.3.0")).await;
        let accepted = text(&rig.canaryctl(&["get", "rollout", "demo"]).await);
        assert!(!accepted.contains("refused"), "{accepted}");
    }
}

/// Without a controller the share is that of the second between two readings, not since Envoy's start.
#[tokio::test]
async fn the_measured_share_follows_the_weight() {
    let rig = Rig::new().start().await;
    rig.load(500).await;
    run(&rig, &["set", "weight", "demo", "100"]).await;
    rig.all_go_to("1.1.0").await;
    let traffic = rig.load(Load::ENDLESS).rate(300.0).spawn();
    let measured = async || rollout(&rig).await["weight"]["measured"].clone();
    rig.eventually("all of it", measured, |measured| *measured == json!(100)).await;
    traffic.stop().await;
}
