//! The guard: a canary that fails catastrophically against stable is left, without a controller,
//! after a handful of requests.

use std::time::Duration;

use canary_dataplane::cohort::KeyHash;
use canary_integration::{ClientRequest, Rig, Running, TestClient, TestUpstream};
use canary_model::weight::Weight;
use serde_json::json;

/// Requests one after the other on sixteen connections, so that every worker gets some.
struct FailingClients(Vec<TestClient>);

impl FailingClients {
    fn of(rig: &Running) -> Self {
        Self((0..16).map(|_| rig.client()).collect())
    }

    /// Sends until as many canary requests were answered (`true`) or the guard holds for 3,000
    /// requests in a row (`false`), and tells how many there were.
    async fn until(&mut self, canary_requests: u64) -> (u64, bool) {
        let (mut on_canary, mut since) = (0, 0);
        while since < 3_000 && on_canary < canary_requests {
            for client in &mut self.0 {
                let answer = client.send(ClientRequest::get("/")).await.unwrap();
                let canary = answer.version() == Some("1.1.0");
                (on_canary, since) =
                    if canary { (on_canary + 1, 0) } else { (on_canary, since + 1) };
                if on_canary == canary_requests {
                    break;
                }
            }
        }
        (on_canary, on_canary == canary_requests)
    }
}

fn fail(rig: &Running, errors: f64) {
    rig.canary().change(|behavior| behavior.errors = errors);
}

async fn tripped(rig: &Running, expected: u64) {
    let gauge = async || rig.stat("demo.guard_tripped").await;
    rig.eventually("the guard's gauge", gauge, |tripped| *tripped == expected).await;
}

/// The figures of the score's constants, to the request: by them a canary that fails every request
/// is left after 4, 6, 7, 11 and 21 failures from the start. One request may slip through, where
/// the next is faster at its decision than the last at its end.
#[tokio::test]
async fn it_trips_after_a_handful_from_the_start() {
    for (weight, failures) in [(1.0, 4), (5.0, 6), (10.0, 7), (25.0, 11), (50.0, 21)] {
        let rig = Rig::new().canary(TestUpstream::ok().failing(503)).weight(weight).start().await;
        let (seen, _) = FailingClients::of(&rig).until(failures).await;
        assert_eq!(seen, failures, "at {weight} % it held back too early");
        let tally = rig.load(600).concurrency(40).await;
        assert!(tally.of_version("1.1.0") <= 1, "at {weight} %: {tally:?}");
        tripped(&rig, 1).await;
        assert_eq!(rig.stat("demo.weight_ppm").await, 0);
    }
}

/// After a healthy phase the score is at its floor: twice as many.
#[tokio::test]
async fn it_trips_after_twice_as_many_from_a_healthy_phase() {
    for (weight, successes, failures) in
        [(5.0, 22, 11), (10.0, 23, 13), (25.0, 27, 21), (50.0, 36, 42)]
    {
        let rig = Rig::new().weight(weight).start().await;
        let mut clients = FailingClients::of(&rig);
        assert_eq!(clients.until(successes).await, (successes, true));
        rig.counted_on_canary(successes).await;
        fail(&rig, 1.0);
        assert_eq!(clients.until(failures).await, (failures, true), "at {weight} %");
        let tally = rig.load(600).concurrency(40).await;
        assert!(tally.of_version("1.1.0") <= 1, "at {weight} %: {tally:?}");
        tripped(&rig, 1).await;
    }
}

/// What is under way when it trips was sent before; nothing is sent after.
#[tokio::test]
async fn under_load_only_what_was_under_way_fails_beyond_the_handful() {
    let rig =
        Rig::new().workers(4).canary(TestUpstream::ok().failing(500)).weight(50.0).start().await;
    let connections = 32;
    let tally = rig.load(4_000).concurrency(connections).await;
    let failed = tally.with_status(500);
    assert!((21..=21 + connections).contains(&failed), "{tally:?}");
    assert_eq!(rig.load(400).concurrency(connections).await.of_version("1.0.0"), 400);
}

#[tokio::test]
async fn it_says_so_in_one_line_with_the_counts() {
    let rig = Rig::new().canary(TestUpstream::ok().failing(503)).weight(10.0).start().await;
    let mut clients = FailingClients::of(&rig);
    clients.until(7).await;
    tripped(&rig, 1).await;
    let log = rig.logs();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("guard tripped")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in [
        "rollout demo",
        "canary 1.1.0 failed 7 of 7 requests",
        "stable 1.0.0 failed 0 of ",
        "weight of 10 %",
        "until canary.demo.epoch changes",
        "[warning][wasm]",
    ] {
        assert!(lines[0].contains(part), "no {part} in {}", lines[0]);
    }
}

#[tokio::test]
async fn it_holds_until_a_new_epoch_clears_it() {
    let mut rig = Rig::new().canary(TestUpstream::ok().failing(503)).weight(50.0).start().await;
    rig.runtime_modify(&[("canary.demo.epoch", "3")]).await;
    rig.polled(2).await;
    FailingClients::of(&rig).until(21).await;
    tripped(&rig, 1).await;
    fail(&rig, 0.0);
    // Neither another weight, nor a lease, nor another configuration clears it.
    rig.runtime_modify(&[("canary.demo.weight", "90"), ("canary.demo.lease", "60:a")]).await;
    rig.push_config(|config| config["rollouts"][0]["weight"] = 80.0.into());
    rig.configured(2).await;
    rig.polled(3).await;
    let tally = rig.load(300).concurrency(40).await;
    assert_eq!((tally.of_version("1.0.0"), rig.stat("demo.guard_tripped").await), (300, 1));
    rig.runtime_modify(&[("canary.demo.epoch", "4")]).await;
    tripped(&rig, 0).await;
    rig.weight_in_force(900_000).await;
    rig.polled(2).await;
    assert!(rig.load(300).concurrency(40).await.of_version("1.1.0") > 200);
    // And then it watches again, from the start.
    rig.runtime_modify(&[("canary.demo.weight", "50"), ("canary.demo.epoch", "")]).await;
    rig.weight_in_force(500_000).await;
    rig.polled(2).await;
    fail(&rig, 1.0);
    assert_eq!(FailingClients::of(&rig).until(21).await, (21, true));
    tripped(&rig, 1).await;
    assert_eq!(rig.logs().matches("guard tripped").count(), 2);
}

/// An outage that both versions share says nothing against the canary.
#[tokio::test]
async fn a_shared_outage_trips_nothing() {
    for (weight, errors) in [(5.0, 1.0), (50.0, 1.0), (50.0, 0.3)] {
        let ill = TestUpstream::ok().errors(errors);
        let rig = Rig::new().stable(ill.clone()).canary(ill).weight(weight).start().await;
        let tally = rig.load(1_500).concurrency(16).await;
        rig.counted(1_500).await;
        assert!(tally.with_status(503) >= 440, "{tally:?}");
        assert_eq!(rig.stat("demo.guard_tripped").await, 0, "{errors} at {weight} %");
        assert!(rig.load(300).await.of_version("1.1.0") > 0);
    }
}

#[tokio::test]
async fn where_it_is_disabled_it_does_not_trip() {
    let rig =
        Rig::new().unguarded().canary(TestUpstream::ok().failing(503)).weight(50.0).start().await;
    let tally = rig.load(600).concurrency(16).await;
    assert!(tally.with_status(503) > 200, "{tally:?}");
    rig.counted(600).await;
    assert_eq!(rig.stat("demo.guard_tripped").await, 0);
}

/// The first users that the canary gets at this weight.
fn canary_users(percent: &str) -> impl Iterator<Item = String> {
    let weight = Weight::parse_percent(percent).unwrap();
    let users = (0..).map(|user| format!("user-{user}"));
    users.filter(move |user| KeyHash::new("demo/1.1.0", user.as_bytes()).bucket().on_canary(weight))
}

/// At 1 % four failures are enough. Two clients can have them in ten seconds, each at most once in
/// that time; it takes a third client to roll the release back.
#[tokio::test]
async fn with_keys_it_takes_three_clients() {
    let rig = Rig::new().canary(TestUpstream::ok().failing(503)).weight(1.0);
    let rig = rig.affinity(json!([{"header": "x-user-id"}])).start().await;
    let users: Vec<_> = canary_users("1").take(4).collect();
    let mut client = rig.client();
    let mut fails = async |user: &str| {
        let answer = client.send(ClientRequest::get("/").header("x-user-id", user)).await.unwrap();
        answer.version() == Some("1.1.0")
    };
    for _ in 0..20 {
        assert!(fails(&users[0]).await && fails(&users[1]).await, "their retries trip nothing");
    }
    tokio::time::sleep(Duration::from_millis(10_200)).await;
    assert!(fails(&users[0]).await && fails(&users[1]).await);
    rig.counted(42).await;
    assert!(fails(&users[0]).await, "four failures of two clients don't trip it");
    assert_eq!(rig.stat("demo.guard_tripped").await, 0);
    assert!(fails(&users[2]).await, "the third client's");
    tripped(&rig, 1).await;
    for user in &users {
        assert!(!fails(user).await);
    }
    assert!(rig.logs().contains("failed 5 of"), "each client once in ten seconds");
}

#[tokio::test]
async fn with_keys_a_broken_version_is_left_after_a_handful_of_clients() {
    let rig = Rig::new().workers(2).canary(TestUpstream::ok().failing(503)).weight(50.0);
    let rig = rig.affinity(json!([{"header": "x-user-id"}])).start().await;
    let users: Vec<_> = canary_users("50").take(40).collect();
    let asks = users.clone();
    let ask = move |number: u64| {
        ClientRequest::get("/").header("x-user-id", &asks[usize::try_from(number).unwrap()])
    };
    let tally = rig.load(40).concurrency(1).each(ask).await;
    assert!((21..=22).contains(&tally.with_status(503)), "{tally:?}");
    tripped(&rig, 1).await;
}
