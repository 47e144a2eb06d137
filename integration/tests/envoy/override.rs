//! The override: how a tester looks at a version, and that the comparison doesn't see it.

use canary_integration::{ClientRequest, Rig, Running};
use serde_json::{Value, json};

fn by_both(rollout: &mut Value) {
    rollout["override"] = json!({"header": "x-canary", "cookie": "canary"});
}

fn with_token(rollout: &mut Value) {
    rollout["override"] = json!({"header": "x-canary",
        "token": {"header": "x-canary-token", "value": "a secret"}});
}

async fn version(rig: &Running, ask: ClientRequest) -> String {
    let by_http2 = rig.request(ask.clone().http2()).await;
    let answer = rig.request(ask).await;
    assert_eq!((answer.status, answer.upstream()), (200, answer.version()));
    assert_eq!(answer.version(), by_http2.version());
    answer.version().expect("a stamp").to_owned()
}

fn says(header: &str) -> ClientRequest {
    ClientRequest::get("/").header("X-Canary", header)
}

fn eats(cookie: &str) -> ClientRequest {
    ClientRequest::get("/").header("cookie", format!("a=b; canary={cookie}; c=d"))
}

#[tokio::test]
async fn header_and_cookie_pick_a_version_whatever_the_weight() {
    for (weight, otherwise) in [(0.0, "1.0.0"), (100.0, "1.1.0")] {
        let rig = Rig::new().rollout(by_both).weight(weight).start().await;
        for always in ["always", "Always", "ALWAYS"] {
            assert_eq!(version(&rig, says(always)).await, "1.1.0");
            assert_eq!(version(&rig, eats(always)).await, "1.1.0");
        }
        for never in ["never", "nEVER"] {
            assert_eq!(version(&rig, says(never)).await, "1.0.0");
            assert_eq!(version(&rig, eats(never)).await, "1.0.0");
        }
        for absent in ["", "yes", "alwayss", "canary", "1", "always, never", "true"] {
            assert_eq!(version(&rig, says(absent)).await, otherwise, "{absent}");
            assert_eq!(version(&rig, eats(absent)).await, otherwise, "{absent}");
        }
    }
}

#[tokio::test]
async fn the_header_wins_over_the_cookie_where_it_says_something() {
    let rig = Rig::new().rollout(by_both).start().await;
    assert_eq!(version(&rig, eats("always").header("x-canary", "never")).await, "1.0.0");
    assert_eq!(version(&rig, eats("never").header("x-canary", "always")).await, "1.1.0");
    assert_eq!(version(&rig, eats("always").header("x-canary", "maybe")).await, "1.1.0");
}

#[tokio::test]
async fn where_none_is_configured_nobody_can() {
    let rig = Rig::new().start().await;
    assert_eq!(version(&rig, says("always").header("cookie", "canary=always")).await, "1.0.0");
    let rig = Rig::new().rollout(|rollout| rollout["override"] = json!({"cookie": "canary"}));
    let rig = rig.start().await;
    assert_eq!(version(&rig, says("always")).await, "1.0.0");
    assert_eq!(version(&rig, eats("always")).await, "1.1.0");
}

#[tokio::test]
async fn only_the_right_token_opens_it_and_no_upstream_ever_sees_one() {
    let rig = Rig::new().rollout(with_token).start().await;
    let (token, mut sent) = ("X-Canary-Token", 0);
    for wrong in ["", "a", "a secre", "a secret!", "A SECRET", "a  secret"] {
        let ask = says("always").header(token, wrong);
        assert_eq!(version(&rig, ask).await, "1.0.0", "{wrong}");
    }
    assert_eq!(version(&rig, says("always")).await, "1.0.0", "none at all");
    let garbage = says("always").header(token, b"a secret\xff").header(token, "a secret");
    assert_eq!(version(&rig, garbage).await, "1.0.0", "the first one counts");
    let right = says("always").header(token, "a secret").header("x-canary-token", "another");
    assert_eq!(version(&rig, right).await, "1.1.0");
    let never = says("never").header(token, "a secret");
    assert_eq!(version(&rig, never).await, "1.0.0");
    for seen in rig.stable().requests().iter().chain(&rig.canary().requests()) {
        assert!(!seen.headers.contains_key(token), "{seen:?}");
        sent += 1;
    }
    assert_eq!(sent, 20);
}

#[tokio::test]
async fn it_is_counted_apart_and_compared_nowhere() {
    let rollout = |rollout: &mut Value| {
        by_both(rollout);
        rollout["affinity"] = json!([{"header": "x-user-id"}, {"cookie": "canary-cohort"}]);
        rollout["signals"] = json!([{"name": "code", "from": {"response_header": "x-upstream"},
            "categories": [{"value": "1.1.0", "bin": "new"}]}]);
    };
    let rig = Rig::new().rollout(rollout).weight(50.0).start().await;
    let ask = |number: u64| match number % 4 {
        0 => says("always"),
        1 => eats("never"),
        2 => says("never").header("x-user-id", number.to_string()),
        _ => eats("always").header("x-user-id", number.to_string()),
    };
    let tally = rig.load(400).each(ask).await;
    assert_eq!((tally.of_version("1.0.0"), tally.of_version("1.1.0")), (200, 200), "{tally:?}");
    let answer = rig.request(says("always")).await;
    assert_eq!(answer.header("set-cookie"), None, "a tester gets no cohort cookie");
    let forced = async || {
        let stats = rig.stats().await;
        (stats.metric_of("stable", "rq_forced"), stats.metric_of("canary", "rq_forced"))
    };
    rig.eventually("201 and 200 are counted", forced, |counts| *counts == (200, 201)).await;
    let stats = rig.stats().await;
    let of_roles = |name: &str| name.contains(".stable.") || name.contains(".canary.");
    let others = stats.values.iter().filter(|(name, count)| of_roles(name) && **count > 0);
    let others: Vec<_> = others.filter(|(name, _)| !name.ends_with(".rq_forced")).collect();
    assert_eq!(others, [], "in no other counter");
    for metric in ["rq_time_us", "rq_time_first_us"] {
        assert_eq!(stats.samples("stable", metric) + stats.samples("canary", metric), 0);
    }
    // Nor has it used up a client's first observation: a user whom a tester's cookie sent astray
    // is new when it comes by itself.
    let own = ClientRequest::get("/").header("x-user-id", "3");
    rig.request(own).await;
    let stats = rig.judged(1).await;
    assert_eq!(
        stats.metric_of("stable", "client_total") + stats.metric_of("canary", "client_total"),
        1
    );
}

#[tokio::test]
async fn always_reaches_the_canary_behind_a_tripped_guard_and_an_expired_lease() {
    let rig = Rig::new().rollout(by_both).weight(50.0).start().await;
    rig.runtime_modify(&[("canary.demo.lease", "1:a")]).await;
    let shown = async |gauge: &str| {
        let gauge = format!("demo.{gauge}");
        rig.eventually(&gauge, async || rig.stat(&gauge).await, |shown| *shown == 1).await;
    };
    shown("lease_expired").await;
    assert_eq!(version(&rig, says("always")).await, "1.1.0");
    assert_eq!(rig.load(50).await.of_version("1.0.0"), 50);
    rig.runtime_modify(&[("canary.demo.lease", "")]).await;
    rig.weight_in_force(500_000).await;
    rig.canary().change(|behavior| behavior.errors = 1.0);
    rig.load(100).await;
    shown("guard_tripped").await;
    rig.canary().change(|behavior| behavior.errors = 0.0);
    assert_eq!(version(&rig, says("always")).await, "1.1.0");
    assert_eq!(rig.load(50).await.of_version("1.0.0"), 50);
}

/// A tester who looks at a broken canary doesn't make the guard trip.
#[tokio::test]
async fn forced_failures_are_not_the_guards() {
    let rig = Rig::new().rollout(by_both).weight(50.0).start().await;
    rig.canary().change(|behavior| behavior.errors = 1.0);
    let tally = rig.load(200).each(|_| says("always")).await;
    assert_eq!(tally.with_status(503), 200, "{tally:?}");
    let forced = async || rig.stats().await.metric_of("canary", "rq_forced");
    rig.eventually("they are counted", forced, |count| *count == 200).await;
    assert_eq!(rig.stat("demo.guard_tripped").await, 0);
}

/// The kill switch bears on all.
#[tokio::test]
async fn the_kill_switch_sends_a_tester_to_stable_and_counts_it_there() {
    let rig = Rig::new().rollout(by_both).start().await;
    rig.runtime_modify(&[("canary.demo.enabled", "0")]).await;
    assert_eq!(version(&rig, says("always")).await, "1.0.0");
    let forced = async || {
        let stats = rig.stats().await;
        (stats.metric_of("stable", "rq_forced"), stats.metric_of("canary", "rq_forced"))
    };
    rig.eventually("as stable's", forced, |counts| *counts == (2, 0)).await;
}
