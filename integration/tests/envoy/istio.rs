//! An Envoy as Istio would set it up, from the manifests that the repository ships: Istio's names of
//! clusters, routes and extensions, its bootstrap, its list of the statistics that it keeps, and the
//! EnvoyFilters' patches, with real traffic.

use canary_integration::{
    Bootstrap, Carrier, ClientRequest, Load, LoadTally, Rig, Running, artifacts,
    instead_of_a_missing_module,
};
use hyper::Method;
use serde_json::{Value, json};

mod gateway;

const BOTH: [Carrier; 2] = [Carrier::WasmPlugin, Carrier::TrafficExtension];
const CANARY: &str = "outbound|8080|v2|scorer.default.svc.cluster.local";
const PATH: &str = "/v2/models/scorer/infer";

fn ask() -> ClientRequest {
    ClientRequest::get(PATH).authority("scorer.example.com")
}

async fn load(rig: &Running, requests: u64) -> LoadTally {
    rig.load(requests).concurrency(8).each(|_| ask()).await
}

async fn ctl(rig: &Running, arguments: &[&str]) -> String {
    let output = rig.canaryctl(arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

async fn shown(rig: &Running) -> Value {
    serde_json::from_str(&ctl(rig, &["get", "rollout", "scorer", "-o", "json"]).await).unwrap()
}

async fn all_go_to(rig: &Running, version: &str) {
    let probe = async || load(rig, 32).await;
    let all = |tally: &LoadTally| tally.of_version(version) == 32 && tally.with_status(200) == 32;
    rig.eventually(&format!("all requests go to {version}"), probe, all).await;
}

/// By canaryctl through the admin's runtime, and counted in spite of Istio's short list of statistics.
#[tokio::test]
async fn a_weight_splits_stamps_and_counts() {
    for carrier in BOTH {
        let rig = Rig::istio(carrier).start().await;
        assert_eq!(load(&rig, 50).await.of_version("3.1"), 50);
        ctl(&rig, &["set", "weight", "scorer", "30"]).await;
        rig.polled(3).await;
        let tally = load(&rig, 1_000).await;
        let canary = tally.of_version("3.2");
        assert!((220..=380).contains(&canary), "{tally:?}");
        assert_eq!(tally.of_version("3.1"), 1_000 - canary);
        assert_eq!(tally.with_status(200), 1_000);
        assert_eq!(rig.canary().seen(), canary, "the stamp names who answered");
        let probe = async || shown(&rig).await;
        let counted = |shown: &Value| {
            shown["canary"]["requests"] == json!(canary) && shown["canary"]["p95_ms"].is_number()
        };
        let shown = rig.eventually("every request is counted, and timed", probe, counted).await;
        assert_eq!(shown["stable"]["requests"], json!(1_050 - canary), "{shown:#}");
        let versions = (&shown["stable"]["version"], &shown["canary"]["version"]);
        assert_eq!(versions, (&json!("3.1"), &json!("3.2")));
        let upstream = &rig.canary().requests()[0];
        assert_eq!(upstream.headers["x-canary-version"], "3.2");
    }
}

#[tokio::test]
async fn one_user_stays_on_one_version() {
    let rig = Rig::istio(Carrier::WasmPlugin).start().await;
    ctl(&rig, &["set", "weight", "scorer", "50"]).await;
    rig.polled(3).await;
    for user in 0..10 {
        let by = move |_| ask().header("x-user-id", format!("user-{user}"));
        let tally = rig.load(20).concurrency(4).each(by).await;
        let (stable, canary) = (tally.of_version("3.1"), tally.of_version("3.2"));
        assert!(stable == 20 || canary == 20, "user {user}: {stable} and {canary}");
    }
}

/// The EnvoyFilter's `runtime_fraction`: with ten seconds between polls nothing else can be what holds.
#[tokio::test]
async fn after_an_abort_the_very_next_request_is_stable() {
    for carrier in BOTH {
        let slow = |config: &mut Value| config["runtime"]["interval"] = "10s".into();
        let full = |rollout: &mut Value| rollout["weight"] = 100.0.into();
        let rig = Rig::istio(carrier).config(slow).rollout(full).start().await;
        all_go_to(&rig, "3.2").await;
        ctl(&rig, &["abort", "scorer"]).await;
        let after = load(&rig, 300).await;
        assert_eq!((after.of_version("3.1"), after.with_status(200)), (300, 300), "{after:?}");
    }
}

/// Without the EnvoyFilter the filter itself is what brings everybody back, as soon as it has polled.
#[tokio::test]
async fn without_the_kill_switch_an_abort_takes_a_poll() {
    let open = |bootstrap: &mut Bootstrap| {
        let hosts = &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"];
        let route = hosts[0]["routes"][0]["match"].as_object_mut().unwrap();
        assert!(route.remove("runtime_fraction").is_some());
    };
    let rig = Rig::istio(Carrier::WasmPlugin).bootstrap(open).start().await;
    ctl(&rig, &["set", "weight", "scorer", "100"]).await;
    all_go_to(&rig, "3.2").await;
    ctl(&rig, &["abort", "scorer"]).await;
    all_go_to(&rig, "3.1").await;
}

/// Neither of the filter's headers gets past the gateway, with the filter and with what Istio puts in
/// its place, and neither opens a way to the canary or to the admin.
#[tokio::test]
async fn forged_headers_open_nothing() {
    for carrier in BOTH {
        let rig = Rig::istio(carrier).start().await;
        for alive in [true, false] {
            if !alive {
                rig.push_text(&instead_of_a_missing_module(carrier));
                let unstamped = async || rig.request(ask()).await.version().map(str::to_owned);
                rig.eventually("the filter is gone", unstamped, Option::is_none).await;
            }
            for cluster in [CANARY, "prometheus_stats", "nowhere"] {
                let forged =
                    ask().header("x-canary-route", cluster).header("X-Canary-Route", CANARY);
                for ask in [forged.clone(), forged.header("x-canary-version", "3.2").http2()] {
                    let answer = rig.request(ask).await;
                    assert_eq!((answer.status, answer.upstream()), (200, Some("3.1")), "{cluster}");
                }
            }
        }
        assert_eq!(rig.canary().seen(), 0);
        let leaked = |seen: &canary_integration::RecordedRequest| {
            seen.headers.keys().any(|name| name.as_str().starts_with("x-canary"))
        };
        assert!(!rig.stable().requests().iter().any(leaked));
    }
}

/// Shows that the test above can fail: with the EnvoyFilter's patch taken out, the header does decide.
#[tokio::test]
async fn it_is_the_envoy_filter_that_keeps_forged_headers_out() {
    let carrier = Carrier::WasmPlugin;
    let rig = Rig::istio(carrier).bootstrap(Bootstrap::without_early_removal).start().await;
    rig.push_text(&instead_of_a_missing_module(carrier));
    let forged = async || {
        rig.request(ask().header("x-canary-route", CANARY)).await.upstream().map(str::to_owned)
    };
    rig.eventually("the canary", forged, |found| found.as_deref() == Some("3.2")).await;
}

/// A module that can't be fetched is a filter that lets everything pass: all on stable, and no error.
#[tokio::test]
async fn a_missing_module_means_stable_until_it_is_there() {
    let mut rig = Rig::istio(Carrier::WasmPlugin).start().await;
    ctl(&rig, &["set", "weight", "scorer", "100"]).await;
    all_go_to(&rig, "3.2").await;
    let traffic = rig.load(Load::ENDLESS).rate(300.0).each(|_| ask()).spawn();
    rig.push_text(&instead_of_a_missing_module(Carrier::WasmPlugin));
    let on_stable = async || {
        let tally = load(&rig, 32).await;
        tally.count(|outcome| outcome.upstream.as_deref() == Some("3.1"))
    };
    rig.eventually("all on stable", on_stable, |count| *count == 32).await;
    rig.push_config(|_| {});
    all_go_to(&rig, "3.2").await;
    let tally = traffic.stop().await;
    assert_eq!(tally.with_status(200), tally.requests(), "{tally:?}");
}

/// Each change of the resource brings another version in the VM's environment, and so another VM: the
/// weight, its lease and the counters outlive it.
#[tokio::test]
async fn a_changed_resource_is_a_new_vm_and_loses_nothing() {
    let mut rig = Rig::istio(Carrier::WasmPlugin).start().await;
    ctl(&rig, &["set", "weight", "scorer", "100", "--lease", "10m"]).await;
    all_go_to(&rig, "3.2").await;
    let before = shown(&rig).await["canary"]["requests"].as_u64().unwrap();
    let traffic = rig.load(Load::ENDLESS).rate(300.0).each(|_| ask()).spawn();
    for version in ["2", "3"] {
        rig.push_plugin(|plugin| {
            let environment = &mut plugin.wasm()["vm_config"]["environment_variables"];
            environment["key_values"]["ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION"] = version.into();
            plugin.configuration()["rollouts"][0]["salt"] = format!("salt {version}").into();
        });
        let times = version.parse().unwrap();
        rig.configured(times).await;
    }
    all_go_to(&rig, "3.2").await;
    let tally = traffic.stop().await;
    assert_eq!(tally.with_status(200), tally.requests(), "{tally:?}");
    assert_eq!(tally.of_version("3.2"), tally.requests(), "never a moment on stable: {tally:?}");
    let shown = shown(&rig).await;
    assert!(shown["canary"]["requests"].as_u64().unwrap() >= before + tally.requests() / 2);
}

/// Istio drops the runtime's statistics, from which the filter sees that a large runtime is unchanged.
#[tokio::test]
async fn a_large_runtime_is_followed_though_nothing_counts_its_loads() {
    let rig = Rig::istio(Carrier::WasmPlugin).start().await;
    let loads = rig.admin().json("/stats?filter=^runtime&format=json").await;
    assert_eq!(loads["stats"].as_array().map(Vec::len), Some(0), "{loads}");
    let keys: Vec<String> = (0..800).map(|n| format!("somebody.elses.feature_{n}")).collect();
    let changes: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "100")).collect();
    rig.runtime_modify(&changes).await;
    rig.polled(3).await;
    ctl(&rig, &["set", "weight", "scorer", "100"]).await;
    all_go_to(&rig, "3.2").await;
}

/// The way of a controller in another pod: what it needs, and nothing else of the admin.
#[tokio::test]
async fn the_control_port_has_what_canaryctl_needs_and_nothing_else() {
    let rig = Rig::istio(Carrier::WasmPlugin).start().await;
    let control = rig.listener("canary-control").await;
    let envoy = format!("http://{control}");
    let set = ["set", "weight", "scorer", "100", "--envoy", &envoy];
    ctl(&rig, &set).await;
    all_go_to(&rig, "3.2").await;
    let get = ctl(&rig, &["get", "rollout", "scorer", "-o", "json", "--envoy", &envoy]).await;
    let get: Value = serde_json::from_str(&get).unwrap();
    assert_eq!(get["weight"]["in_force"].as_f64(), Some(100.0), "{get:#}");
    assert_eq!(get["envoys"][0]["url"], json!(envoy));
    ctl(&rig, &["abort", "scorer", "--envoy", &envoy]).await;
    all_go_to(&rig, "3.1").await;

    let mut client = canary_integration::TestClient::new(control);
    for (method, path, status) in [
        (Method::GET, "/runtime", 200),
        (Method::GET, "/config_dump?resource=ecds_filters", 200),
        (Method::POST, "/quitquitquit", 404),
        (Method::GET, "/config_dump", 404),
        (Method::GET, "/config_dump?resource=secrets", 404),
        (Method::GET, "/runtime_modify?canary.scorer.weight=1", 404),
        (Method::POST, "/stats", 404),
        (Method::POST, "/reset_counters", 404),
        (Method::POST, "/logging?level=trace", 404),
        (Method::GET, "/", 404),
        (Method::GET, "/stats/../quitquitquit", 404),
    ] {
        let answer = client.send(ClientRequest::new(method.clone(), path)).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
    assert_eq!(rig.get("/ready").await.status, 404, "and the clients' port has none of it");
}

/// `routes` of the EnvoyFilter: neither version's streams are cut, and an idle one ends.
#[test]
fn both_routes_have_the_same_limits() {
    let file = artifacts::root().join("envoy/istio/canary.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let manifests: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let patches = manifests
        .iter()
        .filter(|one| one["kind"] == "EnvoyFilter")
        .flat_map(|one| one["spec"]["configPatches"].as_array().unwrap());
    let idle: Vec<&Value> = patches
        .filter(|patch| patch["applyTo"] == "HTTP_ROUTE")
        .map(|patch| &patch["patch"]["value"]["route"]["idle_timeout"])
        .collect();
    assert_eq!(idle, ["300s", "300s"]);
    let service = manifests.iter().find(|one| one["kind"] == "VirtualService").unwrap();
    let routes = service["spec"]["http"].as_array().unwrap();
    assert!(routes.iter().all(|route| route["timeout"].is_null()), "Istio's default: no limit");
}

/// What Istio doesn't protect from: it has no default for an extension, so a configuration that is
/// refused *at first* answers every request with a 500. `render` refuses such a configuration.
#[tokio::test]
async fn a_first_configuration_that_is_refused_stops_the_gateway() {
    let wrong = |config: &mut Value| config["wieght"] = 5.into();
    let rig = Rig::istio(Carrier::WasmPlugin).config(wrong).dead_filter().start().await;
    assert_eq!(rig.request(ask()).await.status, 500);
    let mut rig = Rig::istio(Carrier::WasmPlugin).start().await;
    rig.push_config(wrong);
    let refused = async || rig.logs().contains("configuration refused: wieght");
    rig.eventually("it is refused", refused, |refused| *refused).await;
    assert_eq!(load(&rig, 100).await.of_version("3.1"), 100, "later, the last good one stays");
}
