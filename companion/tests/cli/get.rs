//! `get rollout`, read from Envoys without a controller.

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
            "step": null,
            "weight": {"set": 5, "in_force": 5, "measured": null},
            "stable": {"version": "3.1", "requests": 950, "failures": 1, "unanswered": 0, "ttfb": null, "gap": null,
                "p50_ms": 4.55, "p95_ms": 4.595, "p99_ms": 4.599},
            "canary": {"version": "3.2", "requests": 50, "failures": 2, "unanswered": 0, "ttfb": null, "gap": null,
                "p50_ms": 4.55, "p95_ms": 4.595, "p99_ms": 4.599},
            "metrics": null,
            "effects": null,
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
    let unknown = json!({"version": null, "requests": null, "failures": null, "unanswered": null, "ttfb": null, "gap": null,
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
    assert_eq!(both["weight"], json!({"set": 5, "in_force": 5, "measured": null}));

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
    assert_eq!(run.json()["weight"], json!({"set": null, "in_force": null, "measured": null}));
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
    let get = || ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0);
    let run = get();
    assert_eq!(run.json()["canary"]["version"], Value::Null, "neither may serve any more");
    let run = run.says("versions 3.2, 3.3 were counted as canary and no configuration says which");
    run.says(
        "the configuration pushed for filter \"canary\", with the canary scorer 3.3, is refused",
    );
    fake.envoy().per_look = [(total("canary", "3.2"), 1)].into();
    assert_eq!(get().json()["canary"]["version"], "3.2", "it answers requests");
    fake.envoy().per_look.clear();
    fake.envoy().runtime.insert("canary.scorer.weight".to_owned(), "5@3.2".to_owned());
    assert_eq!(get().json()["canary"]["version"], "3.2", "the weight in force is for it");
}

/// A source without versions, such as a file: the time of the last successful update tells.
#[test]
fn a_configuration_refused_from_a_file_is_shown_in_get_and_list() {
    let fake = Fake::start().with(busy).with(|envoy| {
        envoy.configure("", "3.1", "3.3", 0.0);
        envoy.config_dump["configs"][0]["last_updated"] = json!("2026-01-01T00:00:00.001Z");
        envoy.texts.insert(VERSION_TEXT.to_owned(), String::new());
    });
    let name = VERSION_TEXT.replace("version_text", "update_time");
    let refused = "with the canary scorer 3.3, is refused";
    let get = || ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0);
    fake.envoy().numbers.insert(name.clone(), 1_767_225_600_000);
    assert_eq!(get().says(refused).json()["canary"]["version"], "3.2");
    ctl(&[&fake], &["list"]).exits(0).says(refused);
    fake.envoy().numbers.insert(name, 1_767_225_600_001);
    let accepted = get();
    assert_eq!(accepted.json()["canary"]["version"], "3.3");
    assert!(accepted.stderr.is_empty(), "{accepted:?}");
}

fn total(role: &str, version: &str) -> String {
    format!("wasmcustom.canary.scorer.{role}.{version}.rq_total")
}

#[test]
fn a_bin_that_is_called_like_a_metric_makes_no_version() {
    let fake = Fake::start().with(busy).with(|envoy| {
        let bin = "wasmcustom.canary.scorer.canary.3.2.signal.label.rq_total";
        envoy.numbers.insert(bin.to_owned(), 9);
    });
    let run = ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0);
    assert_eq!((&run.json()["canary"]["version"], run.stderr.as_str()), (&json!("3.2"), ""));
}

#[test]
fn without_a_controller_the_share_is_measured_between_two_readings() {
    let fake = Fake::start().with(busy).with(|envoy| {
        envoy.per_look = [(total("stable", "3.1"), 30), (total("canary", "3.2"), 10)].into();
    });
    for args in [&["get", "rollout", "scorer", "-o", "json"][..], &["list", "-o", "json"]] {
        let shown = ctl(&[&fake], args).exits(0).json();
        let one = if shown.is_array() { &shown[0] } else { &shown };
        assert_eq!(one["weight"]["measured"], 25, "not the 5 % since Envoy's start");
    }
    fake.envoy().per_look = [(total("canary", "3.2"), 14)].into();
    let few = ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0).json();
    assert_eq!(few["weight"]["measured"], Value::Null, "28 requests");
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
        envoy.per_look = [(total("stable", "3.1"), 30), (total("canary", "3.2"), 10)].into();
    });
    let mut watch = Watch::start(&fake);
    let looks = [watch.look(), watch.look(), watch.look()];
    watch.leave();
    let measured = looks.each_ref().map(|look| &look["weight"]["measured"]);
    assert_eq!(measured, [25, 25, 25]);
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
