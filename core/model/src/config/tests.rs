use serde_json::{Value, json};

use super::*;

fn minimal() -> Value {
    json!({"rollouts": [{
        "name": "scorer",
        "stable": {"version": "3.1", "cluster": "scorer-stable"},
        "canary": {"version": "3.2", "cluster": "scorer-canary"},
    }]})
}

fn parse(value: &Value) -> Result<Config, Vec<String>> {
    Config::parse(value.to_string().as_bytes())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// The minimal configuration with one value changed, at a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut config = minimal();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(field.to_owned(), value);
    config
}

#[test]
fn defaults() {
    let config = parse(&minimal()).unwrap();
    let rollout = &config.rollouts[0];
    assert_eq!(rollout.weight, Weight::ZERO);
    assert_eq!(rollout.salt, "scorer/3.2");
    assert_eq!(rollout.matches, Match::default());
    assert!(rollout.guard && !rollout.inherit && !rollout.propagate && !rollout.keyed());
    assert!(rollout.failure.http(500) && rollout.failure.http(599) && !rollout.failure.http(499));
    let grpc: Vec<u32> = (0..=17).filter(|code| rollout.failure.grpc(*code)).collect();
    assert_eq!(grpc, [2, 4, 13, 14, 15, 17]);
    assert_eq!(config.headers.route, "x-canary-route");
    assert_eq!(config.headers.version, "x-canary-version");
    assert_eq!(config.runtime.cluster, "envoy_admin");
    assert_eq!(config.runtime.interval, Duration::from_millis(250));
}

#[test]
fn the_whole_of_it() {
    let config = parse(&json!({
        "rollouts": [{
            "name": "scorer",
            "match": {"authorities": ["scorer.example.com"], "path_prefixes": ["/v2/models/scorer"]},
            "stable": {"version": "3.1", "cluster": "scorer-stable"},
            "canary": {"version": "3.2", "cluster": "scorer-canary"},
            "weight": 0.25,
            "salt": "s",
            "affinity": [{"header": "X-User-Id"}, {"cookie": "canary-cohort", "max_age": "12h"}],
            "override": {"header": "x-canary", "cookie": "canary",
                         "token": {"header": "x-canary-token", "value": "secret"}},
            "failure": {"http": ["5xx", "429", "410-412", 408], "grpc": ["UNAVAILABLE"]},
            "guard": {"enabled": false},
            "signals": [
                {"name": "label", "from": {"response_json": "/predictions/*/label", "max_body": "1KiB"},
                 "categories": ["cat", {"value": "a dog", "bin": "dog"}]},
                {"name": "score", "from": {"response_header": "x-model-score"}, "bins": [0.2, 0.4]},
                {"name": "checkout", "from": {"request": {"method": "POST", "path_prefix": "/orders"}},
                 "conversion": true},
            ],
            "inherit": true,
            "propagate": true,
        }],
        "headers": {"route": "X-R", "version": "x-v"},
        "runtime": {"cluster": "prometheus_stats", "interval": "1s"},
    }))
    .unwrap();
    let rollout = &config.rollouts[0];
    assert_eq!(rollout.weight.ppm(), 2_500);
    assert_eq!(rollout.affinity[0], Affinity::Header("x-user-id".into()));
    let failures: Vec<u16> = (400..=599).filter(|code| rollout.failure.http(*code)).collect();
    assert_eq!(failures[..5], [408, 410, 411, 412, 429]);
    assert!(rollout.reads_bodies() && rollout.keyed());
    assert_eq!(config.headers.route, "x-r");
}

#[test]
fn every_problem_names_its_path() {
    let rollout = "/rollouts/0";
    let cases = [
        ("/rollot", json!([]), "rollot: unknown field"),
        (&format!("{rollout}/wieght"), json!(5), "rollouts[0].wieght: unknown field"),
        (&format!("{rollout}/name"), json!("Scorer"), "rollouts[0].name: expected a name"),
        (&format!("{rollout}/name"), json!("filter"), "rollouts[0].name: expected a name"),
        (&format!("{rollout}/weight"), json!(101), "rollouts[0].weight: a weight lies between"),
        (&format!("{rollout}/weight"), json!("5"), "rollouts[0].weight: expected a percentage"),
        (&format!("{rollout}/weight"), json!(0.00001), "rollouts[0].weight: a weight is"),
        (
            &format!("{rollout}/canary"),
            json!({"version": "3.2"}),
            "rollouts[0].canary.cluster: required",
        ),
        (
            &format!("{rollout}/canary/version"),
            json!("3.1"),
            "rollouts[0].canary.version: is stable's",
        ),
        (
            &format!("{rollout}/canary/cluster"),
            json!("scorer-stable"),
            "rollouts[0].canary.cluster: is stable's",
        ),
        (
            &format!("{rollout}/canary/version"),
            json!("a b"),
            "rollouts[0].canary.version: expected a version",
        ),
        (
            &format!("{rollout}/match"),
            json!({"authorities": []}),
            "rollouts[0].match.authorities: an empty list",
        ),
        (
            &format!("{rollout}/match"),
            json!({"path_prefixes": ["x"]}),
            "rollouts[0].match.path_prefixes[0]: expected a path",
        ),
        (
            &format!("{rollout}/affinity"),
            json!([{"header": "a", "cookie": "b"}]),
            "rollouts[0].affinity[0]: exactly one",
        ),
        (
            &format!("{rollout}/affinity"),
            json!([{"cookie": "b", "max_age": "1"}]),
            "rollouts[0].affinity[0].max_age: expected a duration",
        ),
        (&format!("{rollout}/override"), json!({}), "rollouts[0].override: a header, a cookie"),
        (
            &format!("{rollout}/failure"),
            json!({"http": ["6xx"]}),
            "rollouts[0].failure.http[0]: expected a class",
        ),
        (
            &format!("{rollout}/failure"),
            json!({"grpc": ["OK"]}),
            "rollouts[0].failure.grpc[0]: expected a gRPC",
        ),
        (&format!("{rollout}/guard"), json!(true), "rollouts[0].guard: expected an object"),
        (
            &format!("{rollout}/signals"),
            json!([{"name": "a", "from": {"response_header": "h"}}]),
            "rollouts[0].signals[0]: exactly one of categories",
        ),
        (
            &format!("{rollout}/signals"),
            json!([{"name": "a", "from": {"response_header": "h"}, "bins": [1, 1]}]),
            "rollouts[0].signals[0].bins[1]: bin limits must rise",
        ),
        (
            &format!("{rollout}/signals"),
            json!([{"name": "a", "from": {"response_header": "h"}, "categories": ["other"]}]),
            "rollouts[0].signals[0].categories[0]: expected 1 to 63",
        ),
        ("/headers", json!({"route": "x-canary-version"}), "headers: route and version"),
        ("/runtime", json!({"interval": "1ms"}), "runtime.interval: expected a duration from 10ms"),
        ("/rollouts", json!({}), "rollouts: expected a list, found an object"),
    ];
    for (pointer, value, expected) in cases {
        let problems = parse(&with(pointer, value)).unwrap_err();
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{problems:?}");
    }
}

#[test]
fn all_problems_at_once() {
    let mut config = with("/rollouts/0/weight", json!(-1));
    config["runtime"] = json!({"interval": 5});
    config["rollouts"].as_array_mut().unwrap().push(json!({"name": "b"}));
    assert_eq!(parse(&config).unwrap_err().len(), 4, "{:?}", parse(&config));
}

#[test]
fn limits() {
    let rollout = |index: usize| {
        let mut rollout = minimal()["rollouts"][0].clone();
        rollout["name"] = json!(format!("r{index}"));
        rollout
    };
    let many = |count| json!({"rollouts": (0..count).map(rollout).collect::<Vec<_>>()});
    assert_eq!(parse(&many(32)).unwrap().rollouts.len(), 32);
    assert!(parse(&many(33)).unwrap_err()[0].starts_with("rollouts: at most 32"));
    let twice = json!({"rollouts": [rollout(1), rollout(1)]});
    assert_eq!(parse(&twice).unwrap_err(), ["rollouts[1].name: rollout `r1` stands here twice"]);
    assert!(parse(&json!({"rollouts": []})).unwrap().rollouts.is_empty());
}

#[test]
fn what_is_no_json() {
    let problems = Config::parse(b"{\"rollouts\": [").unwrap_err();
    assert!(problems[0].message.starts_with("not valid JSON"), "{problems:?}");
}
