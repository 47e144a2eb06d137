//! Dead means stable: what Envoy does with the shipped configuration when there is no filter.

use canary_integration::{AdminOn, Bootstrap, ClientRequest, Rig};

#[tokio::test]
async fn without_the_filters_file_stable_answers_everything() {
    let rig = Rig::new().without_filter().weight(100.0).start().await;
    let tally = rig.load(200).await;
    assert_eq!(tally.with_status(200), 200, "{tally:?}");
    assert_eq!(rig.stable().seen(), 200);
    assert_eq!(rig.canary().seen(), 0);
    assert!(rig.logs().contains("Invalid path"), "Envoy says why");
}

/// The headers that decide are Envoy's and the filter's own. A client's copies are gone before
/// anything could act on them, whatever their case and number, by HTTP/1.1 and HTTP/2, and in
/// rescue's configuration, too.
#[tokio::test]
async fn without_the_filter_a_clients_route_header_reaches_no_upstream_and_no_other_route() {
    for rig in [Rig::new(), Rig::new().rescue()] {
        let rig = rig.without_filter().start().await;
        for cluster in ["demo-canary", "demo-canary-rescued", "envoy_admin", "nowhere"] {
            let ask = ClientRequest::get("/stats")
                .header("x-canary-route", cluster)
                .header("X-CANARY-ROUTE", "demo-canary");
            let ask = ask.header("x-canary-version", "1.1.0");
            for ask in [ask.clone(), ask.http2()] {
                let answer = rig.request(ask).await;
                assert_eq!((answer.status, answer.upstream()), (200, Some("1.0.0")), "{cluster}");
            }
        }
        assert_eq!((rig.stable().seen(), rig.canary().seen()), (8, 0));
        for seen in rig.stable().requests() {
            let internal = seen.headers.keys().find(|name| name.as_str().starts_with("x-canary"));
            assert_eq!(internal, None, "the upstream saw a client's internal header");
        }
    }
}

/// Shows that the test above can fail: with the early removal taken out, the header does decide.
#[tokio::test]
async fn it_is_the_early_removal_that_protects_the_route() {
    let rig = Rig::new().without_filter().bootstrap(Bootstrap::without_early_removal).start().await;
    let answer = rig.request(ClientRequest::get("/").header("x-canary-route", "demo-canary")).await;
    assert_eq!(answer.upstream(), Some("1.1.0"));
    rig.runtime_modify(&[("canary.demo.enabled", "0")]).await;
    let answer = rig.request(ClientRequest::get("/").header("x-canary-route", "demo-canary")).await;
    assert_eq!(answer.upstream(), Some("1.0.0"), "the kill switch closes the canary's route");
}

#[tokio::test]
async fn the_admin_takes_runtime_changes_on_a_unix_socket_and_on_a_port() {
    for admin in [AdminOn::Unix, AdminOn::Tcp] {
        let rig = Rig::new()
            .without_filter()
            .admin(admin)
            .runtime("canary.demo.weight", "0.25")
            .start()
            .await;
        assert_eq!(rig.runtime_value("canary.demo.weight").await.as_deref(), Some("0.25"));
        rig.runtime_modify(&[("canary.demo.weight", "5"), ("canary.demo.owner", "a & b=c")]).await;
        assert_eq!(rig.runtime_value("canary.demo.weight").await.as_deref(), Some("5"));
        assert_eq!(rig.runtime_value("canary.demo.owner").await.as_deref(), Some("a & b=c"));
        rig.runtime_modify(&[("canary.demo.weight", "")]).await;
        assert_eq!(rig.runtime_value("canary.demo.weight").await.as_deref(), Some("0.25"));
    }
}

#[tokio::test]
async fn the_admins_socket_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new().without_filter().start().await;
    let canary_integration::AdminAddress::Unix(socket) = rig.admin().address() else {
        panic!("a unix socket")
    };
    let mode = std::fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_restart_empties_the_admin_layer_and_goes_on_serving() {
    let mut rig = Rig::new().without_filter().start().await;
    rig.runtime_modify(&[("canary.demo.weight", "5")]).await;
    rig.restart().await;
    assert_eq!(rig.runtime_value("canary.demo.weight").await, None);
    assert_eq!(rig.get("/").await.status, 200);
}
