//! `get rollout`.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{command, ctl, nobody, plain};
use crate::fake::{Envoy, Fake};

fn busy(envoy: &mut Envoy) {
    envoy.version("scorer", "stable", "3.1", 950, 1);
    envoy.version("scorer", "canary", "3.2", 50, 2);
    envoy.runtime.insert("canary.scorer.weight".to_owned(), "5".to_owned());
}

#[test]
fn both_versions_side_by_side() {
    let fake = Fake::start().with(busy);
    let shown = ctl(&[&fake], &["get", "rollout", "scorer"]);
    assert_snapshot!("side_by_side", plain(&shown, &[&fake]));
}

#[test]
fn as_json_everything_has_its_place() {
    let fake = Fake::start().with(busy);
    let shown = ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0);
    assert_eq!(
        shown.json(),
        json!({
            "rollout": "scorer",
            "phase": null,
            "weight": {"set": 5, "in_force": 5, "measured": 5},
            "stable": {"version": "3.1", "requests": 950, "failures": 1,
                "p50_ms": 4.55, "p95_ms": 4.595, "p99_ms": 4.599},
            "canary": {"version": "3.2", "requests": 50, "failures": 2,
                "p50_ms": 4.55, "p95_ms": 4.595, "p99_ms": 4.599},
            "guard_tripped": false,
            "lease_expired": false,
            "waits_for": null,
            "envoys": [{"url": fake.url, "ok": true, "error": null}],
        })
    );
    assert_eq!(shown.stdout.lines().count(), 1);
    assert!(shown.stderr.is_empty());
}

#[test]
fn what_is_not_known_is_null() {
    let fake = Fake::start().with(|envoy| {
        envoy.numbers.retain(|name, _| name.ends_with("weight_ppm"));
        envoy.histograms.clear();
    });
    let json = ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0).json();
    let unknown = json!({"version": null, "requests": null, "failures": null,
        "p50_ms": null, "p95_ms": null, "p99_ms": null});
    assert_eq!(json["weight"], json!({"set": null, "in_force": 0, "measured": null}));
    assert_eq!((&json["stable"], &json["canary"]), (&unknown, &unknown));
    assert_eq!(json["lease_expired"], Value::Null);
}

#[test]
fn several_envoys_are_summed_and_the_missing_one_is_named() {
    let fakes = [Fake::start().with(busy), Fake::start().with(busy)];
    let envoys = [&fakes[0], &fakes[1]];
    let both = ctl(&envoys, &["get", "rollout", "scorer", "-o", "json"]).exits(0).json();
    assert_eq!(both["stable"]["requests"], 1_900);
    assert_eq!(both["canary"]["failures"], 4);
    assert_eq!(both["weight"], json!({"set": 5, "in_force": 5, "measured": 5}));

    let gone = nobody();
    let partial = ctl(&envoys, &["get", "rollout", "scorer", "--envoy", &gone]).exits(1);
    let text = plain(&partial, &envoys).replace(&gone, "http://gone:9901");
    assert_snapshot!("one_missing", text);
}

#[test]
fn envoys_that_differ_are_told_apart() {
    let fakes = [Fake::start().with(busy), Fake::start().with(busy)];
    fakes[1].envoy().runtime.insert("canary.scorer.weight".to_owned(), "1".to_owned());
    let run = ctl(&[&fakes[0], &fakes[1]], &["get", "rollout", "scorer", "-o", "json"]).exits(0);
    assert_eq!(run.json()["weight"], json!({"set": null, "in_force": null, "measured": 5}));
    let run = run.says(&format!("the Envoys differ in the weight set: 1 % on {}", fakes[1].url));
    run.says("the Envoys differ in the weight in force");
}

#[test]
fn fail_safes_are_shown() {
    let fake = Fake::start().with(busy).with(|envoy| {
        envoy.filter = crate::fake::Filter::Tripped;
        envoy.numbers.insert("wasmcustom.canary.scorer.lease_expired".to_owned(), 1);
        envoy.runtime.insert("canary.scorer.enabled".to_owned(), "0".to_owned());
        envoy.runtime.insert("canary.scorer.owner".to_owned(), "bob@desk".to_owned());
    });
    let shown = ctl(&[&fake], &["get", "rollout", "scorer"]);
    assert_snapshot!("fail_safes", plain(&shown, &[&fake]));
}

#[test]
fn the_configuration_says_which_version_is_current() {
    let fake = Fake::start().with(busy).with(|envoy| {
        envoy.version("scorer", "canary", "3.3", 7, 0);
        envoy.configure("2", "3.1", "3.3", 0.0);
        envoy.texts.insert(VERSION_TEXT.to_owned(), "2".to_owned());
    });
    let run = ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0);
    assert_eq!(run.json()["canary"]["version"], "3.3");
    assert_eq!(run.json()["canary"]["requests"], 7);
    assert!(run.stderr.is_empty(), "{run:?}");
}

#[test]
fn a_refused_configuration_does_not_say_which_version_is_current() {
    let fake = Fake::start().with(busy).with(|envoy| {
        envoy.version("scorer", "canary", "3.3", 7, 0);
        envoy.configure("3", "3.1", "3.3", 0.0);
        envoy.texts.insert(VERSION_TEXT.to_owned(), "2".to_owned());
    });
    let run = ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0);
    assert_eq!(run.json()["canary"]["version"], "3.2");
    run.says("versions 3.2, 3.3 were counted as canary and no configuration says which is current");
}

const VERSION_TEXT: &str = "extension_config_discovery.http_filter.canary.version_text";

#[test]
fn without_a_runtime_weight_the_configuration_sets_it() {
    let fake = Fake::start().with(|envoy| envoy.configure("1", "3.1", "3.2", 0.25));
    let json = ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0).json();
    assert_eq!(json["weight"]["set"], 0.25);
}

#[test]
fn an_unreadable_weight_is_told() {
    let fake = Fake::start().with(busy).with(|envoy| {
        envoy.filter = crate::fake::Filter::Dead;
        envoy.runtime.insert("canary.scorer.weight".to_owned(), "05".to_owned());
    });
    let run = ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0);
    assert_eq!(run.json()["weight"]["set"], Value::Null);
    run.says("the runtime's weight \"05\" is unreadable: a weight is a percentage");
}

#[test]
fn an_unknown_rollout() {
    let fake = Fake::start();
    let run = ctl(&[&fake], &["get", "rollout", "ranker"])
        .exits(2)
        .says("hint: this Envoy's rollouts: scorer");
    assert!(run.stdout.is_empty());
}

/// `get rollout scorer -w` while it runs; it ends with its reader, whatever becomes of the test.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(fake: &Fake) -> Self {
        let args = ["get", "rollout", "scorer", "-w", "--interval", "10ms", "-o", "json"];
        let mut child =
            command(&args).args(["--envoy", &fake.url]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn look(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// Stops reading: the next look ends the command, and that is no failure.
    fn leave(self) {
        let Self { mut child, lines } = self;
        drop(lines);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn watching_measures_between_two_looks() {
    let fake = Fake::start().with(busy).with(|envoy| {
        let total = |role: &str, version: &str| {
            format!("wasmcustom.canary.scorer.{role}.{version}.rq_total")
        };
        envoy.per_look = [(total("stable", "3.1"), 30), (total("canary", "3.2"), 10)].into();
    });
    let mut watch = Watch::start(&fake);
    let looks = [watch.look(), watch.look(), watch.look()];
    watch.leave();
    let measured = looks.each_ref().map(|look| &look["weight"]["measured"]);
    assert_ne!(measured[0], 25);
    assert_eq!(measured[1..], [25, 25]);
    let requests = looks.each_ref().map(|look| look["stable"]["requests"].as_u64());
    assert!(requests[2] > requests[1]);
}

#[test]
fn watching_goes_on_when_an_envoy_fails() {
    let fake = Fake::start().with(busy);
    let mut watch = Watch::start(&fake);
    assert_eq!(watch.look()["envoys"][0]["ok"], true);
    fake.envoy().garbage = Some((axum::http::StatusCode::OK, "???".to_owned()));
    while watch.look()["envoys"][0]["ok"] != false {}
    fake.envoy().garbage = None;
    while watch.look()["envoys"][0]["ok"] != true {}
    watch.leave();
}
