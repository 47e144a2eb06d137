//! What docs/OPERATING.md says about routes, with its own words where it has them.

use canary_integration::{ClientRequest, Rig, artifacts};
use serde_json::{Value, json};

/// The `typed_per_filter_config` of the document.
fn documented() -> Value {
    let document = std::fs::read_to_string(artifacts::root().join("docs/OPERATING.md")).unwrap();
    let blocks = document.split("```yaml").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.into_iter().find(|block| block.contains("typed_per_filter_config")).unwrap();
    let routes: Value = serde_saphyr::from_str(block).unwrap();
    routes[0].clone()
}

#[tokio::test]
async fn a_route_can_be_kept_free_of_the_filter() {
    let mut route = documented();
    route["route"] = json!({"cluster": "demo-stable"});
    let rig =
        Rig::new().weight(100.0).bootstrap(|bootstrap| bootstrap.add_route(route)).start().await;
    rig.all_go_to("1.1.0").await;
    for _ in 0..20 {
        let answer = rig.request(ClientRequest::get("/healthz")).await;
        assert_eq!(
            (answer.status, answer.upstream(), answer.version()),
            (200, Some("1.0.0"), None)
        );
    }
    let others = rig.load(20).await;
    assert_eq!(others.of_version("1.1.0"), 20);
    // The filter counts all that reached the upstreams but the twenty.
    let stats = rig.counted(rig.stable().seen() + rig.canary().seen() - 20).await;
    assert_eq!(stats.metric_of("stable", "rq_total"), rig.stable().seen() - 20);
}
