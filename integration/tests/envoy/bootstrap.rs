//! The shipped files by themselves: what they share, and the limits of their routes.

use canary_integration::Bootstrap;
use serde_json::{Value, json};

/// `rescue.yaml` is `envoy.yaml` with rescue: undo that, and they're the same document.
#[test]
fn rescue_differs_by_rescue_alone() {
    let mut rescue = Bootstrap::shipped("envoy/rescue.yaml");
    let routes = &mut rescue.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
    routes[0]["route"] = routes[1]["route"].clone();
    routes[0]["route"]["cluster"] = json!("demo-canary");
    let clusters = rescue.document()["static_resources"]["clusters"].as_array_mut().unwrap();
    clusters.retain(|cluster| cluster["name"] != "demo-canary-rescued");
    let mut plain: Value = Bootstrap::shipped("envoy/envoy.yaml").document().clone();
    assert_eq!(*rescue.document(), plain.take());
}

/// Envoy's default of 15 s would cut every longer stream, on both versions. What hangs must end all the
/// same: no response within 15 s, or nothing moving for 5 minutes.
#[test]
fn no_route_limits_how_long_a_response_lasts() {
    for file in [
        "envoy/envoy.yaml",
        "envoy/rescue.yaml",
        "envoy/kubernetes/envoy.yaml",
        "integration/compose/envoy.yaml",
    ] {
        let mut bootstrap = Bootstrap::shipped(file);
        let hosts = &bootstrap.connection_manager()["route_config"]["virtual_hosts"];
        let routes = hosts[0]["routes"].as_array().unwrap();
        assert_eq!(routes.len(), 2, "{file}");
        for route in routes.iter().map(|route| &route["route"]) {
            assert_eq!(route["timeout"], "0s", "{file}: {route}");
            assert_eq!(route["idle_timeout"], "300s", "{file}: {route}");
            assert_eq!(route["retry_policy"]["per_try_timeout"], "15s", "{file}: {route}");
        }
    }
}
