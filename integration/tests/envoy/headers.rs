//! The internal headers: the filter's alone, whoever else sends them.

use canary_integration::{Bootstrap, ClientRequest, RecordedRequest, Rig, Running};
use serde_json::json;

fn internal(seen: &RecordedRequest) -> Vec<(&str, &str)> {
    let headers = seen.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-canary"));
    headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

fn forged(cluster: &str) -> ClientRequest {
    let ask = ClientRequest::get("/")
        .header("x-canary-route", cluster)
        .header("X-Canary-Route", "demo-canary");
    ask.header("x-canary-version", "1.1.0").header("X-CANARY-VERSION", b"\xff\xfe")
}

async fn forge(rig: &Running) {
    for cluster in ["demo-canary", "envoy_admin", "demo-stable", "nowhere", ""] {
        for ask in [forged(cluster), forged(cluster).http2()] {
            let answer = rig.request(ask).await;
            assert_eq!(
                (answer.status, answer.upstream(), answer.version()),
                (200, Some("1.0.0"), Some("1.0.0"))
            );
        }
    }
    assert_eq!((rig.stable().seen(), rig.canary().seen()), (10, 0));
    for seen in rig.stable().requests() {
        assert_eq!(internal(&seen), [], "the upstream saw a client's copy");
    }
}

#[tokio::test]
async fn a_client_that_sends_the_route_header_reaches_neither_the_canary_nor_another_cluster() {
    forge(&Rig::new().start().await).await;
}

/// If the filter is in a configuration that doesn't remove the headers early, it removes
/// them itself.
#[tokio::test]
async fn the_filter_removes_forged_headers_by_itself() {
    forge(&Rig::new().bootstrap(Bootstrap::without_early_removal).start().await).await;
}

#[tokio::test]
async fn the_canary_is_told_its_route_and_version_once_and_stable_nothing() {
    let rig = Rig::new().weight(50.0).start().await;
    let tally = rig.load(200).each(|_| forged("nowhere")).await;
    assert_eq!(tally.count(|outcome| outcome.upstream == outcome.version), 200, "{tally:?}");
    assert!(rig.canary().seen() > 50 && rig.stable().seen() > 50, "{tally:?}");
    for seen in rig.canary().requests() {
        let mut told = internal(&seen);
        told.sort_unstable();
        assert_eq!(told, [("x-canary-route", "demo-canary"), ("x-canary-version", "1.1.0")]);
    }
    for seen in rig.stable().requests() {
        assert_eq!(internal(&seen), []);
    }
}

#[tokio::test]
async fn the_headers_names_can_be_chosen() {
    let renamed = |config: &mut serde_json::Value| {
        config["headers"] = json!({"route": "x-route", "version": "x-version"});
    };
    let routes = |bootstrap: &mut Bootstrap| {
        let manager = bootstrap.connection_manager();
        let canary = &mut manager["route_config"]["virtual_hosts"][0]["routes"][0];
        canary["match"]["headers"][0]["name"] = "x-route".into();
    };
    let rig = Rig::new().config(renamed).bootstrap(routes).weight(100.0).start().await;
    let answer = rig.request(ClientRequest::get("/").header("x-version", "forged")).await;
    assert_eq!(
        (answer.upstream(), answer.header("x-version"), answer.version()),
        (Some("1.1.0"), Some("1.1.0"), None)
    );
}
