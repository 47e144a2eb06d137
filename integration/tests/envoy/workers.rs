//! Several workers, each with a VM of its own: one state, one poller.

use std::time::{Duration, Instant};

use canary_integration::{ClientRequest, Rig, Running, wait_limit};
use serde_json::json;

/// How many workers have had a connection.
async fn workers_used(rig: &Running) -> usize {
    let stats = rig.admin().json("/stats?filter=worker_.*downstream_cx_total&format=json").await;
    let stats = stats["stats"].as_array().unwrap().clone();
    let of_listener = |name: &str| name.starts_with("listener.127");
    let used = |stat: &&serde_json::Value| stat["value"].as_u64() > Some(0);
    stats.iter().filter(used).filter(|stat| of_listener(stat["name"].as_str().unwrap())).count()
}

#[tokio::test]
async fn workers_agree_on_every_user() {
    let rig =
        Rig::new().workers(2).weight(50.0).affinity(json!([{"header": "x-user-id"}])).start().await;
    // Forty times the same five users, on forty connections.
    let user = |number: u64| number % 5;
    let tally = rig.load(200).concurrency(40).each(move |number| {
        let user = user(number);
        ClientRequest::get(&format!("/{user}")).header("x-user-id", user.to_string())
    });
    let tally = tally.await;
    assert_eq!(tally.with_status(200), 200, "{tally:?}");
    assert_eq!(workers_used(&rig).await, 2);
    let on = |server: &canary_integration::Server| -> Vec<String> {
        let mut paths: Vec<_> = server.requests().into_iter().map(|seen| seen.path).collect();
        paths.sort();
        paths.dedup();
        paths
    };
    let (stable, canary) = (on(rig.stable()), on(rig.canary()));
    assert!(
        stable.iter().all(|user| !canary.contains(user)),
        "{stable:?} and {canary:?} share a user"
    );
}

#[tokio::test]
async fn a_change_holds_on_all_workers() {
    let rig = Rig::new().workers(4).start().await;
    for (weight, version) in [("100", "1.1.0"), ("0", "1.0.0"), ("100", "1.1.0")] {
        rig.runtime_modify(&[("canary.demo.weight", weight)]).await;
        rig.all_go_to(version).await;
        let tally = rig.load(400).concurrency(40).await;
        assert_eq!(tally.of_version(version), 400, "{tally:?}");
    }
    assert_eq!(workers_used(&rig).await, 4);
}

#[tokio::test]
async fn one_of_them_polls() {
    let rig = Rig::new().workers(4).start().await;
    let poll_count = async || rig.stat("filter.poll_success").await;
    rig.eventually("the first poll", poll_count, |count| *count > 0).await;
    let (start, before) = (Instant::now(), poll_count().await);
    let polls =
        rig.eventually("eight more polls", poll_count, |count| *count >= before + 8).await - before;
    let most = start.elapsed().as_millis() / 250 + 2;
    assert!(u128::from(polls) <= most, "{polls} polls in {:?}", start.elapsed());
    assert!(start.elapsed() < wait_limit(Duration::from_secs(10)), "and it keeps its interval");
}
