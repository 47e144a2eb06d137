use serde_json::{Value, json};

use super::*;

fn asked() -> Asked {
    let pair = |first: &str, second: &str| (first.to_owned(), second.to_owned());
    Asked {
        gateway: pair("edge", "public"),
        selector: vec![pair("istio", "edge")],
        images: Images {
            wasm: None,
            sha256: None,
            canaryctl: "canaryctl:1".to_owned(),
            stable: "scorer:v1".to_owned(),
            canary: "scorer:v2".to_owned(),
        },
        extension: Extension::WasmPlugin,
        controller: Where::Pods,
    }
}

fn filter() -> Value {
    filter_of("scorer", "scorer.models.svc.cluster.local", 80, ["v1", "v2"])
}

fn rendered(filter: Value, asked: Asked) -> Vec<Value> {
    let istio = read("scorer", "rollout: scorer\n".to_owned(), filter, asked).unwrap();
    istio.sections().into_iter().flat_map(|section| section.documents).collect()
}

fn of<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == name;
    documents.iter().find(is).unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn the_route_and_the_subset_are_those_that_the_filter_names() {
    let documents = rendered(filter(), asked());
    let service = of(&documents, "VirtualService", "scorer");
    let routes = &service["spec"]["http"];
    let header = "outbound|80|v2|scorer.models.svc.cluster.local";
    assert_eq!(routes[0]["match"], json!([{"headers": {"x-canary-route": {"exact": header}}}]));
    assert_eq!(routes[0]["route"][0]["destination"]["subset"], "v2");
    assert_eq!(routes[1]["route"][0]["destination"]["subset"], "v1");
    assert!(routes[1]["match"].is_null(), "stable is the default");
    assert_eq!(service["spec"]["hosts"], json!(["*"]));
    assert_eq!(service["metadata"]["namespace"], "models");
    let rule = of(&documents, "DestinationRule", "scorer");
    assert_eq!(rule["spec"]["subsets"][1], json!({"name": "v2", "labels": {"version": "v2"}}));
    let plugin = of(&documents, "WasmPlugin", "canary");
    assert_eq!(plugin["spec"]["pluginConfig"], filter());
    assert_eq!(plugin["metadata"]["namespace"], "edge");
}

#[test]
fn what_a_rollout_matches_the_routes_match() {
    let mut filter = filter();
    filter["rollouts"][0]["match"] =
        json!({"authorities": ["a.example.com", "*.b.example.com"], "path_prefixes": ["/x", "/y"]});
    filter["headers"] = json!({"route": "x-to"});
    let documents = rendered(filter, asked());
    let service = of(&documents, "VirtualService", "scorer");
    assert_eq!(service["spec"]["hosts"], json!(["a.example.com", "*.b.example.com"]));
    let matches = |route: usize| service["spec"]["http"][route]["match"].as_array().unwrap();
    assert_eq!((matches(0).len(), matches(1).len()), (2, 2));
    assert_eq!(matches(0)[1]["uri"], json!({"prefix": "/y"}));
    assert!(matches(0)[1]["headers"]["x-to"]["exact"].is_string());
    assert_eq!(matches(1)[0], json!({"uri": {"prefix": "/x"}}));
}

/// Without a signal out of bodies the module without body hooks is the one to load.
#[test]
fn the_module_fits_the_configuration() {
    let url = |filter| {
        let documents = rendered(filter, asked());
        of(&documents, "WasmPlugin", "canary")["spec"]["url"].as_str().unwrap().to_owned()
    };
    assert!(url(filter()).contains("/canary-filter-headers:"));
    let mut reading = filter();
    reading["rollouts"][0]["signals"] =
        json!([{"name": "label", "from": {"response_json": "/0"}, "categories": ["cat"]}]);
    assert!(url(reading).contains("/canary-filter:"));
}

#[test]
fn the_filter_stands_there_once() {
    let kinds = |extension| {
        let documents = rendered(filter(), Asked { extension, ..asked() });
        let kinds = documents.iter().map(|one| one["kind"].as_str().unwrap().to_owned());
        kinds.filter(|kind| kind == "WasmPlugin" || kind == "TrafficExtension").collect::<Vec<_>>()
    };
    assert_eq!(kinds(Extension::WasmPlugin), ["WasmPlugin"]);
    assert_eq!(kinds(Extension::TrafficExtension), ["TrafficExtension"]);
}

/// Beside the gateway nothing is opened to the network.
#[test]
fn only_a_controller_in_another_pod_gets_a_listener() {
    let beside = rendered(filter(), Asked { controller: Where::Sidecar, ..asked() });
    let listeners = |documents: &[Value]| {
        json!(documents).to_string().matches("\"applyTo\":\"LISTENER\"").count()
    };
    assert_eq!((listeners(&rendered(filter(), asked())), listeners(&beside)), (1, 0));
    let gateway = of(&beside, "Deployment", "public");
    let args = &gateway["spec"]["template"]["spec"]["containers"][1]["args"];
    assert!(args.as_array().unwrap().contains(&json!("http://127.0.0.1:15000")), "{args}");
}

/// An inner hop needs the version header that the front sent.
#[test]
fn a_rollout_that_inherits_keeps_its_header() {
    let mutations = |filter| {
        let documents = rendered(filter, asked());
        let patch = &of(&documents, "EnvoyFilter", "canary")["spec"]["configPatches"][0]["patch"];
        let early = &patch["value"]["typed_config"]["early_header_mutation_extensions"][0];
        early["typed_config"]["mutations"].as_array().unwrap().len()
    };
    let mut inheriting = filter();
    inheriting["rollouts"][0]["inherit"] = json!(true);
    assert_eq!((mutations(filter()), mutations(inheriting)), (2, 1));
}

#[test]
fn a_name_that_kubernetes_does_not_take_is_made_one() {
    let filter = filter_of("a_b-", "a.models.svc.cluster.local", 80, ["v1", "v2"]);
    let istio = read("a_b-", String::new(), filter, asked()).unwrap();
    assert_eq!(istio.object(), "a-b");
    let documents: Vec<Value> =
        istio.sections().into_iter().flat_map(|one| one.documents).collect();
    let switch = of(&documents, "EnvoyFilter", "canary-a-b").to_string();
    assert!(switch.contains("canary.a_b-.enabled"), "the runtime key keeps the rollout's name");
}

#[test]
fn what_is_wrong_is_told_with_its_path() {
    let wrong = |change: fn(&mut Value)| {
        let mut filter = filter();
        change(&mut filter);
        match read("scorer", String::new(), filter, asked()).unwrap_err() {
            RenderError::Filter(problems) => {
                problems.into_iter().map(|one| one.path).collect::<Vec<_>>()
            }
            RenderError::Arguments(what) => panic!("{what}"),
        }
    };
    assert_eq!(wrong(|filter| filter["runtime"] = json!({})), ["runtime.cluster"]);
    assert_eq!(wrong(|filter| filter["rollouts"][0]["name"] = json!("other")), ["rollouts"]);
    assert_eq!(
        wrong(|filter| filter["rollouts"][0]["stable"]["cluster"] = json!("scorer-stable")),
        ["rollouts[0].stable.cluster"]
    );
    let elsewhere = |filter: &mut Value| {
        filter["rollouts"][0]["canary"]["cluster"] =
            json!("outbound|81|v2|scorer.models.svc.cluster.local");
    };
    assert_eq!(wrong(elsewhere), ["rollouts[0].canary.cluster"]);
    assert_eq!(
        wrong(|filter| filter["rollouts"][0]["canary"]["version"] = json!("2.")),
        ["rollouts[0].canary.version"]
    );
    assert_eq!(wrong(|filter| filter["rollout"] = json!([])), ["rollout"]);
}

#[test]
fn arguments_are_checked() {
    let wrong = |change: fn(&mut Asked)| {
        let mut asked = asked();
        change(&mut asked);
        let faulty = read("scorer", String::new(), filter(), asked).unwrap_err();
        assert!(matches!(&faulty, RenderError::Arguments(_)), "{faulty:?}");
    };
    wrong(|asked| asked.gateway.1 = "Public".to_owned());
    wrong(|asked| asked.selector[0].1 = "a b".to_owned());
    wrong(|asked| asked.images.wasm = Some("registry.example.com/filter".to_owned()));
    wrong(|asked| asked.images.sha256 = Some("sha256:00".to_owned()));
}
