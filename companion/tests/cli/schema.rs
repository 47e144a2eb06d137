//! The JSON schema of rollout files says what the reader says, as far as a schema can.

use canary_rollout::schema::schema;
use canary_rollout::spec::Spec;
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::ctl;

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

/// A file that uses everything there is.
fn whole() -> Value {
    let text = r#"
rollout: scorer
goal: promote
envoys: [http://127.0.0.1:9901, unix:///run/envoy/admin.sock]
lease: 30s
harmBudget: 0.2%
steps:
  - setWeight: 1
  - pause: {duration: 10m, minRequests: 500}
  - setWeight: 5.25
  - pause: {untilConfident: true, timeout: 2h}
  - setWeight: 25
  - pause: {}
analysis:
  falseAbort: 1%
  falsePause: 5%
  falseSplit: 1%
  splitMismatch: hold
  metrics:
    - {name: failures, kind: failureRate, margin: 0.1%, ratio: 1.2}
    - {name: latency,  kind: latency, tolerance: 1.3, quantiles: {p50: 1.1, p99.5: 1.5}}
    - {name: label,    kind: distribution, signal: label, tolerance: 0, onFailure: pause}
    - {name: checkout, kind: conversion, signal: checkout, margin: 1%}
    - {name: gpu,      kind: prometheus, address: "http://prometheus:9090", query: "max(gpu)",
       failureCondition: result > 0.9, successCondition: result < 0.8, interval: 30s,
       initialDelay: 0s, count: 5, failureLimit: 2, inconclusiveLimit: 1,
       headers: {X-Scope-OrgID: ml}, tokenFile: /run/secrets/token, onFailure: warn}
gates:    [{before: promotion, url: "https://ci.example.com/approve", timeout: 10s}, {before: 25, url: "http://gate/"}]
notify:   [{on: [aborted, completed, paused], url: "https://chat.example.com/hook"}]
manual: false
guardQuorum: 2
versions: {stable: "3.1", canary: "3.2"}
deploy: {command: [./deploy.sh, "--now"], timeout: 10m, minRequests: 500}
registry: {mlflow: {uri: "http://127.0.0.1:5000", model: scorer, candidate: challenger, champion: champion, poll: 5s}}
"#;
    serde_saphyr::from_str(text).unwrap()
}

/// Each place of a document, as a JSON pointer.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| places(value, format!("{at}/{key}"), found));
        }
        Value::Array(list) => {
            let items = list.iter().enumerate();
            items.for_each(|(index, value)| places(value, format!("{at}/{index}"), found));
        }
        _ => {}
    }
    found.push(at);
}

/// What only the reader can know: it sees the whole file, and reads what a pattern can't.
fn is_beyond_schemas(message: &str) -> bool {
    let known = [
        "weights must rise",
        "begin with a weight",
        "begin with a step below 100 %",
        "at 100 % there is no stable traffic",
        "the timeout passes before the duration",
        "is the name of an earlier metric",
        "or the weight that a step sets",
        "a budget of failures needs a metric",
        "has no effect: no step waits",
        "untilConfident has nothing to be confident of",
        "at least 1s",
        "stable and canary are both",
        "candidate and champion are both",
        "from 1s to 1h",
        "at most 24h",
        // About a promotion in a file that measures; what has an effect.
        "never promotes",
        "nothing to measure",
        // Which credentials go together; headers in any case.
        "credentials are given twice",
        "one way to say who asks",
        "needs a passwordFile",
        "needs a usernameFile",
        "the name of an earlier header",
        "a header of the connection",
        // The words that a version can't contain.
        "no part between its dots",
        // The condition's own grammar.
        "at character ",
        // More decimals, or a longer time, than a pattern counts.
        "a weight has",
        "above 0 and at most 366d",
        "at most 5m",
        "from 1s to 24h",
        "expected a duration such as",
        // JSON Schema takes 5.0 for an integer.
        "a whole number from",
    ];
    known.iter().any(|known| message.contains(known))
}

/// Schema and reader agree on a document, beyond what only the reader can know.
fn agree(schema: &Validator, document: &Value) -> Result<(), String> {
    match (schema.validate(document), Spec::read(document)) {
        (Ok(()), Err(problems)) => {
            let alone = problems.iter().find(|problem| !is_beyond_schemas(&problem.message));
            let known = alone.is_none() && !problems.is_empty();
            if known { Ok(()) } else { Err(format!("the reader alone refuses: {problems:?}")) }
        }
        (Err(error), Ok(_)) => {
            Err(format!("the schema alone refuses: {} {error}", error.instance_path()))
        }
        _ => Ok(()),
    }
}

#[test]
fn the_committed_schema_is_the_program_s() {
    let printed = ctl(&[], &["lint", "--schema"]).exits(0).stdout;
    let committed = include_str!("../../schema/rollout.schema.json");
    assert!(
        printed == committed,
        "run `canaryctl lint --schema > companion/schema/rollout.schema.json`"
    );
    jsonschema::draft202012::meta::validate(&schema()).unwrap();
}

#[test]
fn good_files_are_good_for_both() {
    let schema = validator();
    let demo = include_str!("../../../integration/demo/rollout.yaml");
    let mut files = vec![whole(), serde_saphyr::from_str(demo).unwrap()];
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    files.extend(
        blocks
            .filter(|text| text.contains("rollout:"))
            .map(|text| serde_saphyr::from_str(text).unwrap()),
    );
    let metrics = json!([{"name": "f", "kind": "failureRate"}]);
    files.push(json!({"rollout": "a", "steps": "auto", "harmBudget": "0.2%", "analysis": {"metrics": metrics}}));
    files.push(json!({"rollout": "a", "steps": [{"setWeight": 5}], "manual": true, "gates": null}));
    assert!(files.len() >= 5, "the README shows a rollout file");
    for file in files {
        assert!(Spec::read(&file).is_ok(), "{:?}", Spec::read(&file));
        let wrong: Vec<String> =
            schema.iter_errors(&file).map(|e| format!("{} {e}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

#[test]
fn what_is_wrong_is_wrong_for_both() {
    let faults: &[(&str, Value)] = &[
        ("/rollout", json!("filter")),
        ("/rollout", json!("Scorer")),
        ("/rollout", json!(null)),
        ("/steps", json!([])),
        ("/steps", json!("automatic")),
        ("/steps/0", json!({"setweight": 5})),
        ("/steps/0", json!({"setWeight": 5, "pause": {}})),
        ("/steps/0/setWeight", json!("5%")),
        ("/steps/0/setWeight", json!(101)),
        ("/steps/0/setWeight", json!(0)),
        ("/steps/1/pause", json!({"timeout": "5m"})),
        ("/steps/1/pause", json!({"untilConfident": false})),
        ("/steps/1/pause/duration", json!("10 minutes")),
        ("/steps/1/pause/duration", json!("0s")),
        ("/steps/1/pause/minRequests", json!(0)),
        ("/lease", json!("1500ms")),
        ("/lease", json!(30)),
        ("/harmBudget", json!("0%")),
        ("/analysis", json!(null)),
        ("/analysis/metrics", json!([])),
        ("/analysis/falseAbort", json!(0.01)),
        ("/analysis/falseAbort", json!("51%")),
        ("/analysis/metrics/0/kind", json!("failures")),
        ("/analysis/metrics/0/margin", json!(0.1)),
        ("/analysis/metrics/0/ratio", json!(0)),
        ("/analysis/metrics/1/quantiles", json!({})),
        ("/analysis/metrics/1/quantiles", json!({"p50": null})),
        ("/analysis/metrics/1/quantiles", json!({"p100": 2})),
        ("/analysis/metrics/2/signal", json!("Label")),
        (
            "/analysis/metrics/4",
            json!({"name": "g", "kind": "prometheus", "address": "http://p", "query": "q"}),
        ),
        ("/analysis/metrics/4/query", json!(" ")),
        ("/analysis/metrics/4/headers", json!(["a"])),
        ("/analysis/metrics/4/headers", json!({"a b": "c"})),
        ("/analysis/metrics/4/headers", json!({"a": 7})),
        ("/analysis/metrics/4/headers", json!({"a": " b"})),
        ("/analysis/metrics/4/tokenFile", json!("")),
        ("/analysis/metrics/2/onFailure", json!("rollback")),
        ("/analysis/splitMismatch", json!("abort")),
        ("/analysis/falsePause", json!("51%")),
        ("/goal", json!("win")),
        ("/afterwards", json!("keep")),
        ("/gates/0/before", json!("the end")),
        ("/gates/0/url", json!("ftp://x")),
        ("/gates/0/retries", json!(1)),
        ("/notify/0/on", json!([])),
        ("/notify/0/on", json!(["rollback"])),
        ("/envoys/0", json!("127.0.0.1:9901")),
        ("/envoys/1", json!("http://127.0.0.1:9901")),
        ("/guardQuorum", json!(0)),
        ("/manual", json!("yes")),
    ];
    let schema = validator();
    for (place, fault) in faults {
        let mut file = whole();
        let (parent, key) = place.rsplit_once('/').unwrap();
        match file.pointer_mut(parent).unwrap() {
            Value::Object(map) => drop(map.insert(key.to_owned(), fault.clone())),
            list => list[key.parse::<usize>().unwrap()] = fault.clone(),
        }
        let problems = Spec::read(&file).expect_err(place);
        assert!(!problems.is_empty(), "{place} {fault}: refused without a word");
        assert!(!schema.is_valid(&file), "the schema takes {fault} at {place}");
    }
}

fn mutation() -> impl Strategy<Value = Value> {
    let words = [
        "",
        "auto",
        "5",
        "0.1%",
        "100%",
        ".5%",
        "5.%",
        "00.0%",
        "30s",
        "1000ms",
        "0ms",
        "promotion",
        "http://a",
        "https://[::1]:80/x",
        "http://-a",
        "unix:///a",
        "unix://a",
        "x y",
        "completed",
        "latency",
        "label",
        "p50",
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0.0), Just(1.0), Just(-1.0), Just(100.0), Just(2.5), Just(1e15)]
            .prop_map(|n| { if f64::fract(n) == 0.0 { json!(n as i64) } else { json!(n) } }),
        proptest::sample::select(words.to_vec()).prop_map(Value::from),
        "[a-zA-Z0-9.%:/_ -]{0,12}".prop_map(Value::from),
        Just(json!({})),
        Just(json!([])),
        Just(json!([{"setWeight": 7}])),
        Just(json!({"name": "x", "kind": "latency"})),
    ]
}

/// Something done to a place: other text, or a field more or less.
#[derive(Clone, Debug)]
enum Change {
    Put(Value),
    Remove,
    Field(String, Value),
}

fn change() -> impl Strategy<Value = Change> {
    let fields = [
        "extra",
        "rollout",
        "steps",
        "pause",
        "setWeight",
        "name",
        "kind",
        "margin",
        "tolerance",
        "duration",
        "timeout",
    ];
    prop_oneof![
        4 => mutation().prop_map(Change::Put),
        2 => Just(Change::Remove),
        1 => (proptest::sample::select(fields.to_vec()), mutation())
            .prop_map(|(field, value)| Change::Field(field.to_owned(), value)),
    ]
}

fn apply(file: &mut Value, place: &str, change: Change) {
    match change {
        Change::Put(value) => *file.pointer_mut(place).unwrap() = value,
        Change::Field(field, value) => {
            if let Some(Value::Object(map)) = file.pointer_mut(place) {
                map.insert(field, value);
            }
        }
        Change::Remove => {
            let Some((parent, key)) = place.rsplit_once('/') else { return };
            match file.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.remove(key)),
                Value::Array(list) => drop(list.remove(key.parse().unwrap())),
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn schema_and_reader_agree(changes in proptest::collection::vec((any::<proptest::sample::Index>(), change()), 1..3)) {
        thread_local!(static SCHEMA: Validator = validator());
        let mut file = whole();
        for (index, change) in changes {
            let mut found = Vec::new();
            places(&file, String::new(), &mut found);
            let place = found[index.index(found.len())].clone();
            apply(&mut file, &place, change);
        }
        let agreed = SCHEMA.with(|schema| agree(schema, &file));
        prop_assert!(agreed.is_ok(), "{}\n{file:#}", agreed.unwrap_err());
    }
}
