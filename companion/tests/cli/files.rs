//! `lint`, `plan` and `replay`: the verbs that only read files.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::fake::{Fake, Traffic};
use crate::{Run, ctl};

const ROLLOUT: &str = "\
rollout: scorer
steps:
  - setWeight: 5
  - pause: {duration: 20s, minRequests: 100}
analysis:
  falseAbort: 1%
  metrics:
    - {name: failures, kind: failureRate, margin: 0.1%}
";

fn file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A recording of a minute, with so many failures of the canary each second.
fn recording(failures: u64) -> String {
    let line = |t: u64| {
        json!({"t": t, "weight": 5, "stable": {"total": 950, "failure": 1},
               "canary": {"total": 50, "failure": failures}})
    };
    (0..60).map(|t| format!("{}\n", line(t))).collect()
}

#[test]
fn a_good_file_is_ok_and_a_bad_one_is_told_line_by_line() {
    let dir = TempDir::new().unwrap();
    let good = file(&dir, "good.yaml", ROLLOUT);
    alone(&["lint", "-f", good.to_str().unwrap()]).exits(0);
    let bad = file(&dir, "bad.yaml", &ROLLOUT.replace("setWeight: 5", "setWeight: 500"));
    let run = alone(&["lint", "-f", bad.to_str().unwrap()]).exits(2);
    assert!(run.stdout.contains("bad.yaml:3: steps[0].setWeight: "), "{run:?}");
    let plugin = file(&dir, "plugin.json", "{\n\"rollouts\": [\n{\"name\": \"A\"}]}");
    let run = alone(&["lint", "-f", plugin.to_str().unwrap(), "-o", "json"]).exits(2);
    let findings = run.json();
    assert_eq!(findings["findings"][0]["path"], json!("rollouts[0].name"), "{findings}");
    assert_eq!((&findings["findings"][0]["line"], &findings["ok"]), (&json!(3), &json!(false)));
    assert_eq!(findings["findings"][0]["level"], json!("error"));
}

#[test]
fn what_waits_for_ever_is_warned_of() {
    let dir = TempDir::new().unwrap();
    let text = ROLLOUT.replace("duration: 20s, minRequests: 100", "untilConfident: true")
        + "    - {name: sold, kind: conversion, signal: sold}\n";
    let path = file(&dir, "rollout.yaml", &text);
    let run = alone(&["lint", "-f", path.to_str().unwrap()]).exits(0);
    assert!(
        run.stdout.contains("yaml:9: warning: analysis.metrics[1].margin: with margin 0"),
        "{run:?}"
    );
    let path = file(&dir, "fine.yaml", &text.replace("signal: sold", "signal: sold, margin: 1%"));
    let found = alone(&["lint", "-f", path.to_str().unwrap(), "-o", "json"]).exits(0).json();
    assert_eq!((&found["ok"], &found["findings"]), (&json!(true), &json!([])));
}

#[test]
fn a_replay_tells_what_the_file_would_have_decided() {
    let dir = TempDir::new().unwrap();
    let rollout = file(&dir, "rollout.yaml", ROLLOUT);
    for (failures, outcome) in [(0, "completed"), (25, "aborted")] {
        let recorded = file(&dir, "recording.jsonl", &recording(failures));
        let (recorded, rollout) = (recorded.to_str().unwrap(), rollout.to_str().unwrap());
        let replayed = alone(&["replay", recorded, "-f", rollout, "-o", "json"]).exits(0).json();
        assert_eq!(replayed["outcome"], json!(outcome), "{replayed}");
        for field in ["at", "reason", "canary_requests", "canary_failures"] {
            assert!(!replayed[field].is_null(), "{field} in {replayed}");
        }
    }
}

#[test]
fn a_broken_recording_is_told_with_its_line() {
    let dir = TempDir::new().unwrap();
    let rollout = file(&dir, "rollout.yaml", ROLLOUT);
    let recorded = file(
        &dir,
        "recording.jsonl",
        &format!("{}x\n", recording(0).lines().next().unwrap().to_owned() + "\n"),
    );
    let arguments = ["replay", recorded.to_str().unwrap(), "-f", rollout.to_str().unwrap()];
    alone(&arguments).exits(2).says("line 2");
}

#[test]
fn a_plan_has_every_step() {
    let dir = TempDir::new().unwrap();
    let rollout = file(&dir, "rollout.yaml", ROLLOUT);
    let arguments = ["plan", "-f", rollout.to_str().unwrap(), "--rps", "1000", "-o", "json"];
    let plan = alone(&arguments).exits(0).json();
    assert_eq!(plan["steps"][0]["weight"], json!(5), "{plan}");
    assert_eq!((&plan["seconds"], &plan["outcome_age"]), (&json!(40), &json!(20)), "{plan}");
    // One block of 1,000 requests holds 50 of the canary's; 50 more come in each second of outcome_age.
    assert_eq!(plan["harm"]["1"], json!(50.0 + 20.0 * 50.0), "{plan}");
    assert!(plan["abort"]["1"]["median"].as_u64() <= plan["abort"]["1"]["p90"].as_u64(), "{plan}");
    assert_eq!(plan["warnings"], json!([]), "{plan}");
    alone(&["plan", "-f", rollout.to_str().unwrap(), "--rps", "0"]).exits(2);
}

/// The filter's configuration says how long each step waits for its first outcomes.
#[test]
fn a_plan_reads_the_outcome_age_of_the_filters_configuration() {
    let dir = TempDir::new().unwrap();
    let rollout = file(&dir, "rollout.yaml", ROLLOUT);
    let plugin = |name: &str, age: &str| {
        let text = format!(
            r#"{{"rollouts": [{{"name": "{name}", "outcome_age": "{age}",
                "stable": {{"version": "1", "cluster": "a"}}, "canary": {{"version": "2", "cluster": "b"}}}}]}}"#
        );
        file(&dir, "filter.json", &text)
    };
    let plan = |filter: &Path| {
        let (rollout, filter) = (rollout.to_str().unwrap(), filter.to_str().unwrap());
        alone(&["plan", "-f", rollout, "--rps", "1000", "--filter", filter])
    };
    let printed = plan(&plugin("scorer", "3s")).exits(0);
    let said = "outcome_age               3 s in each step, as the filter's configuration says";
    assert!(printed.stdout.contains(said), "{}", printed.stdout);
    let default = alone(&["plan", "-f", rollout.to_str().unwrap(), "--rps", "1000"]).exits(0);
    let said = "20 s in each step, the filter's default; --filter FILE reads it";
    assert!(default.stdout.contains(said), "{}", default.stdout);
    plan(&plugin("scorer", "1ms")).exits(2).says("outcome_age");
    plan(&plugin("ranker", "3s")).exits(2).says("has no rollout \"scorer\", only ranker");
}

#[test]
fn a_plan_prints_its_warnings_and_a_legend() {
    let dir = TempDir::new().unwrap();
    let text = "rollout: r\nsteps:\n  - setWeight: 5\n  - pause: {untilConfident: true}\n\
                analysis:\n  metrics:\n    - {name: f, kind: failureRate, margin: 0%}\n";
    let rollout = file(&dir, "rollout.yaml", text);
    let arguments = ["plan", "-f", rollout.to_str().unwrap(), "--rps", "100", "--baseline", "0"];
    let never = "step 1 (5 %) can never become confident";
    let printed = alone(&arguments).exits(0);
    assert!(printed.stdout.contains(&format!("warning: {never}")), "{}", printed.stdout);
    assert!(printed.stdout.contains("canary requests (90 %: "), "the median: {}", printed.stdout);
    assert!(printed.stdout.contains("\"unknown\": it depends on"), "{}", printed.stdout);
    let plan = alone(&[&arguments[..], &["-o", "json"]].concat()).exits(0).json();
    assert!(plan["warnings"][0].as_str().unwrap().starts_with(never), "{plan}");
}

/// Without `--rps` the Envoys say what comes.
#[test]
fn a_plan_reads_the_traffic_of_running_envoys() {
    let dir = TempDir::new().unwrap();
    let rollout = file(&dir, "rollout.yaml", ROLLOUT);
    let arguments = ["plan", "-f", rollout.to_str().unwrap(), "--measure", "500ms", "-o", "json"];
    let busy = Fake::start().with(|envoy| envoy.traffic = Some(Traffic::new(1_000.0, 0)));
    let plan = ctl(&[&busy], &arguments).exits(0).says("requests per second").json();
    assert_eq!(plan["seconds"], json!(20), "{plan}");
    let idle = Fake::start();
    ctl(&[&idle], &arguments).exits(2).says("no request of \"scorer\" came in 0.5 s: say --rps");
    alone(&arguments).exits(2).says("no Envoy given");
}

/// The verb, with no Envoy named.
fn alone(arguments: &[&str]) -> Run {
    ctl(&[], arguments)
}

/// A query or fragment in Prometheus' address would swallow the path of its API.
#[test]
fn a_prometheus_address_with_a_query_or_fragment_is_refused() {
    let dir = TempDir::new().unwrap();
    for address in ["http://p:9090/?tenant=1", "http://p:9090/#up", "http://p:9090?", "ftp://p"] {
        let metric = format!(
            "    - {{name: gpu, kind: prometheus, address: \"{address}\", query: up, failureCondition: \
             result > 1}}\n"
        );
        let bad = file(&dir, "bad.yaml", &format!("{ROLLOUT}{metric}"));
        let found = ctl(&[], &["lint", "-f", bad.to_str().unwrap()]).exits(2);
        let all = format!("{}{}", found.stdout, found.stderr);
        assert!(all.contains("metrics[1].address") && all.contains("no query (?)"), "{all}");
        assert!(all.contains(address), "it names what it found: {all}");
    }
}

/// What the handover will find is said before the start, and followed by the file's `minRequests`.
#[test]
fn the_plan_says_what_the_handover_finds() {
    let dir = TempDir::new().unwrap();
    let plan = |deploy: &str, name: &str| {
        let path = file(&dir, name, &(ROLLOUT.to_owned() + deploy));
        let arguments = ["plan", "-f", path.to_str().unwrap(), "--rps", "100"];
        let text = alone(&arguments).exits(0).stdout;
        (alone(&[&arguments[..], &["-o", "json"]].concat()).exits(0).json(), text)
    };
    let (default, text) = plan("", "default.yaml");
    let found = default["handover"]["smallest_regression"].as_f64().unwrap();
    assert!((0.02..0.06).contains(&found), "{default}");
    let handover = json!({"requests": 500, "seconds": 30, "smallest_regression": found,
        "probability": 0.9});
    assert_eq!(default["handover"], handover);
    assert!(text.contains("finds a new stable that fails "), "{text}");
    assert!(
        text.contains(" with 90 % probability, by 500 requests to each place in 30 s"),
        "{text}"
    );
    let (more, _) = plan("deploy: {minRequests: 5000}\n", "more.yaml");
    assert!(more["handover"]["smallest_regression"].as_f64().unwrap() < 0.5 * found, "{more}");
    let (few, text) = plan("deploy: {minRequests: 1}\n", "few.yaml");
    assert!(few["handover"]["requests"].as_u64().unwrap() < 500, "{few}");
    assert!(text.contains("handover"), "{text}");
}

/// A filter in one of Envoy's files beside routes with Envoy's default timeout.
#[test]
fn an_envoy_configuration_is_checked_with_its_routes() {
    let dir = TempDir::new().unwrap();
    let path = file(
        &dir,
        "envoy.yaml",
        "static_resources:\n  listeners:\n  - http_filters:\n    - config:\n        vm_config: {}\n        \
         configuration:\n          value: |\n            {\"rollouts\": [{\"name\": \"scorer\",\n              \
         \"outcome_age\": \"10s\", \"failure\": {\"overdue\": {\"answer\": \"5s\"}},\n              \
         \"stable\": {\"version\": \"1\", \"cluster\": \"a\"},\n              \
         \"canary\": {\"version\": \"2\", \"cluster\": \"b\"}}]}\n    routes:\n    \
         - {match: {prefix: /}, route: {cluster: a}}\n",
    );
    let run = alone(&["lint", "-f", path.to_str().unwrap()]).exits(0);
    let warning = "envoy.yaml:9: warning: static_resources.listeners[0].http_filters[0].config.configuration.\
                   value.rollouts[0].outcome_age: 10s is less than 2 s longer than the timeout of 15s of the \
                   route at ";
    assert!(run.stdout.contains(warning), "{run:?}");
    assert!(run.stdout.contains("rollouts: scorer; routes: 1"), "{run:?}");
}
