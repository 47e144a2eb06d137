//! Rescue: what fails on the canary is answered by stable, and is the canary's failure all the same.

use canary_integration::{Fault, Rig, Running, Upstream};
use serde_json::{Value, json};

/// A rig whose canary always fails and whose guard lets it.
async fn rescuing(canary: Upstream) -> Running {
    let unguarded = |config: &mut Value| {
        config["rollouts"][0]["guard"] = json!({"enabled": false});
        config["rollouts"][0]["signals"] = json!([
            {"name": "who", "from": {"response_header": "x-upstream"}, "categories": [
                {"value": "1.0.0", "bin": "stable"}, {"value": "1.1.0", "bin": "canary"}]},
        ]);
    };
    Rig::new().rescue().config(unguarded).canary(canary).weight(50.0).start().await
}

fn of_canary(stats: &canary_integration::Stats, metrics: [&str; 5]) -> [u64; 5] {
    metrics.map(|metric| stats.of("canary", metric))
}

const METRICS: [&str; 5] = ["rq_failure", "rq_rescued", "rq_2xx", "rq_5xx", "signal.who.stable"];

#[tokio::test]
async fn a_failing_canary_is_answered_by_stable_stamped_so_and_counted_as_the_canarys() {
    let rig = rescuing(Upstream::ok().failing(500)).await;
    let tally = rig.load(400).concurrency(8).await;
    assert_eq!((tally.with_status(200), tally.of_version("1.0.0")), (400, 400), "{tally:?}");
    let stats = rig.counted(400).await;
    let canary = stats.of("canary", "rq_total");
    assert!((120..=280).contains(&canary), "{canary}");
    assert_eq!(
        of_canary(&stats, METRICS),
        [canary, canary, canary, 0, 0],
        "no signals of rescued ones"
    );
    assert_eq!(stats.of("stable", "rq_failure"), 0);
    assert_eq!(stats.of("stable", "signal.who.stable"), 400 - canary);
}

#[tokio::test]
async fn a_reset_or_refused_canary_is_rescued_too() {
    let mut rig = rescuing(Upstream::ok().fault(Fault::Reset)).await;
    let reset = rig.load(100).await;
    assert_eq!(reset.with_status(200), 100, "{reset:?}");
    rig.canary_mut().down().await;
    let refused = rig.load(100).await;
    assert_eq!((refused.with_status(200), refused.of_version("1.0.0")), (100, 100), "{refused:?}");
    let stats = rig.counted(200).await;
    let canary = stats.of("canary", "rq_total");
    assert!(canary > 50);
    assert_eq!(of_canary(&stats, METRICS), [canary, canary, canary, 0, 0]);
}

#[tokio::test]
async fn where_stable_fails_as_well_nobody_was_rescued() {
    let rig = rescuing(Upstream::ok().failing(500)).await;
    rig.stable().change(|behaviour| (behaviour.errors, behaviour.error_status) = (1.0, 503));
    let tally = rig.load(200).await;
    assert_eq!((tally.with_status(503), tally.of_version("1.0.0")), (200, 200), "{tally:?}");
    let stats = rig.counted(200).await;
    let canary = stats.of("canary", "rq_total");
    assert!(canary > 50);
    assert_eq!(of_canary(&stats, METRICS), [canary, 0, 0, canary, 0]);
}

#[tokio::test]
async fn a_healthy_canary_answers_for_itself() {
    let rig = rescuing(Upstream::ok()).await;
    let tally = rig.load(300).await;
    let canary = tally.of_version("1.1.0");
    assert!(canary > 90, "{tally:?}");
    assert_eq!(tally.count(|outcome| outcome.upstream != outcome.version), 0, "{tally:?}");
    let stats = rig.counted(300).await;
    assert_eq!(of_canary(&stats, METRICS), [0, 0, canary, 0, 0]);
    assert_eq!(stats.of("canary", "signal.who.canary"), canary);
}
