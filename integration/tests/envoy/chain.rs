//! A call chain: two services, each behind an Envoy with the filter, keep one user on one version
//! without a mesh.

use std::net::SocketAddr;

use canary_integration::{Bootstrap, ClientRequest, RequestOutcome, Rig, Running, TestUpstream};
use serde_json::{Value, json};

/// What the back needs to hear its front: the early removal spares the version header.
fn hears_its_front(bootstrap: &mut Bootstrap) {
    let mutations = &mut bootstrap.connection_manager()["early_header_mutation_extensions"][0];
    mutations["typed_config"]["mutations"] = json!([{"remove": "x-canary-route"}]);
}

/// The inner hop: it takes over what its front decided.
async fn back(weight: f64) -> Running {
    let inherit = |rollout: &mut Value| rollout["inherit"] = true.into();
    Rig::new().rollout(inherit).bootstrap(hears_its_front).weight(weight).start().await
}

/// The outer hop: it decides by user, and its service calls the back.
async fn front(back: SocketAddr, propagate: bool) -> Running {
    let service = TestUpstream::ok().calls(back);
    Rig::new()
        .stable(service.clone())
        .canary(service)
        .affinity(json!([{"header": "x-user-id"}]))
        .rollout(|rollout| rollout["propagate"] = propagate.into())
        .weight(50.0)
        .start()
        .await
}

fn of_user(user: u64) -> ClientRequest {
    ClientRequest::get(&format!("/{user}")).header("x-user-id", user.to_string())
}

/// Who answered at the front and at the back.
async fn both(front: &Running, ask: ClientRequest) -> (String, String) {
    let answer = front.request(ask).await;
    let of = |header: &str| answer.header(header).expect("who answered").to_owned();
    assert_eq!(answer.upstream(), answer.version());
    (of("x-upstream"), of("x-next-upstream"))
}

#[tokio::test]
async fn one_user_stays_on_one_version_all_the_way() {
    // Whatever the back's own weight is.
    for weight in [0.0, 100.0] {
        let back = back(weight).await;
        let front = front(back.address(), true).await;
        let mut on_canary = 0;
        for user in 0..30 {
            let (first, next) = both(&front, of_user(user)).await;
            assert_eq!(first, next, "user {user}");
            assert_eq!(both(&front, of_user(user)).await, (first.clone(), next));
            on_canary += u64::from(first == "1.1.0");
        }
        assert!((3..=27).contains(&on_canary), "both versions were tried: {on_canary}");
        // What was inherited counts like any other.
        let stats = back.counted(60).await;
        assert_eq!(stats.metric_of("canary", "rq_total"), 2 * on_canary);
        assert_eq!(front.counted(60).await.metric_of("canary", "rq_total"), 2 * on_canary);
    }
}

/// Without `propagate` a stable request is handed on as it is: the back decides about it by itself.
#[tokio::test]
async fn without_propagate_only_the_canarys_users_are_kept_together() {
    let back = back(100.0).await;
    let front = front(back.address(), false).await;
    let mut stable = 0;
    for user in 0..20 {
        let (first, next) = both(&front, of_user(user)).await;
        assert_eq!(next, "1.1.0");
        stable += u32::from(first == "1.0.0");
    }
    assert!(stable > 0);
    let told =
        |seen: &canary_integration::RecordedRequest| seen.headers.contains_key("x-canary-version");
    assert!(!front.stable().requests().iter().any(told), "stable is told nothing");
    assert!(front.canary().requests().iter().all(told));
}

#[tokio::test]
async fn an_inherited_version_must_be_one_of_the_two() {
    let back = back(0.0).await;
    let sent = |version: &[u8]| ClientRequest::get("/").header("x-canary-version", version);
    for ask in
        [sent(b"1.1.0"), sent(b"1.1.0").http2(), sent(b"1.1.0").header("x-canary-route", "x")]
    {
        assert_eq!(back.request(ask).await.upstream(), Some("1.1.0"));
    }
    for version in [&b"1.1"[..], b"1.1.0 ", b"V1.1.0", b"9", b"", b"\xff", b"1.1.0,1.1.0"] {
        // A space at the end isn't part of a header's value.
        let expected = if version == b"1.1.0 " { "1.1.0" } else { "1.0.0" };
        assert_eq!(back.request(sent(version)).await.upstream(), Some(expected), "{version:?}");
    }
    for seen in back.stable().requests() {
        assert!(!seen.headers.contains_key("x-canary-version"), "what isn't inherited is removed");
    }
    assert_eq!(back.request(sent(b"1.0.0")).await.upstream(), Some("1.0.0"));
    let seen = back.stable().requests().pop().unwrap();
    assert_eq!(seen.headers["x-canary-version"], "1.0.0", "with inherit, the header stays");
}

#[tokio::test]
async fn without_inherit_a_clients_version_header_decides_nothing_and_is_removed() {
    for weight in [0.0, 100.0] {
        let rig = Rig::new().bootstrap(hears_its_front).weight(weight).start().await;
        let other = if weight > 0.0 { "1.0.0" } else { "1.1.0" };
        let asks = move |_| ClientRequest::get("/").header("x-canary-version", other);
        let tally = rig.load(50).each(asks).await;
        let astray = |outcome: &RequestOutcome| outcome.upstream.as_deref() == Some(other);
        assert_eq!((tally.count(astray), tally.with_status(200)), (0, 50), "{tally:?}");
        let told = |seen: &canary_integration::RecordedRequest| {
            seen.headers.get_all("x-canary-version").iter().any(|version| version == other)
        };
        assert!(!rig.stable().requests().iter().chain(&rig.canary().requests()).any(told));
    }
}

/// The order is override, inheritance, cohort.
#[tokio::test]
async fn a_tester_is_heard_before_the_front() {
    let rollout = |rollout: &mut Value| {
        rollout["inherit"] = true.into();
        rollout["affinity"] = json!([{"header": "x-user-id"}]);
        rollout["override"] = json!({"header": "x-canary"});
    };
    let rig = Rig::new().rollout(rollout).bootstrap(hears_its_front).weight(100.0).start().await;
    let inherited = || of_user(1).header("x-canary-version", "1.0.0");
    assert_eq!(rig.request(of_user(1)).await.upstream(), Some("1.1.0"));
    assert_eq!(rig.request(inherited()).await.upstream(), Some("1.0.0"));
    let forced = rig.request(inherited().header("x-canary", "always")).await;
    assert_eq!(forced.upstream(), Some("1.1.0"));
    let seen = rig.canary().requests().pop().unwrap();
    assert_eq!(seen.headers.get_all("x-canary-version").iter().collect::<Vec<_>>(), ["1.1.0"]);
    let never =
        rig.request(of_user(1).header("x-canary-version", "1.1.0").header("x-canary", "never"));
    assert_eq!(never.await.upstream(), Some("1.0.0"));
    let seen = rig.stable().requests().pop().unwrap();
    assert!(!seen.headers.contains_key("x-canary-version"), "the front's word didn't hold");
}
