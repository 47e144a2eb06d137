//! What is shipped for Kubernetes, as far as it runs without a cluster: the bootstrap in a real Envoy
//! on ConfigMaps that change as the kubelet changes them, the manifests by what must fit together, and
//! the read-only view of the admin.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use canary_integration::{
    AdminAddress, Bootstrap, ClientRequest, ConfigMap, Rig, Running, TestClient, artifacts,
};
use hyper::Method;
use serde_json::{Value, json};

const ENVOY: &str = "envoy/kubernetes/envoy.yaml";

/// The documents of a shipped file.
fn documents(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(artifacts::root().join(file)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn readonly_listener() -> Value {
    documents("envoy/admin-readonly.yaml")[0]["static_resources"]["listeners"][0].clone()
}

fn at_free_port(mut listener: Value) -> Value {
    listener["address"] = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    listener
}

fn listeners(bootstrap: &mut Bootstrap) -> &mut Vec<Value> {
    bootstrap.document()["static_resources"]["listeners"].as_array_mut().unwrap()
}

/// `kubernetes/envoy.yaml` is `envoy.yaml` at other addresses, with one more layer and one more
/// listener: undo that, and they're the same document.
#[test]
fn the_bootstrap_differs_by_what_kubernetes_needs_alone() {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let placed = |file| {
        let mut bootstrap = Bootstrap::shipped(file);
        bootstrap.listen(anywhere);
        bootstrap.admin(&AdminAddress::Tcp(anywhere));
        bootstrap.filter_from(Path::new("/ecds/file"));
        for (cluster, version) in [("demo-stable", "1"), ("demo-canary", "2")] {
            bootstrap.upstream(cluster, anywhere, version);
            bootstrap.cluster(cluster)["type"] = "STATIC".into();
        }
        bootstrap
    };
    let (mut plain, mut here) = (placed("envoy/envoy.yaml"), placed(ENVOY));
    let readonly = listeners(&mut here).pop().unwrap();
    assert_eq!(at_free_port(readonly), at_free_port(readonly_listener()));
    let layers = here.document()["layered_runtime"]["layers"].as_array_mut().unwrap();
    assert_eq!(layers.remove(1)["name"], "config-map");
    assert_eq!(here.document(), plain.document());
    let filter = |file| {
        let mut document = documents(file).remove(0);
        document["resources"][0]["typed_config"]["config"]["vm_config"]["code"] = Value::Null;
        document
    };
    assert_eq!(filter("envoy/kubernetes/ecds.yaml"), filter("envoy/ecds.yaml"));
}

/// Every path that the bootstrap names lies in a volume that is mounted there, as a directory.
#[test]
fn the_deployment_mounts_what_the_bootstrap_reads() {
    let deployment = documents("envoy/kubernetes/edge.yaml").remove(0);
    let pod = &deployment["spec"]["template"]["spec"];
    let volumes: BTreeMap<&str, &Value> = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| (volume["name"].as_str().unwrap(), volume))
        .collect();
    let container = |name| {
        pod["containers"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
    };
    let mounted = |container: &Value, path: &str, volume: &str| {
        let mounts = container["volumeMounts"].as_array().unwrap();
        let folder = Path::new(path).parent().unwrap().to_str();
        let mount = mounts.iter().find(|mount| mount["mountPath"].as_str() == folder);
        let mount = mount.unwrap_or_else(|| panic!("nothing is mounted for {path}"));
        assert_eq!((mount["name"].as_str(), mount.get("subPath")), (Some(volume), None), "{path}");
        volumes[volume]["configMap"]["name"].as_str().map(str::to_owned)
    };
    let envoy = container("envoy");
    let map = |name: &str| Some(name.to_owned());
    let text = fs::read_to_string(artifacts::root().join(ENVOY)).unwrap();
    let ecds = fs::read_to_string(artifacts::root().join("envoy/kubernetes/ecds.yaml")).unwrap();
    for (path, volume, config_map, named) in [
        ("/etc/envoy/runtime/..data", "weights", map("canary-weights"), &text),
        ("/etc/envoy/ecds/ecds.yaml", "ecds", map("canary-ecds"), &text),
        ("/run/envoy/admin.sock", "run", None, &text),
        ("/etc/envoy/filter/canary_filter_headers.wasm", "filter", map("canary-filter"), &ecds),
    ] {
        assert!(named.contains(path), "{path} isn't what the file says");
        assert_eq!(mounted(envoy, path, volume), config_map);
    }
    let started = envoy["args"][1].as_str().unwrap();
    assert_eq!(mounted(envoy, started, "bootstrap"), map("canary-envoy"));
    let canaryctl = container("canaryctl");
    let socket = canaryctl["env"][0]["value"].as_str().unwrap();
    assert_eq!(mounted(canaryctl, socket.strip_prefix("unix://").unwrap(), "run"), None);
    // The socket is its owner's alone, so both must be the same user, and neither may be root.
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert!(
        ["envoy", "canaryctl"]
            .iter()
            .all(|name| container(name)["securityContext"].get("runAsUser").is_none())
    );
    let weights = documents("envoy/kubernetes/weights.yaml").remove(0);
    assert_eq!(weights["metadata"]["name"], "canary-weights");
}

/// The shipped bootstrap on ConfigMaps, from the shipped weights to all of it on the canary, with a
/// change of the filter's own ConfigMap on the way.
#[tokio::test]
async fn the_shipped_bootstrap_follows_its_config_maps() {
    let dir = tempfile::tempdir().unwrap();
    let weights = documents("envoy/kubernetes/weights.yaml").remove(0)["data"].take();
    let data: BTreeMap<String, String> = serde_json::from_value(weights).unwrap();
    let data: Vec<_> = data.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let map = ConfigMap::mount(&dir.path().join("runtime"), &data);
    let link = map.data();
    let at_home = |bootstrap: &mut Bootstrap| {
        let layers = &mut bootstrap.document()["layered_runtime"]["layers"];
        layers[1]["disk_layer"]["symlink_root"] = json!(link);
        let readonly = listeners(bootstrap).pop().unwrap();
        listeners(bootstrap).push(at_free_port(readonly));
    };
    let rig = Rig::new().shipped(ENVOY).bootstrap(at_home).filter_by_config_map();
    let mut rig = rig.start().await;
    rig.all_go_to("1.0.0").await;
    assert_eq!(rig.runtime_value("canary.demo.enabled").await.as_deref(), Some("100"));
    map.apply(&[("canary.demo.weight", "100"), ("canary.demo.enabled", "100")]);
    rig.all_go_to("1.1.0").await;
    rig.push_config(|config| config["rollouts"][0]["canary"]["version"] = "1.2.0".into());
    rig.all_go_to("1.2.0").await;
    let ready = TestClient::new(rig.listener("admin-readonly").await)
        .send(ClientRequest::get("/ready"))
        .await;
    assert_eq!(ready.unwrap().status, 200);
}

/// A rig as the command in admin-readonly.yaml's head starts it, and where the view is.
async fn with_view() -> (Running, SocketAddr) {
    let view = |bootstrap: &mut Bootstrap| {
        listeners(bootstrap).push(at_free_port(readonly_listener()));
    };
    let rig = Rig::new().bootstrap(view).start().await;
    let at = rig.listener("admin-readonly").await;
    (rig, at)
}

#[tokio::test]
async fn the_view_shows_runtime_and_statistics() {
    let (rig, view) = with_view().await;
    rig.runtime_modify(&[("canary.demo.weight", "25")]).await;
    rig.weight_in_force(250_000).await;
    let seen = async |path: &str| {
        let answer = TestClient::new(view).send(ClientRequest::get(path)).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        answer.text()
    };
    assert!(seen("/runtime").await.contains("canary.demo.weight"));
    assert!(seen("/stats?filter=weight_ppm&format=json").await.contains("250000"));
    let line = "canary_weight_ppm{rollout=\"demo\"} 250000";
    assert!(seen("/stats/prometheus?filter=wasmcustom").await.contains(line));
    assert_eq!(seen("/ready").await.trim(), "LIVE");
    let url = format!("http://{view}");
    for verb in [&["get", "rollout", "demo"][..], &["list"]] {
        let output = rig.canaryctl(&[&["--envoy", &url], verb].concat()).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!((output.status.code(), text.contains("25")), (Some(0), true), "{output:?}");
    }
}

#[tokio::test]
async fn the_view_lets_nobody_touch_anything() {
    let (rig, view) = with_view().await;
    let change = "runtime_modify?canary.demo.weight=100";
    let paths = [
        change,
        "runtime/",
        "stats/",
        "stats/../runtime_modify?canary.demo.weight=100",
        "stats/prometheus/../../quitquitquit",
        "%72untime",
        "Runtime",
        "/runtime",
        "./runtime",
        "quitquitquit",
        "healthcheck/fail",
        "logging?level=trace",
        "drain_listeners",
        "reset_counters",
        "config_dump",
        "clusters",
        "server_info",
        "certs",
        "help",
        "",
    ];
    let gets = paths.map(|path| ClientRequest::get(&format!("/{path}")));
    let others = ["POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "get"].map(|method| {
        ["/runtime", "/stats", "/ready", "/runtime_modify?canary.demo.weight=100"]
            .map(|path| ClientRequest::new(Method::from_bytes(method.as_bytes()).unwrap(), path))
    });
    let overridden =
        ClientRequest::new(Method::POST, "/runtime").header("x-http-method-override", "GET");
    let moved = ClientRequest::get("/stats").header("x-envoy-original-path", format!("/{change}"));
    let moved = moved.header("x-original-url", format!("/{change}"));
    assert_eq!(TestClient::new(view).send(moved).await.unwrap().status, 200, "that is but a read");
    for ask in gets.into_iter().chain(others.into_iter().flatten()).chain([overridden]) {
        for ask in [ask.clone(), ask.clone().http2()] {
            let sent = format!("{ask:?}");
            // By HTTP/1.1 Envoy itself refuses a method that it doesn't know.
            if let Ok(answer) = TestClient::new(view).send(ask).await {
                assert!([400, 403, 404].contains(&answer.status), "{sent}: {answer:?}");
            }
        }
    }
    let url = format!("http://{view}");
    for verb in [&["set", "weight", "demo", "100"][..], &["abort", "demo"]] {
        let output = rig.canaryctl(&[&["--envoy", &url], verb].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("403"), "{output:?}");
    }
    assert_eq!(rig.runtime_value("canary.demo.weight").await, None);
    assert_eq!(rig.runtime_value("canary.demo.enabled").await, None);
    rig.all_go_to("1.0.0").await;
}
