//! What a rollout takes (`match`) and how a client is recognized (`affinity`).

use super::*;
use crate::matching::{HeaderCondition, HeaderMatch, JsonMatch};
use crate::pointer::Pointer;

/// The rollout of the minimal configuration with one field set.
fn rollout(field: &str, value: Value) -> Rollout {
    parse(&with(&format!("/rollouts/0/{field}"), value)).unwrap().rollouts.remove(0)
}

/// What is wrong with these values of one field, one problem each.
fn refused(field: &str, cases: &[(Value, &str)]) {
    for (value, expected) in cases {
        let found = parse(&with(&format!("/rollouts/0/{field}"), value.clone())).unwrap_err();
        let expected = format!("rollouts[0].{expected}");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{value} {found:?}");
    }
}

#[test]
fn a_match_by_header_and_by_a_value_in_the_body() {
    let read = rollout(
        "match",
        json!({
            "headers": [
                {"name": "X-Model", "values": ["a", "b c"]},
                {"name": "authorization", "prefix": "Bearer "},
                {"name": "x-trial", "present": true},
            ],
            "request_json": {"pointer": "/model", "values": ["scorer", "1", ""]},
        }),
    );
    let header = |name: &str, value| HeaderMatch { name: name.to_owned(), value };
    assert_eq!(
        read.matches.headers,
        [
            header("x-model", HeaderCondition::OneOf(vec!["a".to_owned(), "b c".to_owned()])),
            header("authorization", HeaderCondition::Prefix("Bearer ".to_owned())),
            header("x-trial", HeaderCondition::Present),
        ]
    );
    let pointer = Pointer::parse("/model").unwrap();
    let values = ["scorer", "1", ""].map(str::to_owned).to_vec();
    let body =
        |max_body| Some(JsonMatch { pointer: pointer.clone(), values: values.clone(), max_body });
    assert_eq!(read.matches.request_json, body(65_536));
    assert_eq!(read.body_fields(), ["match.request_json"]);
    for (text, size) in [("512KiB", 524_288), ("1B", 1), ("100", 100)] {
        let json = json!({"pointer": "/model", "values": ["scorer", "1", ""], "max_body": text});
        let read = rollout("match", json!({"request_json": json}));
        assert_eq!(read.matches.request_json, body(size));
        assert_eq!(read.key_max_body(), size, "the same limit for a key");
    }
    assert_eq!(rollout("weight", json!(1)).key_max_body(), 65_536);
}

#[test]
fn what_is_wrong_with_a_match_names_its_path() {
    let headers = |condition: Value| json!({"headers": [condition]});
    let json = |json: Value| json!({"request_json": json});
    let many: Vec<String> = (0..65).map(|value| value.to_string()).collect();
    refused(
        "match",
        &[
            (json!({"headers": []}), "match.headers: an empty list"),
            (headers(json!({"values": ["a"]})), "match.headers[0].name: required"),
            (headers(json!({"name": "a"})), "match.headers[0]: expected exactly one of `values`"),
            (
                headers(json!({"name": "a", "prefix": "a", "present": true})),
                "match.headers[0]: expected exactly one of `values`",
            ),
            (
                headers(json!({"name": "a", "present": false})),
                "match.headers[0].present: expected true",
            ),
            (
                headers(json!({"name": "a", "values": []})),
                "match.headers[0].values: expected at least one value",
            ),
            (
                headers(json!({"name": "a", "values": many})),
                "match.headers[0].values: at most 64 entries, found 65",
            ),
            (
                headers(json!({"name": "a", "values": [" a"]})),
                "match.headers[0].values[0]: expected a header's value",
            ),
            (headers(json!({"name": "a", "prefix": " "})), "match.headers[0].prefix: expected the"),
            (
                headers(json!({"name": ":path", "present": true})),
                "match.headers[0].name: `:path` is a pseudo-header; use `match.path_prefixes`",
            ),
            (
                headers(json!({"name": ":method", "values": ["GET"]})),
                "match.headers[0].name: `:method` is a pseudo-header, and a rollout",
            ),
            (
                headers(json!({"name": "Host", "values": ["a"]})),
                "match.headers[0].name: Envoy shows its filters no `host` header",
            ),
            (
                headers(json!({"name": "X-Canary-Route", "present": true})),
                "match.headers[0].name: headers.route has this name",
            ),
            (json(json!({"values": ["a"]})), "match.request_json.pointer: required"),
            (json(json!({"pointer": "/a"})), "match.request_json.values: required"),
            (
                json(json!({"pointer": "/a/*", "values": ["a"]})),
                "match.request_json.pointer: expected a JSON pointer (RFC 6901) without *",
            ),
            (
                json(json!({"pointer": "/a", "values": [1]})),
                "match.request_json.values[0]: expected a text of at most 256 bytes (numbers",
            ),
            (
                json(json!({"pointer": "/a", "values": []})),
                "match.request_json.values: expected at least one value",
            ),
            (
                json(json!({"pointer": "/a", "values": ["a"], "max_body": "513KiB"})),
                "match.request_json.max_body: expected a size of 1B to 512KiB",
            ),
        ],
    );
    let mut tokens = with(
        "/rollouts/0/override",
        json!({"header": "o", "token": {"header": "x-t", "value": "s"}}),
    );
    tokens["rollouts"][0]["match"] = json!({"headers": [{"name": "X-T", "present": true}]});
    let found = parse(&tokens).unwrap_err();
    assert!(found[0].starts_with("rollouts[0].match.headers[0].name: rollouts[0].override.token"));
}

#[test]
fn every_source_of_a_key() {
    let read = rollout(
        "affinity",
        json!([
            {"header": "X-User"},
            {"query": "user id"},
            {"request_json": "/user"},
            {"source_address": true},
            {"cookie": "c", "max_age": "7d", "same_site": "None", "domain": "Example.com", "path": "/a b"},
            {"cookie": "d"},
        ]),
    );
    let cookie = |name: &str, days: u64, same_site, domain: Option<&str>, path: &str| {
        Affinity::Cookie(CohortCookie {
            name: name.to_owned(),
            max_age: Duration::from_secs(days * 86_400),
            same_site,
            domain: domain.map(str::to_owned),
            path: path.to_owned(),
        })
    };
    assert_eq!(
        read.affinity,
        [
            Affinity::Header("x-user".to_owned()),
            Affinity::Query("user id".to_owned()),
            Affinity::RequestJson(Pointer::parse("/user").unwrap()),
            Affinity::SourceAddress,
            cookie("c", 7, SameSite::None, Some("Example.com"), "/a b"),
            cookie("d", 1, SameSite::Lax, None, "/"),
        ]
    );
    assert_eq!(read.body_fields(), ["affinity[2].request_json"]);
}

#[test]
fn what_is_wrong_with_an_affinity_names_its_path() {
    let with_cookie = |field: &str, value: Value| json!([{"cookie": "c", field: value}]);
    let twice = |source: Value| (json!([source, source]), "affinity[1]: duplicate entry");
    refused(
        "affinity",
        &[
            (json!([{}]), "affinity[0]: expected exactly one of `header`, `query`"),
            (json!([{"query": "a", "header": "a"}]), "affinity[0]: expected exactly one of"),
            (json!([{"query": ""}]), "affinity[0].query: expected a query parameter's"),
            (
                json!([{"request_json": "user"}]),
                "affinity[0].request_json: expected a JSON pointer",
            ),
            (
                json!([{"request_json": "/a/*"}]),
                "affinity[0].request_json: expected a JSON pointer",
            ),
            (json!([{"source_address": false}]), "affinity[0].source_address: expected true"),
            (
                json!([{"source_address": "x"}]),
                "affinity[0].source_address: expected true or false",
            ),
            (
                json!([{"query": "a", "domain": "a.b"}]),
                "affinity[0].domain: only a cookie has a domain",
            ),
            (json!([{"header": "a", "max_age": "1s"}]), "affinity[0].max_age: only a cookie has a"),
            (
                with_cookie("same_site", json!("lax")),
                "affinity[0].same_site: expected Strict, Lax or",
            ),
            (with_cookie("domain", json!(".a.b")), "affinity[0].domain: expected a host name"),
            (with_cookie("domain", json!("a.b; x")), "affinity[0].domain: expected a host name"),
            (with_cookie("path", json!("a")), "affinity[0].path: expected a path"),
            (with_cookie("path", json!("/a;b")), "affinity[0].path: expected a path"),
            twice(json!({"header": "a"})),
            twice(json!({"query": "a"})),
            twice(json!({"request_json": "/a"})),
            twice(json!({"source_address": true})),
            twice(json!({"cookie": "a"})),
            (
                json!([{"cookie": "a"}, {"cookie": "a", "path": "/x"}]),
                "affinity[1]: duplicate entry",
            ),
        ],
    );
    let mut config = with("/rollouts/0/override", json!({"cookie": "c"}));
    config["rollouts"][0]["affinity"] = json!([{"header": "c"}, {"cookie": "c"}]);
    let found = parse(&config).unwrap_err();
    let expected = "rollouts[0].override.cookie: affinity[1].cookie has this name";
    assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
}

/// Stable requests carry no header of the filter's, and Envoy's routes can't see a body.
#[test]
fn rollouts_that_differ_only_in_the_body_share_a_stable_cluster() {
    let rollout = |name: &str, model: Option<&str>, path: &str, stable: &str| {
        let mut matches = json!({"path_prefixes": [path]});
        if let Some(model) = model {
            matches["request_json"] = json!({"pointer": "/model", "values": [model]});
        }
        json!({"name": name, "match": matches, "stable": {"version": "1", "cluster": stable},
               "canary": {"version": "2", "cluster": format!("{name}-canary")}})
    };
    let wrong = |rollouts: [Value; 2]| parse(&json!({"rollouts": rollouts})).err();
    let a = || rollout("a", Some("a"), "/v1", "stable");
    assert_eq!(wrong([a(), rollout("b", Some("b"), "/v1", "stable")]), None);
    assert_eq!(wrong([a(), rollout("b", Some("b"), "/v2", "other")]), None);
    assert_eq!(wrong([rollout("c", None, "/v1", "x"), rollout("d", None, "/v1", "y")]), None);
    for other in [rollout("b", Some("b"), "/v1", "other"), rollout("b", None, "/v1", "other")] {
        let found = wrong([a(), other]).unwrap();
        let expected =
            "rollouts[1].stable.cluster: must be `stable`, the stable cluster of rollout `a`";
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    }
}
