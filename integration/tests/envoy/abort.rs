//! Stopping: from the next request on, without waiting for a poll.

use canary_integration::{Load, Rig};

#[tokio::test]
async fn an_abort_holds_from_the_very_next_request_on() {
    // With ten seconds between polls only the kill switch can be what holds.
    let slow = |config: &mut serde_json::Value| config["runtime"]["interval"] = "10s".into();
    let rig = Rig::new().config(slow).weight(100.0).start().await;
    let traffic = rig.load(Load::ENDLESS).rate(500.0).spawn();
    rig.eventually("traffic on the canary", async || rig.canary().seen(), |seen| *seen > 50).await;
    rig.runtime_modify(&[("canary.demo.weight", "0"), ("canary.demo.enabled", "0")]).await;
    let aborted = traffic.elapsed();
    let after = rig.load(500).concurrency(16).await;
    assert_eq!((after.of_version("1.0.0"), after.with_status(200)), (500, 500), "{after:?}");
    let tally = traffic.stop().await;
    let late = |outcome: &canary_integration::RequestOutcome| outcome.at > aborted;
    let wrong =
        tally.count(|outcome| late(outcome) && outcome.upstream.as_deref() != Some("1.0.0"));
    assert_eq!(wrong, 0, "{tally:?}");
}

/// Requests that were chosen for the canary and answered by stable say nothing about either, so
/// they aren't counted.
#[tokio::test]
async fn what_the_kill_switch_sends_to_stable_is_stamped_stable_and_counted_for_neither() {
    let slow = |config: &mut serde_json::Value| config["runtime"]["interval"] = "10s".into();
    let rig = Rig::new().config(slow).weight(100.0).start().await;
    rig.load(100).await;
    rig.counted(100).await;
    rig.runtime_modify(&[("canary.demo.enabled", "0")]).await;
    let tally = rig.load(300).await;
    assert_eq!(tally.of_version("1.0.0"), 300, "{tally:?}");
    rig.runtime_modify(&[("canary.demo.enabled", "100")]).await;
    let tally = rig.load(50).await;
    assert_eq!(tally.of_version("1.1.0"), 50, "{tally:?}");
    let stats = rig.counted(150).await;
    assert_eq!(
        (stats.metric_of("canary", "rq_total"), stats.metric_of("stable", "rq_total")),
        (150, 0)
    );
}
