//! The share of requests that the canary gets.

use canary_integration::{ClientRequest, Rig, Running};
use serde_json::json;

#[tokio::test]
async fn none_at_0_and_all_at_100_percent() {
    for (percent, version) in [(0.0, "1.0.0"), (100.0, "1.1.0")] {
        let rig = Rig::new().weight(percent).start().await;
        let tally = rig.load(2_000).await;
        assert_eq!(tally.of_version(version), 2_000, "at {percent} %: {tally:?}");
    }
}

#[tokio::test]
async fn the_share_is_the_weight_and_the_counters_are_the_clients_to_the_request() {
    for (percent, requests) in [(5.0, 10_000), (50.0, 4_000)] {
        let rig = Rig::new().weight(percent).start().await;
        // A right filter leaves the 99.9 % interval once in a thousand runs; twice in a row, once
        // in a million.
        let inside =
            share_is(&rig, percent, requests).await || share_is(&rig, percent, requests).await;
        assert!(inside, "twice outside the 99.9 % interval at {percent} %");
    }
}

/// Whether the canary's share of these requests lies in the 99.9 % binomial interval around the
/// weight. That everything is counted as the client saw it must hold either way.
#[allow(clippy::cast_precision_loss)]
async fn share_is(rig: &Running, percent: f64, requests: u64) -> bool {
    let before = rig.stats().await;
    let tally = rig.load(requests).concurrency(16).await;
    assert_eq!(tally.with_status(200), requests, "{tally:?}");
    let (stable, canary) = (tally.of_version("1.0.0"), tally.of_version("1.1.0"));
    assert_eq!(stable + canary, requests, "{tally:?}");
    assert_eq!(
        tally.count(|outcome| outcome.upstream == outcome.version),
        requests,
        "the stamp names who answered"
    );

    let seen_before =
        before.metric_of("stable", "rq_total") + before.metric_of("canary", "rq_total");
    let stats = rig.counted(seen_before + requests).await;
    assert_eq!(
        stats.metric_of("canary", "rq_total") - before.metric_of("canary", "rq_total"),
        canary
    );
    assert_eq!(
        stats.metric_of("stable", "rq_total") - before.metric_of("stable", "rq_total"),
        stable
    );

    let (n, p) = (requests as f64, percent / 100.0);
    (canary as f64 - n * p).abs() <= 3.2905 * (n * p * (1.0 - p)).sqrt()
}

#[tokio::test]
async fn a_user_stays_with_a_version_and_growth_takes_nobody_back() {
    let rig = Rig::new().weight(20.0).affinity(json!([{"header": "x-user-id"}])).start().await;
    let small = canary_users(&rig).await;
    assert_eq!(small, canary_users(&rig).await, "the same users get the same versions");
    rig.runtime_modify(&[("canary.demo.weight", "60")]).await;
    rig.weight_in_force(600_000).await;
    let probe = async || canary_users(&rig).await.len();
    rig.eventually("more users on the canary", probe, |users| *users > 2 * small.len()).await;
    let large = canary_users(&rig).await;
    assert!(small.iter().all(|user| large.contains(user)), "{small:?} within {large:?}");
}

/// Which of 200 users the canary gets.
async fn canary_users(rig: &Running) -> Vec<String> {
    let tally = rig
        .load(200)
        .each(|user| {
            ClientRequest::get(&format!("/{user}")).header("x-user-id", format!("user-{user}"))
        })
        .await;
    assert_eq!(tally.with_status(200), 200, "{tally:?}");
    let seen = rig.canary().requests();
    let mut users: Vec<_> = seen
        [seen.len() - usize::try_from(tally.of_version("1.1.0")).unwrap()..]
        .iter()
        .map(|seen| seen.path.clone())
        .collect();
    users.sort();
    users
}
