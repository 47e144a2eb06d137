//! Several rollouts behind one gateway, as `canaryctl render istio` prints them.

use std::process::Command;

use canary_integration::crds::{Checked, Crds};
use canary_integration::{Server, TestUpstream};

use super::*;

const PATHS: [(&str, &str); 2] = [("a_b", "/one"), ("a-b", "/two")];

/// The filter's configuration: two rollouts whose names are alike, on one host, each with a service of
/// its own. The host of the second one covers that of the first.
fn two_rollouts() -> Value {
    let rollout = |name: &str, service: &str, host: &str, path: &str| {
        let cluster =
            |subset: &str| format!("outbound|8080|{subset}|{service}.default.svc.cluster.local");
        json!({
            "name": name,
            "match": {"authorities": [host], "path_prefixes": [path]},
            "stable": {"version": "1", "cluster": cluster("v1")},
            "canary": {"version": "2", "cluster": cluster("v2")},
        })
    };
    json!({
        "rollouts": [
            rollout("a_b", "one", "shop.example.com", "/one"),
            rollout("a-b", "two", "*.example.com", "/"),
        ],
        "runtime": {"cluster": "prometheus_stats"},
    })
}

/// What `render` prints for them.
fn manifests() -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut command = Command::new(artifacts::canaryctl());
    command.args(["render", "istio", "-o", "json", "--filter"]);
    command.arg(file("filter.json", &two_rollouts().to_string()));
    for (at, (name, _)) in PATHS.into_iter().enumerate() {
        let text = format!(
            "rollout: {name}\nsteps:\n- setWeight: 5\nanalysis:\n  metrics:\n  \
             - {{name: failures, kind: failureRate}}\n"
        );
        command.arg("-f").arg(file(&format!("{at}.yaml"), &text));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// A gateway with both rollouts, and the second one's upstreams.
async fn gateway() -> (Running, [Server; 2]) {
    let others = ["1", "2"].map(|version| TestUpstream::ok().start(version));
    let addresses = [others[0].at(), others[1].at()];
    let rig = Rig::of_manifests(Carrier::WasmPlugin, &manifests()).bootstrap(move |bootstrap| {
        for ((subset, version), at) in [("v1", "1"), ("v2", "2")].into_iter().zip(addresses) {
            let cluster = format!("outbound|8080|{subset}|two.default.svc.cluster.local");
            bootstrap.upstream(&cluster, at, version);
        }
    });
    (rig.start().await, others)
}

/// How many of 32 requests on this path version 2 answers.
async fn on_canary(rig: &Running, path: &'static str) -> u64 {
    let ask = move |_| ClientRequest::get(path).authority("shop.example.com");
    let tally = rig.load(32).concurrency(8).each(ask).await;
    assert_eq!(tally.with_status(200), 32, "{tally:?}");
    let [answered, named] =
        [tally.count(|one| one.upstream.as_deref() == Some("2")), tally.of_version("2")];
    assert_eq!(answered, named, "the header names the version that answered");
    answered
}

async fn settles(rig: &Running, expected: [u64; 2]) {
    let probe = async || [on_canary(rig, "/one").await, on_canary(rig, "/two").await];
    rig.eventually(&format!("{expected:?} of 32"), probe, |found| *found == expected).await;
}

/// One plugin carries both, and each has its own weight and its own kill switch.
#[tokio::test]
async fn two_rollouts_in_one_plugin_do_not_disturb_each_other() {
    let (rig, _others) = gateway().await;
    settles(&rig, [0, 0]).await;
    for (name, expected) in [("a_b", [32, 0]), ("a-b", [32, 32])] {
        ctl(&rig, &["set", "weight", name, "100"]).await;
        settles(&rig, expected).await;
    }
    for (name, expected) in [("a-b", [32, 0]), ("a_b", [0, 0])] {
        ctl(&rig, &["abort", name]).await;
        settles(&rig, expected).await;
    }
}

/// The kill switch of each is Envoy's own, on its own route.
#[tokio::test]
async fn each_rollout_has_its_own_kill_switch() {
    let (rig, _others) = gateway().await;
    for (name, _) in PATHS {
        ctl(&rig, &["set", "weight", name, "100"]).await;
    }
    settles(&rig, [32, 32]).await;
    for ((name, _), expected) in PATHS.into_iter().zip([[0, 32], [32, 0]]) {
        let key = format!("canary.{name}.enabled");
        rig.runtime_modify(&[(&key, "0")]).await;
        let found = [on_canary(&rig, "/one").await, on_canary(&rig, "/two").await];
        assert_eq!(found, expected, "{name}: the very next requests");
        rig.runtime_modify(&[(&key, "100")]).await;
    }
}

/// Against Istio's own definitions, which aren't part of this repository: `ISTIO_CRDS` names the file (see
/// `scripts/check-istio`).
#[test]
fn what_is_rendered_fits_istios_definitions() {
    let Ok(file) = std::env::var("ISTIO_CRDS") else { return };
    let definitions = Crds::read(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut checked = 0;
    for manifest in manifests() {
        if let Checked::Against(problems) = definitions.check(&manifest) {
            assert!(problems.is_empty(), "{problems:?} in {manifest:#}");
            checked += 1;
        }
    }
    assert_eq!(checked, 8, "2 rules, 2 routes, 3 EnvoyFilters and 1 plugin");
}

/// Waits until version 2 answers this many of 32 requests on each path, whatever the headers say.
async fn serve(rig: &Running, expected: [u64; 2]) {
    let answered = async |path: &'static str| {
        let ask = move |_| ClientRequest::get(path).authority("shop.example.com");
        let tally = rig.load(32).concurrency(8).each(ask).await;
        tally.count(|one| one.upstream.as_deref() == Some("2"))
    };
    let probe = async || [answered("/one").await, answered("/two").await];
    rig.eventually(&format!("{expected:?} of 32"), probe, |found| *found == expected).await;
}

/// Takes the rollout `a-b` out of the plugin and puts it into a second one.
fn two_plugins(headers: &Value) -> (Rig, [Server; 2]) {
    let others = ["1", "2"].map(|version| TestUpstream::ok().start(version));
    let addresses = [others[0].at(), others[1].at()];
    let mut second = two_rollouts();
    second["rollouts"].as_array_mut().unwrap().remove(0);
    second["headers"] = headers.clone();
    let route_header = headers["route"].clone();
    let rig = Rig::of_manifests(Carrier::WasmPlugin, &manifests());
    let rig = rig.config(|config| {
        config["rollouts"].as_array_mut().unwrap().truncate(1);
    });
    let rig = rig.bootstrap(move |bootstrap| {
        for ((subset, version), at) in [("v1", "1"), ("v2", "2")].into_iter().zip(addresses) {
            let cluster = format!("outbound|8080|{subset}|two.default.svc.cluster.local");
            bootstrap.upstream(&cluster, at, version);
        }
        let manager = bootstrap.connection_manager();
        let filters = manager["http_filters"].as_array_mut().unwrap();
        filters.insert(1, json!({"name": "second", "typed_config": inline_plugin(&second)}));
        let hosts = manager["route_config"]["virtual_hosts"].as_array_mut().unwrap();
        let routes = hosts.iter_mut().flat_map(|host| host["routes"].as_array_mut().unwrap());
        for route in routes.filter(|route| route["name"] == "canary-a-b") {
            route["match"]["headers"][0]["name"] = route_header.clone();
        }
    });
    (rig, others)
}

/// A plugin that is part of the listener.
fn inline_plugin(configuration: &Value) -> Value {
    let module = artifacts::filter_headers();
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "second", "root_id": "canary", "failure_policy": "FAIL_OPEN",
            "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": configuration.to_string(),
            },
        },
    })
}

/// Why all rollouts of a gateway are in one plugin: the second one removes the first one's headers.
#[tokio::test]
async fn two_plugins_with_the_same_headers_disable_the_first() {
    let (rig, _others) =
        two_plugins(&json!({"route": "x-canary-route", "version": "x-canary-version"}));
    let rig = rig.start().await;
    rig.runtime_modify(&[("canary.a_b.weight", "100"), ("canary.a-b.weight", "100")]).await;
    serve(&rig, [0, 32]).await;
}

/// A second plugin works if its headers have other names.
#[tokio::test]
async fn two_plugins_with_headers_of_their_own_work() {
    let (rig, _others) =
        two_plugins(&json!({"route": "x-team-b-route", "version": "x-team-b-version"}));
    let rig = rig.start().await;
    for (weights, expected) in
        [(["100", "100"], [32, 32]), (["0", "100"], [0, 32]), (["100", "0"], [32, 0])]
    {
        let [first, second] = weights;
        rig.runtime_modify(&[("canary.a_b.weight", first), ("canary.a-b.weight", second)]).await;
        serve(&rig, expected).await;
    }
}
