//! Other ways to push a weight than the admin: a ConfigMap on a disk layer, and RTDS. The merge is
//! Envoy's, so the filter needs to know of none of them; the admin's layer lies above them all.

use canary_integration::{Bootstrap, ConfigMap, Rig, Running};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A rig with the ConfigMap's keys as a layer.
async fn mounted(data: &[(&str, &str)]) -> (Running, ConfigMap, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let map = ConfigMap::mount(&dir.path().join("runtime"), data);
    let layer = json!({"name": "config-map", "disk_layer": {"symlink_root": map.data()}});
    let rig = Rig::new().bootstrap(|bootstrap| bootstrap.add_layer(layer)).start().await;
    (rig, map, dir)
}

/// The weight that canaryctl shows, set and in force.
async fn shown(rig: &Running) -> [Option<f64>; 2] {
    let output = rig.canaryctl(&["get", "rollout", "demo", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let rollout: Value = serde_json::from_slice(&output.stdout).unwrap();
    ["set", "in_force"].map(|field| rollout["weight"][field].as_f64())
}

async fn canaryctl(rig: &Running, arguments: &[&str]) {
    let output = rig.canaryctl(arguments).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

async fn epoch(rig: &Running, epoch: u64) {
    let probe = async || rig.stat("demo.epoch").await;
    rig.eventually("the epoch", probe, |shown| *shown == epoch).await;
}

#[tokio::test]
async fn a_config_map_sets_weight_epoch_and_kill_switch() {
    // Files end with a line break.
    let (rig, map, _dir) = mounted(&[("canary.demo.weight", "25\n")]).await;
    rig.weight_in_force(250_000).await;
    assert_eq!(shown(&rig).await, [Some(25.0); 2]);
    map.apply(&[("canary.demo.weight", "100"), ("canary.demo.epoch", "7")]);
    rig.all_go_to("1.1.0").await;
    epoch(&rig, 7).await;
    map.apply(&[("canary.demo.weight", "100"), ("canary.demo.enabled", "0")]);
    rig.all_go_to("1.0.0").await;
    // That is Envoy's kill switch alone: the weight is as it was.
    rig.weight_in_force(1_000_000).await;
    assert_eq!(rig.load(50).await.of_version("1.0.0"), 50);
    // What was taken out isn't in force any more: the configuration's weight is.
    map.apply(&[]);
    rig.weight_in_force(0).await;
    epoch(&rig, 0).await;
}

#[tokio::test]
async fn a_config_map_that_makes_no_sense_leaves_the_last_good_weight() {
    let (rig, map, _dir) = mounted(&[("canary.demo.weight", "100")]).await;
    rig.all_go_to("1.1.0").await;
    map.apply(&[("canary.demo.weight", "a lot")]);
    let probe = async || rig.stat("filter.invalid_runtime").await;
    rig.eventually("it is counted", probe, |count| *count == 1).await;
    assert_eq!(rig.load(50).await.of_version("1.1.0"), 50);
    map.apply(&[("canary.demo.weight", "0")]);
    rig.all_go_to("1.0.0").await;
}

#[tokio::test]
async fn an_abort_by_the_admin_wins_over_a_config_map_until_it_is_taken_back() {
    let full = ("canary.demo.weight", "100");
    let (rig, map, _dir) = mounted(&[full, ("canary.demo.enabled", "100")]).await;
    rig.all_go_to("1.1.0").await;
    canaryctl(&rig, &["abort", "demo"]).await;
    let tally = rig.load(200).concurrency(16).await;
    assert_eq!((tally.of_version("1.0.0"), tally.with_status(200)), (200, 200), "{tally:?}");
    map.apply(&[full, ("canary.demo.enabled", "100"), ("canary.demo.epoch", "1")]);
    // The ConfigMap was read again, and changed what the admin hasn't set.
    epoch(&rig, 1).await;
    assert_eq!(rig.load(50).await.of_version("1.0.0"), 50);
    assert_eq!(shown(&rig).await, [Some(0.0); 2]);
    canaryctl(&rig, &["set", "weight", "demo", "50"]).await;
    rig.weight_in_force(500_000).await;
    // Empty values give the keys back to the layer below.
    rig.runtime_modify(&[("canary.demo.weight", ""), ("canary.demo.enabled", "")]).await;
    rig.all_go_to("1.1.0").await;
}

/// Why a lease belongs into the admin's layer: on a disk it outlives Envoy, and to the next one it is
/// new.
#[tokio::test]
async fn a_lease_in_a_config_map_begins_anew_with_each_envoy() {
    let (mut rig, _map, _dir) =
        mounted(&[("canary.demo.weight", "100"), ("canary.demo.lease", "2:a")]).await;
    for _ in 0..2 {
        rig.all_go_to("1.1.0").await;
        let expired = async || rig.stat("demo.lease_expired").await;
        rig.eventually("it runs out", expired, |expired| *expired == 1).await;
        rig.all_go_to("1.0.0").await;
        rig.restart().await;
    }
}

/// RTDS as a file: the same resource as a management server sends.
fn resource(layer: Value) -> String {
    let kind = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
    json!({"resources": [{"@type": kind, "name": "canary", "layer": layer}]}).to_string()
}

#[tokio::test]
async fn rtds_sets_the_weight_and_the_admin_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (root, file) = (dir.path().join("rtds"), "rtds.json");
    let apply = |map: &ConfigMap, layer| map.apply(&[(file, &resource(layer))]);
    let map = ConfigMap::mount(&root, &[(file, &resource(json!({"canary.demo.weight": "25"})))]);
    let source = json!({"resource_api_version": "V3", "path_config_source":
        {"path": root.join(file), "watched_directory": {"path": root}}});
    let layer = json!({"name": "rtds", "rtds_layer": {"name": "canary", "rtds_config": source}});
    let with = |bootstrap: &mut Bootstrap| bootstrap.add_layer(layer);
    let rig = Rig::new().bootstrap(with).start().await;
    rig.weight_in_force(250_000).await;
    apply(&map, json!({"canary.demo.weight": "100", "canary.demo.enabled": "100"}));
    rig.all_go_to("1.1.0").await;
    apply(&map, json!({"canary.demo.weight": "100", "canary.demo.enabled": "0"}));
    rig.all_go_to("1.0.0").await;
    // Keys may be nested, and numbers be numbers.
    apply(&map, json!({"canary": {"demo": {"weight": 12.5, "epoch": 3}}}));
    rig.weight_in_force(125_000).await;
    epoch(&rig, 3).await;
    canaryctl(&rig, &["abort", "demo"]).await;
    apply(&map, json!({"canary.demo.weight": "100", "canary.demo.epoch": "4"}));
    epoch(&rig, 4).await;
    assert_eq!(rig.load(50).await.of_version("1.0.0"), 50);
}
