//! A weight's way from Envoy's runtime to the requests.

use std::time::Duration;

use canary_integration::{Load, Rig};

/// The law that canaryctl and people rely on: what is sent two poll intervals after a change goes
/// by it.
#[tokio::test]
async fn a_change_takes_effect_within_two_poll_intervals() {
    let interval = Duration::from_millis(500);
    let rig =
        Rig::new().config(|config| config["runtime"]["interval"] = "500ms".into()).start().await;
    let traffic = rig.load(Load::ENDLESS).rate(400.0).spawn();
    for (weight, version) in [("100", "1.1.0"), ("0", "1.0.0"), ("100", "1.1.0"), ("0", "1.0.0")] {
        rig.runtime_modify(&[("canary.demo.weight", weight)]).await;
        let changed = traffic.elapsed();
        let _before = traffic.take();
        tokio::time::sleep(3 * interval).await;
        let tally = traffic.take();
        let late = tally.count(|outcome| outcome.at > changed + 2 * interval);
        let wrong = |outcome: &&canary_integration::RequestOutcome| {
            outcome.version.as_deref() != Some(version)
        };
        let last = tally
            .outcomes
            .iter()
            .filter(wrong)
            .map(|outcome| outcome.at.saturating_sub(changed))
            .max();
        assert!(late > 100, "too little traffic to tell: {late}");
        assert!(
            last <= Some(2 * interval),
            "{weight} %: the last request by the old weight came after {last:?}"
        );
    }
}

#[tokio::test]
async fn every_layer_of_the_runtime_reaches_the_filter_and_the_last_one_wins() {
    let rig = Rig::new().weight(1.0).runtime("canary.demo.weight", "0.25").start().await;
    rig.weight_in_force(2_500).await;
    rig.runtime_modify(&[("canary.demo.weight", "12.5")]).await;
    rig.weight_in_force(125_000).await;
    rig.runtime_modify(&[("canary.demo.weight", "")]).await;
    rig.weight_in_force(2_500).await;
}

#[tokio::test]
async fn without_a_runtime_weight_the_configurations_holds() {
    let rig = Rig::new().weight(7.5).start().await;
    rig.weight_in_force(75_000).await;
    rig.runtime_modify(&[("canary.demo.weight", "100")]).await;
    rig.weight_in_force(1_000_000).await;
    rig.runtime_modify(&[("canary.demo.weight", "")]).await;
    rig.weight_in_force(75_000).await;
}

#[tokio::test]
async fn a_weight_reaches_the_filter_through_a_tcp_admin_as_well() {
    let rig = Rig::new().admin(canary_integration::AdminOn::Tcp).start().await;
    rig.runtime_modify(&[("canary.demo.weight", "100")]).await;
    rig.all_go_to("1.1.0").await;
}
