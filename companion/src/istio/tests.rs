use canary_model::document::ConfigError;
use serde_json::{Value, json};

use super::*;

fn options() -> Options {
    let pair = |first: &str, second: &str| (first.to_owned(), second.to_owned());
    Options {
        gateway: pair("edge", "public"),
        selector: vec![pair("istio", "edge")],
        images: Images {
            wasm: None,
            sha256: None,
            canaryctl: "canaryctl:1".to_owned(),
            stable: Some("scorer:v1".to_owned()),
            canary: Some("scorer:v2".to_owned()),
        },
        extension: Extension::WasmPlugin,
        controller: ControllerLocation::Pods,
    }
}

fn filter() -> Value {
    minimal_filter("scorer", "scorer.models.svc.cluster.local", 80, ["v1", "v2"])
}

fn files(rollouts: &[&str]) -> Vec<RolloutText> {
    let file = |name: &&str| RolloutText {
        rollout: (*name).to_owned(),
        text: format!("rollout: {name}\n"),
    };
    rollouts.iter().map(file).collect()
}

fn documents(istio: &Istio) -> Vec<Value> {
    istio.sections().into_iter().flat_map(|section| section.documents).collect()
}

fn rendered(filter: Value, options: Options) -> Vec<Value> {
    documents(&read(files(&["scorer"]), filter, options).unwrap())
}

fn of<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == name;
    documents.iter().find(is).unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn the_route_and_the_subset_are_those_that_the_filter_names() {
    let documents = rendered(filter(), options());
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
fn the_routes_match_what_the_rollout_matches() {
    let mut filter = filter();
    filter["rollouts"][0]["match"] =
        json!({"authorities": ["a.example.com", "*.b.example.com"], "path_prefixes": ["/x", "/y"]});
    filter["headers"] = json!({"route": "x-to"});
    let documents = rendered(filter, options());
    let service = of(&documents, "VirtualService", "scorer");
    assert_eq!(service["spec"]["hosts"], json!(["a.example.com", "*.b.example.com"]));
    let matches = |route: usize| service["spec"]["http"][route]["match"].as_array().unwrap();
    assert_eq!((matches(0).len(), matches(1).len()), (2, 2));
    assert_eq!(matches(0)[1]["uri"], json!({"prefix": "/y"}));
    assert!(matches(0)[1]["headers"]["x-to"]["exact"].is_string());
    assert_eq!(matches(1)[0], json!({"uri": {"prefix": "/x"}}));
}

/// The canary's route goes by the filter's header alone, because the filter has checked the others.
#[test]
fn stables_route_repeats_the_conditions_for_headers() {
    let mut filter = filter();
    filter["rollouts"][0]["match"] = json!({"path_prefixes": ["/x"], "headers": [
        {"name": "X-Model", "values": ["a.b|c", "d-1"]},
        {"name": "x-one", "values": ["a.b"]},
        {"name": "x-two", "prefix": "b."},
        {"name": "x-three", "present": true},
    ]});
    let documents = rendered(filter.clone(), options());
    let routes = &of(&documents, "VirtualService", "scorer")["spec"]["http"];
    let canary =
        json!({"x-canary-route": {"exact": "outbound|80|v2|scorer.models.svc.cluster.local"}});
    assert_eq!(routes[0]["match"], json!([{"uri": {"prefix": "/x"}, "headers": canary}]));
    let headers = json!({
        "x-model": {"regex": "a\\.b\\|c|d-1"},
        "x-one": {"exact": "a.b"},
        "x-two": {"prefix": "b."},
        "x-three": {"regex": ".*"},
    });
    assert_eq!(routes[1]["match"], json!([{"uri": {"prefix": "/x"}, "headers": headers}]));
    filter["rollouts"][0]["match"].as_object_mut().unwrap().remove("path_prefixes");
    let documents = rendered(filter.clone(), options());
    let routes = &of(&documents, "VirtualService", "scorer")["spec"]["http"];
    assert_eq!(routes[1]["match"], json!([{"headers": headers}]));
    let twice = json!([{"name": "a", "prefix": "x"}, {"name": "a", "present": true}]);
    filter["rollouts"][0]["match"]["headers"] = twice;
    let error = read(files(&["scorer"]), filter, options()).unwrap_err();
    assert_eq!(paths(error), ["rollouts[0].match.headers[1]"]);
}

/// Istio can't load a filter so that it may hold requests, and then every request with a body hangs.
#[test]
fn what_holds_requests_is_refused_with_the_reason() {
    let mut filter = filter();
    filter["rollouts"][0]["match"] =
        json!({"request_json": {"pointer": "/model", "values": ["a"]}});
    filter["rollouts"][0]["affinity"] = json!([{"header": "u"}, {"request_json": "/user"}]);
    for extension in [Extension::WasmPlugin, Extension::TrafficExtension] {
        let options = Options { extension, ..options() };
        let error = read(files(&["scorer"]), filter.clone(), options).unwrap_err();
        let RenderError::Filter(problems) = error else { panic!("{error:?}") };
        let why = |one: &ConfigError| one.message.contains("allow_on_headers_stop_iteration");
        assert!(problems.iter().all(why), "{problems:?}");
        let paths: Vec<&str> = problems.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(
            paths,
            ["rollouts[0].match.request_json", "rollouts[0].affinity[1].request_json"]
        );
    }
}

/// Without a signal out of bodies the module without body hooks is the one to load.
#[test]
fn the_module_fits_the_configuration() {
    let url = |filter| {
        let documents = rendered(filter, options());
        of(&documents, "WasmPlugin", "canary")["spec"]["url"].as_str().unwrap().to_owned()
    };
    assert!(url(filter()).contains("/canary-filter-headers:"));
    let mut reading = filter();
    reading["rollouts"][0]["signals"] =
        json!([{"name": "label", "from": {"response_json": "/0"}, "categories": ["cat"]}]);
    assert!(url(reading).contains("/canary-filter:"));
}

#[test]
fn one_resource_carries_the_filter() {
    let kinds = |extension| {
        let documents = rendered(filter(), Options { extension, ..options() });
        let kinds = documents.iter().map(|one| one["kind"].as_str().unwrap().to_owned());
        kinds.filter(|kind| kind == "WasmPlugin" || kind == "TrafficExtension").collect::<Vec<_>>()
    };
    assert_eq!(kinds(Extension::WasmPlugin), ["WasmPlugin"]);
    assert_eq!(kinds(Extension::TrafficExtension), ["TrafficExtension"]);
}

/// Beside the gateway nothing is opened to the network.
#[test]
fn only_a_controller_in_another_pod_gets_a_listener() {
    let beside =
        rendered(filter(), Options { controller: ControllerLocation::Sidecar, ..options() });
    let listeners = |documents: &[Value]| {
        json!(documents).to_string().matches("\"applyTo\":\"LISTENER\"").count()
    };
    assert_eq!((listeners(&rendered(filter(), options())), listeners(&beside)), (1, 0));
    let gateway = of(&beside, "Deployment", "public");
    let args = &gateway["spec"]["template"]["spec"]["containers"][1]["args"];
    assert!(args.as_array().unwrap().contains(&json!("http://127.0.0.1:15000")), "{args}");
}

/// An inner hop needs the version header that the front sent.
#[test]
fn a_rollout_that_inherits_keeps_its_header() {
    let mutations = |filter| {
        let documents = rendered(filter, options());
        let patch = &of(&documents, "EnvoyFilter", "canary")["spec"]["configPatches"][0]["patch"];
        let early = &patch["value"]["typed_config"]["early_header_mutation_extensions"][0];
        early["typed_config"]["mutations"].as_array().unwrap().len()
    };
    let mut inheriting = filter();
    inheriting["rollouts"][0]["inherit"] = json!(true);
    assert_eq!((mutations(filter()), mutations(inheriting)), (2, 1));
}

/// `a_b` and `a-b` are two rollouts, so each has its own objects and its own kill switch.
#[test]
fn similar_names_have_objects_of_their_own() {
    let mut filter = minimal_filter("a_b", "one.models.svc.cluster.local", 80, ["v1", "v2"]);
    let other = minimal_filter("a-b", "two.models.svc.cluster.local", 80, ["v1", "v2"]);
    filter["rollouts"].as_array_mut().unwrap().push(other["rollouts"][0].clone());
    for (at, host) in ["one.example.com", "two.example.com"].into_iter().enumerate() {
        filter["rollouts"][at]["match"] = json!({"authorities": [host]});
    }
    let mut options = options();
    (options.images.stable, options.images.canary) = (None, None);
    let documents = documents(&read(files(&["a-b", "a_b"]), filter, options).unwrap());
    let mut names: Vec<String> = documents
        .iter()
        .map(|one| {
            format!("{}/{}/{}", one["kind"], one["metadata"]["namespace"], one["metadata"]["name"])
        })
        .collect();
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "{names:#?}");
    let switches: Vec<(String, String)> = documents
        .iter()
        .filter(|one| one["kind"] == "EnvoyFilter" && one["metadata"]["name"] != "canary")
        .map(|one| {
            let patch = &one["spec"]["configPatches"][0];
            let route = &patch["match"]["routeConfiguration"]["vhost"]["route"]["name"];
            let key = &patch["patch"]["value"]["match"]["runtime_fraction"]["runtime_key"];
            (route.as_str().unwrap().to_owned(), key.as_str().unwrap().to_owned())
        })
        .collect();
    let keys: Vec<&str> = switches.iter().map(|(_, key)| key.as_str()).collect();
    assert_eq!(keys, ["canary.a_b.enabled", "canary.a-b.enabled"]);
    assert_ne!(switches[0].0, switches[1].0);
    for (at, version) in ["a_b", "a-b"].into_iter().enumerate() {
        let host = of_kind(&documents, "VirtualService")[at];
        assert_eq!(host["spec"]["http"][0]["name"], json!(switches[at].0), "{version}");
    }
}

/// One plugin for all; the routes in the filter's order, whatever the order of the files.
#[test]
fn rollouts_of_one_gateway_share_one_plugin() {
    let (filter, names) = two_rollouts();
    let istio = read(files(&[names[1], names[0]]), filter.clone(), without_images()).unwrap();
    let documents = documents(&istio);
    let plugins = of_kind(&documents, "WasmPlugin");
    assert_eq!(plugins.len(), 1);
    assert_eq!(plugins[0]["spec"]["pluginConfig"], filter);
    assert_eq!(of_kind(&documents, "NetworkPolicy").len(), 1);
    for kind in ["ConfigMap", "PersistentVolumeClaim"] {
        assert_eq!(of_kind(&documents, kind).len(), 1, "one folder of files, one of journals");
    }
    let data = &of(&documents, "ConfigMap", "canaryctl-rollouts")["data"];
    let files = json!({"cart.yaml": "rollout: cart\n", "search.yaml": "rollout: search\n"});
    assert_eq!(data, &files);
    let services = of_kind(&documents, "VirtualService");
    let hosts: Vec<&Value> = services.iter().map(|one| &one["spec"]["hosts"]).collect();
    assert_eq!(hosts, [&json!(["shop.example.com"]), &json!(["*.example.com"])]);
    let routes = |service: &Value| {
        let routes = service["spec"]["http"].as_array().unwrap().iter();
        routes.map(|route| route["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (cart, search) = (["canary-cart", "stable-cart"], ["canary-search", "stable-search"]);
    assert_eq!(routes(services[0]), [cart, search].concat(), "both rollouts cover this host");
    assert_eq!(routes(services[1]), search);
}

/// One controller serves the folder of all rollout files, wherever it runs.
#[test]
fn one_controller_serves_all_rollouts() {
    for (location, name, envoy) in [
        (ControllerLocation::Pods, "canaryctl", "http://canary-control.edge.svc:19901"),
        (ControllerLocation::Sidecar, "public", "http://127.0.0.1:15000"),
    ] {
        let (filter, names) = two_rollouts();
        let options = Options { controller: location, ..without_images() };
        let documents = documents(&read(files(&names), filter, options).unwrap());
        let pod = &of(&documents, "Deployment", name)["spec"]["template"]["spec"];
        let containers = pod["containers"].as_array().unwrap();
        let controllers: Vec<_> =
            containers.iter().filter(|one| one["name"] == "canaryctl").collect();
        assert_eq!(controllers.len(), 1, "{location:?}");
        let args = ["serve", "/etc/canaryctl/rollouts", "--state", "/var/lib/canaryctl"];
        let args = [&args[..], &["--envoy", envoy]].concat();
        assert_eq!(controllers[0]["args"], json!(args));
        // What is mounted is what the arguments name, and each volume exists.
        let volume = |at: usize, kind: &str, field: &str| pod["volumes"][at][kind][field].clone();
        let mounts = controllers[0]["volumeMounts"].as_array().unwrap();
        let mounted: Vec<_> = mounts.iter().map(|one| (&one["name"], &one["mountPath"])).collect();
        let named = [json!("rollouts"), json!("journals")];
        assert_eq!(mounted, [(&named[0], &json!(args[1])), (&named[1], &json!(args[3]))]);
        assert_eq!(named, [pod["volumes"][0]["name"].clone(), pod["volumes"][1]["name"].clone()]);
        assert!(mounts.iter().all(|mount| mount.get("subPath").is_none()));
        of(&documents, "ConfigMap", volume(0, "configMap", "name").as_str().unwrap());
        let claim = volume(1, "persistentVolumeClaim", "claimName");
        of(&documents, "PersistentVolumeClaim", claim.as_str().unwrap());
    }
}

/// Two rollouts of one service, on different paths: its Service, rule and Deployments appear once.
#[test]
fn rollouts_of_one_service_share_its_objects() {
    let (mut filter, names) = two_rollouts();
    filter["rollouts"][1]["stable"] = filter["rollouts"][0]["stable"].clone();
    filter["rollouts"][1]["canary"] =
        json!({"version": "v3", "cluster": "outbound|80|v3|cart.models.svc.cluster.local"});
    let documents = documents(&read(files(&names), filter, without_images()).unwrap());
    let rule = of_kind(&documents, "DestinationRule");
    let subsets = rule[0]["spec"]["subsets"].as_array().unwrap();
    assert_eq!((rule.len(), subsets.len()), (1, 3), "{subsets:?}");
    for version in ["v1", "v2", "v3"] {
        of(&documents, "Deployment", &format!("cart-{version}"));
    }
}

#[test]
fn a_subset_of_two_versions_is_refused() {
    let (mut filter, names) = two_rollouts();
    let cart = |subset: &str| format!("outbound|80|{subset}|cart.models.svc.cluster.local");
    filter["rollouts"][1]["stable"] = json!({"version": "v1", "cluster": cart("v1")});
    filter["rollouts"][1]["canary"] = json!({"version": "v9", "cluster": cart("v2")});
    let error = read(files(&names), filter, without_images()).unwrap_err();
    assert_eq!(paths(error), ["rollouts[1].canary.version"]);
}

#[test]
fn hosts_that_istio_refuses_are_refused_with_their_path() {
    let wrong = |authorities: Value| {
        let mut filter = filter();
        filter["rollouts"][0]["match"] = json!({"authorities": authorities});
        paths(read(files(&["scorer"]), filter, options()).unwrap_err())
    };
    let at = |index: usize| format!("rollouts[0].match.authorities[{index}]");
    for host in ["[::1]", "_x.example.com", "*._x.example.com", "localhost"] {
        assert_eq!(wrong(json!(["a.example.com", host])), [at(1)], "{host}");
    }
    assert_eq!(wrong(json!(["*.example.com", "a.example.com"])), [at(1)], "overlapping");
    assert_eq!(wrong(json!(["a.example.com", "b.example.com", "*.example.com"])), [at(2)]);
}

/// Two equal hosts, whether the configuration's own reader refuses them or `render` does.
#[test]
fn a_host_given_twice_is_refused() {
    let mut filter = filter();
    filter["rollouts"][0]["match"] = json!({"authorities": ["a.example.com", "A.example.com"]});
    let error = read(files(&["scorer"]), filter, options()).unwrap_err();
    assert_eq!(paths(error), ["rollouts[0].match.authorities[1]"]);
}

#[test]
fn a_module_without_body_hooks_is_refused_where_a_signal_needs_them() {
    let mut filter = filter();
    filter["rollouts"][0]["signals"] = json!([
        {"name": "score", "from": {"response_header": "x-score"}, "bins": [0.5]},
        {"name": "label", "from": {"response_json": "/0"}, "categories": ["cat"]},
    ]);
    let with = |url: &str| {
        let mut options = options();
        options.images.wasm = Some(url.to_owned());
        read(files(&["scorer"]), filter.clone(), options)
    };
    for url in [
        "oci://registry.example.com/canary-filter-headers:1",
        "file:///opt/canary_filter_headers.wasm",
        "oci://registry.example.com/canary-filter-headers-compat:1",
    ] {
        let error = with(url).unwrap_err();
        assert_eq!(paths(error), ["rollouts[0].signals[1].from.response_json"], "{url}");
    }
    assert!(with("oci://headers.example.com/canary-filter:1").is_ok());
}

#[test]
fn a_problem_is_reported_with_its_path() {
    let wrong = |change: fn(&mut Value)| {
        let mut filter = filter();
        change(&mut filter);
        paths(read(files(&["scorer"]), filter, options()).unwrap_err())
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
    let wrong = |change: fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        let error = read(files(&["scorer"]), filter(), options).unwrap_err();
        assert!(matches!(&error, RenderError::Arguments(_)), "{error:?}");
    };
    wrong(|options| options.gateway.1 = "Public".to_owned());
    wrong(|options| options.selector[0].1 = "a b".to_owned());
    wrong(|options| options.images.wasm = Some("registry.example.com/filter".to_owned()));
    wrong(|options| options.images.sha256 = Some("sha256:00".to_owned()));
    let error = read(files(&["scorer", "scorer"]), filter(), options()).unwrap_err();
    assert!(matches!(error, RenderError::Arguments(_)), "one file for each rollout");
    let (filter, names) = two_rollouts();
    let error = read(files(&names), filter, options()).unwrap_err();
    assert!(matches!(error, RenderError::Arguments(_)), "whose image would it be?");
}

/// The rollouts `cart` and `search`, of two services, whose hosts overlap.
fn two_rollouts() -> (Value, [&'static str; 2]) {
    let names = ["cart", "search"];
    let [mut filter, search] = names.map(|name| {
        minimal_filter(name, &format!("{name}.models.svc.cluster.local"), 80, ["v1", "v2"])
    });
    filter["rollouts"].as_array_mut().unwrap().push(search["rollouts"][0].clone());
    filter["rollouts"][0]["match"] =
        json!({"authorities": ["shop.example.com"], "path_prefixes": ["/cart"]});
    filter["rollouts"][1]["match"] = json!({"authorities": ["*.example.com"]});
    (filter, names)
}

fn without_images() -> Options {
    let mut options = options();
    (options.images.stable, options.images.canary) = (None, None);
    options
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|one| one["kind"] == kind).collect()
}

/// Where a configuration is wrong.
fn paths(error: RenderError) -> Vec<String> {
    match error {
        RenderError::Filter(problems) => problems.into_iter().map(|one| one.path).collect(),
        RenderError::Arguments(what) => panic!("{what}"),
    }
}
