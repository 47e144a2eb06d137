//! The golden file of each version of the canonical form: no later build may read a rollout file as
//! another rollout.

use canary_rollout::fingerprint::{FINGERPRINT_VERSION, canonical, fingerprint};
use canary_rollout::spec::Spec;
use serde_json::{Value, json};

const GOLDEN: &str = include_str!("../golden/fingerprint-2.json");

fn golden() -> Value {
    serde_json::from_str(GOLDEN).unwrap()
}

#[test]
fn the_canonical_form_and_its_fingerprint_stay_as_they_are() {
    let cases = golden();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let spec = Spec::read(&case["file"]).unwrap();
        assert_eq!(canonical(&spec), case["canonical"], "{:#}", canonical(&spec));
        assert_eq!(json!(fingerprint(&spec)), case["fingerprint"]);
        assert!(fingerprint(&spec).starts_with(&format!("{FINGERPRINT_VERSION}:")));
    }
}

/// What may change under a running rollout is not part of it; what decides is.
#[test]
fn what_is_part_of_the_fingerprint() {
    let file = golden()[1]["file"].clone();
    let read = |file: &Value| fingerprint(&Spec::read(file).unwrap());
    let with = |path: &str, value: Value| {
        let mut file = file.clone();
        file[path] = value;
        read(&file)
    };
    let same = read(&file);
    for (path, value) in [
        ("lease", json!("20s")),
        ("envoys", json!(["http://127.0.0.1:9902"])),
        ("notify", json!([])),
        ("guardQuorum", json!(2)),
        ("deploy", json!({"minRequests": 50})),
        ("registry", json!({"mlflow": {"uri": "http://127.0.0.1:5000", "model": "scorer"}})),
    ] {
        assert_eq!(with(path, value), same, "{path}");
    }
    let mut secret = file.clone();
    secret["gates"][0]["url"] = json!("https://bob:other@gate.example/ask?token=2");
    assert_eq!(read(&secret), same, "a secret that was renewed");
    let command = |deploy: Value| with("deploy", deploy);
    let deployed = command(json!({"command": ["./a"]}));
    assert_eq!(command(json!({"url": "https://b.example/", "timeout": "1m"})), deployed);
    for (path, value) in [
        ("versions", json!({"canary": "3"})),
        ("deploy", json!({"command": ["./a"]})),
        ("rollout", json!("other")),
        ("harmBudget", json!("0.02%")),
        ("gates", json!([])),
        ("steps", json!([{"setWeight": 25}, {"pause": {"untilConfident": true}}])),
    ] {
        assert_ne!(with(path, value), same, "{path}");
    }
    let measuring = |afterwards: &str| {
        let mut file = file.clone();
        (file["goal"], file["afterwards"]) = (json!("measure"), json!(afterwards));
        file["gates"] = json!([]);
        read(&file)
    };
    let [promotes, stable, keep] =
        [with("gates", json!([])), measuring("stable"), measuring("keep")];
    assert!(promotes != stable && stable != keep && promotes != keep);
    assert_eq!(with("goal", json!("promote")), same, "it goes without saying");
    let analysis = |field: &str, value: &str| {
        let mut file = file.clone();
        file["analysis"][field] = json!(value);
        read(&file)
    };
    for (field, default, other) in
        [("falsePause", "5%", "6%"), ("splitMismatch", "hold", "warn"), ("falseSplit", "1%", "2%")]
    {
        assert_eq!(analysis(field, default), same, "{field} says what goes without saying");
        assert_ne!(analysis(field, other), same, "{field}");
    }
    let on_failure = |action: &str| {
        let mut file = file.clone();
        let mut more = file["analysis"]["metrics"][0].clone();
        (more["name"], more["onFailure"]) = (json!("more"), json!(action));
        file["analysis"]["metrics"].as_array_mut().unwrap().push(more);
        read(&file)
    };
    let [abort, pause, warn] = ["abort", "pause", "warn"].map(on_failure);
    assert!(abort != pause && pause != warn && abort != warn);
}
