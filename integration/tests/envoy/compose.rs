//! The compose network's files are the shipped ones but for what a network of containers must have
//! otherwise. `scripts/integration` runs them.

use canary_integration::{Bootstrap, artifacts};
use serde_json::{Value, json};

/// What may differ, taken away: addresses, how they are found, the door to the admin.
fn without_addresses(file: &str) -> Value {
    let mut bootstrap = Bootstrap::shipped(file);
    for name in ["demo-stable", "demo-canary", "envoy_admin"] {
        let cluster = bootstrap.cluster(name).as_object_mut().unwrap();
        assert!(cluster.remove("type").or(cluster.remove("cluster_type")).is_some(), "{name}");
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"].take();
    }
    let document = bootstrap.document();
    document["admin"].take();
    let listeners = document["static_resources"]["listeners"].as_array_mut().unwrap();
    listeners.retain(|listener| listener["name"] != "control");
    listeners[0]["address"].take();
    document.clone()
}

#[test]
fn the_compose_bootstrap_is_the_shipped_one_at_other_addresses() {
    let compose = without_addresses("integration/compose/envoy.yaml");
    assert_eq!(compose, without_addresses("envoy/envoy.yaml"));
}

#[test]
fn its_door_to_the_admin_is_narrow() {
    let mut bootstrap = Bootstrap::shipped("integration/compose/envoy.yaml");
    let admin = bootstrap.document()["admin"]["address"].clone();
    assert_eq!(admin["pipe"]["mode"], 0o600, "only Envoy's user reaches the admin itself");
    let listeners = bootstrap.document()["static_resources"]["listeners"].clone();
    let control =
        listeners.as_array().unwrap().iter().find(|one| one["name"] == "control").unwrap();
    let manager = &control["filter_chains"][0]["filters"][0]["typed_config"];
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array().unwrap();
    let open: Vec<Value> = routes
        .iter()
        .map(|route| {
            let method = &route["match"]["headers"][0];
            assert_eq!(method["name"], ":method", "{route:#}");
            json!([method["string_match"]["exact"], route["match"]["path"]])
        })
        .collect();
    let expected = [
        ["GET", "/ready"],
        ["GET", "/runtime"],
        ["GET", "/stats"],
        ["GET", "/stats/prometheus"],
        ["POST", "/runtime_modify"],
    ];
    assert_eq!(json!(open), json!(expected));
}

#[test]
fn its_prometheus_scrapes_what_the_shipped_one_does() {
    let read = |file: &str| -> Value {
        let text = std::fs::read_to_string(artifacts::root().join(file)).unwrap();
        let mut document: Value = serde_saphyr::from_str(&text).unwrap();
        document.as_object_mut().unwrap().remove("global");
        for job in document["scrape_configs"].as_array_mut().unwrap() {
            let job = job.as_object_mut().unwrap();
            job.remove("authorization");
            assert!(job.remove("static_configs").is_some());
        }
        document
    };
    let compose = read("integration/compose/prometheus.yaml");
    assert_eq!(compose, read("envoy/prometheus/prometheus.yaml"));
}
