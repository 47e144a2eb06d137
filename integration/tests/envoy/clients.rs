//! First observations: with an affinity key the unit of counting is the client, once in a window.

use std::time::Duration;

use canary_dataplane::cohort::KeyHash;
use canary_integration::{ClientRequest, FilterStats, RecordedRequest, Rig, Running, TestUpstream};
use canary_model::weight::Weight;
use hyper::body::Bytes;
use serde_json::{Value, json};

const FIRST: [&str; 3] = ["client_total", "client_failure", "client_first_failure"];

/// Fails what is asked for under `/fail`.
fn by_path() -> TestUpstream {
    TestUpstream::ok().header("x-label", "cat").script(|seen: &RecordedRequest| {
        seen.path.starts_with("/fail").then(|| (500, Bytes::new()))
    })
}

/// A rig by user at 50 %, with one signal.
fn by_user() -> Rig {
    let signals = |rollout: &mut Value| {
        rollout["signals"] = json!([{"name": "label", "from": {"response_header": "x-label"},
            "categories": ["cat"]}]);
    };
    let rig = Rig::new().stable(by_path()).canary(by_path()).rollout(signals);
    rig.affinity(json!([{"header": "x-user-id"}])).weight(50.0)
}

fn of_user(user: u64, fails: bool) -> ClientRequest {
    ClientRequest::get(if fails { "/fail" } else { "/" })
        .header("x-user-id", format!("user-{user}"))
}

fn on_canary(user: u64) -> bool {
    let hash = KeyHash::new("demo/1.1.0", format!("user-{user}").as_bytes());
    hash.bucket().on_canary(Weight::parse_percent("50").unwrap())
}

/// Both roles' clients: total, failed, failed at once.
fn clients(stats: &FilterStats) -> [[u64; 3]; 2] {
    ["stable", "canary"].map(|role| FIRST.map(|metric| stats.metric_of(role, metric)))
}

/// A new window, in force on every worker.
async fn window(rig: &Running, window: &str) {
    rig.runtime_modify(&[("canary.demo.window", window)]).await;
    rig.polled(3).await;
}

/// Users 0 to 39, five requests each: one in four is healthy, one fails at first, one later, one
/// always.
async fn five_each(rig: &Running) {
    let mut client = rig.client();
    for turn in 0..5 {
        for user in 0..40 {
            let fails = match user % 4 {
                0 => false,
                1 => turn == 0,
                2 => turn == 2,
                _ => true,
            };
            client.send(of_user(user, fails)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_client_counts_once_a_window_and_fails_once() {
    let rig = by_user().unguarded().workers(1).start().await;
    let users = |role: u64, kinds: &[u64]| {
        let of_role = (0..40).filter(|user| u64::from(on_canary(*user)) == role);
        of_role.filter(|user| kinds.contains(&(user % 4))).count() as u64
    };
    for turn in 1..=3 {
        five_each(&rig).await;
        let stats = rig.judged(turn * 200).await;
        let of_role =
            |role| [&[0, 1, 2, 3][..], &[1, 2, 3], &[1, 3]].map(|kinds| turn * users(role, kinds));
        assert_eq!(clients(&stats), [of_role(0), of_role(1)], "window {turn}");
        // Times and outputs are each client's first, too; only a success has an output.
        for (role, name) in [(0, "stable"), (1, "canary")] {
            assert_eq!(
                stats.metric_of(name, "signal_first.label.cat"),
                turn * users(role, &[0, 2])
            );
            let samples = async || rig.stats().await.samples(name, "rq_time_first_us");
            let expected = turn * users(role, &[0, 1, 2, 3]);
            rig.eventually("first times", samples, |samples| *samples == expected).await;
        }
        window(&rig, &turn.to_string()).await;
    }
    let stats = rig.stats().await;
    assert_eq!(stats.metric_of("stable", "rq_total") + stats.metric_of("canary", "rq_total"), 600);
    // An epoch isn't a window: it clears the guard, not the memory.
    rig.runtime_modify(&[("canary.demo.epoch", "1"), ("canary.demo.window", "4")]).await;
    rig.polled(3).await;
    five_each(&rig).await;
    rig.runtime_modify(&[("canary.demo.epoch", "2")]).await;
    rig.polled(3).await;
    five_each(&rig).await;
    let [[stable, ..], [canary, ..]] = clients(&rig.judged(1_000).await);
    assert_eq!(stable + canary, 4 * 40);
}

/// All workers together count a client once: as assigned, as seen, and as failed.
#[tokio::test]
async fn workers_agree_on_who_was_seen_and_who_has_failed() {
    let rig = by_user().unguarded().workers(4).start().await;
    let tally = rig.load(400).concurrency(40).each(|number| of_user(number % 10, true)).await;
    assert_eq!(tally.with_status(500), 400, "{tally:?}");
    let stats = rig.judged(400).await;
    let [stable, canary] = clients(&stats);
    assert_eq!(std::array::from_fn(|place| stable[place] + canary[place]), [10; 3]);
    let of_roles = |metric| ["stable", "canary"].map(|role| stats.metric_of(role, metric));
    assert_eq!(of_roles("assigned_total"), [stable[0], canary[0]]);
    assert_eq!(of_roles("judged_failure").iter().sum::<u64>(), 400, "requests");
}

/// One client that is broken, not the version: it retries ten times a second on the canary.
#[tokio::test]
async fn a_broken_client_moves_client_failure_by_one_and_trips_nothing() {
    let broken = (0..).find(|user| on_canary(*user)).unwrap();
    let rig = by_user().start().await;
    let healthy =
        rig.load(1_000).rate(400.0).each(|number| of_user(100 + number % 50, false)).spawn();
    let retries = rig.load(25).rate(10.0).concurrency(2).each(move |_| of_user(broken, true)).await;
    assert_eq!((retries.with_status(500), retries.of_version("1.1.0")), (25, 25), "{retries:?}");
    let healthy = healthy.finished().await;
    let stats = rig.judged(1_025).await;
    assert_eq!(stats.metric_of("canary", "rq_failure"), 25);
    assert_eq!(stats.metric_of("canary", "client_failure"), 1);
    assert_eq!(stats.metric_of("stable", "client_failure"), 0);
    assert_eq!((healthy.with_status(200), rig.stat("demo.guard_tripped").await), (1_000, 0));
    assert_eq!(rig.request(of_user(broken, false)).await.version(), Some("1.1.0"));
    window(&rig, "1").await;
    rig.load(20).each(move |_| of_user(broken, true)).await;
    assert_eq!(
        rig.judged(1_046).await.metric_of("canary", "client_failure"),
        2,
        "a new window counts it again"
    );
}

#[tokio::test]
async fn a_request_without_a_key_is_a_client_of_its_own() {
    let rig = by_user().unguarded().start().await;
    let tally = rig.load(120).each(|number| {
        ClientRequest::get(if number % 3 == 0 { "/fail" } else { "/" }).header("x-user-id", "")
    });
    let tally = tally.await;
    let stats = rig.judged(120).await;
    for (role, [total, failed, at_once]) in ["stable", "canary"].iter().zip(clients(&stats)) {
        assert_eq!(total, stats.metric_of(role, "rq_total"));
        assert_eq!(failed, stats.metric_of(role, "rq_failure"));
        assert_eq!(at_once, failed);
    }
    assert_eq!(
        stats.metric_of("stable", "client_failure") + stats.metric_of("canary", "client_failure"),
        40
    );
    assert_eq!(tally.with_status(500), 40);
}

/// A hundred clients that all fail, first without a cookie and then with the one that they got: the
/// generated id is the key of both requests, so each client counts once. (The memory has 65,536
/// places: three of a hundred may share one by chance.)
#[tokio::test]
async fn a_client_that_returns_with_its_cookie_counts_once() {
    let rig = by_user().unguarded().affinity(json!([{"cookie": "canary-cohort"}])).workers(1);
    let rig = rig.start().await;
    let mut client = rig.client();
    let mut cookies = Vec::new();
    for _ in 0..100 {
        let answer = client.send(ClientRequest::get("/fail")).await.unwrap();
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        cookies.push((cookie, answer.version().unwrap().to_owned()));
    }
    for (cookie, version) in &cookies {
        let answer =
            client.send(ClientRequest::get("/fail").header("cookie", cookie)).await.unwrap();
        assert_eq!((answer.version(), answer.header("set-cookie")), (Some(version.as_str()), None));
    }
    let stats = rig.judged(200).await;
    let [[total, failed, at_once], [canary_total, canary_failed, canary_at_once]] = clients(&stats);
    assert!((97..=100).contains(&(failed + canary_failed)), "{stats:?}");
    assert_eq!((total, canary_total), (failed, canary_failed));
    assert_eq!((total, canary_total), (at_once, canary_at_once));
}

#[tokio::test]
async fn a_rollout_without_affinity_has_none_of_it() {
    let rig = by_user().unguarded().affinity(json!([])).start().await;
    rig.load(100).each(|number| of_user(number, number % 2 == 0)).await;
    let stats = rig.counted(100).await;
    let names = stats.values.keys().chain(stats.histograms.keys());
    let first: Vec<_> =
        names.filter(|name| name.contains("client") || name.contains("first")).collect();
    assert!(first.is_empty(), "{first:?}");
}

/// Who sent it in the last window is not the present one's: it counts as a request, as no client.
#[tokio::test]
async fn a_request_that_outlives_its_window_is_no_client_of_the_next() {
    let age = |rollout: &mut Value| rollout["outcome_age"] = "3s".into();
    let rig = by_user().rollout(age).unguarded().workers(1).start().await;
    let latency = |ms| {
        for server in [rig.stable(), rig.canary()] {
            server.change(|behavior| behavior.latency = Duration::from_millis(ms));
        }
    };
    latency(1_500);
    let traffic = rig.load(10).concurrency(10).each(|user| of_user(user, true)).spawn();
    let seen = async || rig.stable().seen() + rig.canary().seen();
    rig.eventually("they are under way", seen, |seen| *seen == 10).await;
    latency(0);
    window(&rig, "1").await;
    assert_eq!(rig.stats().await.metric_of("stable", "rq_total"), 0, "still under way");
    traffic.finished().await;
    let stats = rig.judged(10).await;
    assert_eq!(clients(&stats), [[0; 3]; 2]);
    rig.load(10).each(|user| of_user(user, true)).await;
    let [[stable, failed, _], [canary, canary_failed, _]] = clients(&rig.judged(20).await);
    assert_eq!((stable + canary, failed + canary_failed), (10, 10));
}
