use serde_json::{Value, json};

use super::*;
use crate::observation::Observation;
use crate::{Judge, ResumeError};
use canary_model::document::{ConfigErrors, Node};

/// What version 1 makes of [`everything`]. Never edit it: a change of it is version 2.
const V1: &str = include_str!("v1.json");
/// A judge's state of layout 5. Never edit it: another layout is layout 6 (`STATE_VERSION`).
const STATE_5: &str = include_str!("state-5.json");
/// One of the layout before: what reads it must replay the observations instead.
const STATE_4: &str = include_str!("state-4.json");

fn read(metrics: &Value, false_abort: &str) -> Analysis {
    let value = json!({"falseAbort": false_abort, "metrics": metrics});
    let mut problems = ConfigErrors::default();
    let read = Analysis::read(&Node::root(&value), &mut problems);
    problems.finish(read).unwrap()
}

fn everything() -> Analysis {
    read(
        &json!([
            {"name": "failures", "kind": "failureRate", "margin": "0.1%", "ratio": 1.5},
            {"name": "latency", "kind": "latency", "quantiles": {"p50": 1.1, "p99": 1.5}},
            {"name": "label", "kind": "distribution", "signal": "label", "tolerance": "2%"},
            {"name": "checkout", "kind": "conversion", "signal": "checkout", "margin": "1%"},
            {"name": "gpu", "kind": "prometheus", "address": "http://p:9090", "query": "up",
             "interval": "90s", "initialDelay": "250ms", "count": 9, "failureLimit": 2,
             "inconclusiveLimit": 1, "successCondition": "result < 0.5",
             "failureCondition": "result > 0.9"},
        ]),
        "2.5%",
    )
}

#[test]
fn version_1_never_changes() {
    assert_eq!(canonical_json(&everything()), V1.trim_end());
    assert_eq!(fingerprint(&everything(), 3_600), "v1:1e96005ea4ca2bf3");
}

#[test]
fn whatever_decides_is_part_of_it() {
    let one = json!({"name": "f", "kind": "failureRate", "margin": "0.1%"});
    let same = fingerprint(&read(&json!([one]), "1%"), 60);
    assert_eq!(fingerprint(&read(&json!([one]), "1%"), 60), same);
    assert_ne!(fingerprint(&read(&json!([one]), "2%"), 60), same);
    assert_ne!(fingerprint(&read(&json!([one]), "1%"), 61), same);
    let other = json!({"name": "f", "kind": "failureRate", "margin": "0.2%"});
    assert_ne!(fingerprint(&read(&json!([other]), "1%"), 60), same);
    let latency = |of: &str| {
        fingerprint(&read(&json!([{"name": "l", "kind": "latency", "of": of}]), "1%"), 60)
    };
    assert_ne!(latency("ttfb"), latency("total"));
    let whole = fingerprint(&read(&json!([{"name": "l", "kind": "latency"}]), "1%"), 60);
    assert_eq!(latency("total"), whole, "a file that doesn't say it means the same");
    let mut split = read(&json!([one]), "1%");
    split.false_split = 0.05;
    assert_ne!(fingerprint(&split, 60), same);
    let second = json!({"name": "g", "kind": "failureRate", "margin": "0.1%"});
    assert_ne!(fingerprint(&read(&json!([one, second]), "1%"), 60), same);
}

/// Every kind of metric, whatever version of the fingerprint first had it.
fn every_kind() -> Analysis {
    let mut all = everything();
    let more = json!([
        {"name": "ttft", "kind": "latency", "of": "ttfb"},
        {"name": "tokens", "kind": "values", "signal": "tokens", "worse": "both"},
    ]);
    all.metrics.extend(read(&more, "1%").metrics);
    all
}

/// A state that this layout's first build wrote still resumes, and goes on as one written now.
#[test]
fn a_state_of_this_layout_resumes() {
    let mut judge = Judge::new(&every_kind(), 3_600);
    let line = |t: u32| {
        json!({"t": t, "weight": 10, "window": 1,
        "stable": {"total": 18, "failure": 1, "assigned": 19, "rq_time_us": [[1000, 100, 18]],
                   "rq_ttfb_us": [[100, 10, 18]]},
        "canary": {"total": 6, "failure": 1, "assigned": 6, "rq_time_us": [[1100, 100, 6]],
                   "rq_ttfb_us": [[110, 10, 6]]},
        "signals": {"label": {"stable": {"cat": 18}, "canary": {"cat": 5, "unreadable": 1}},
                    "tokens": {"stable": {"unreadable": 1}}},
        "values": {"tokens": {"stable": [[0, 0, 2], [250, 10, 15]], "canary": [[250, 10, 6]]}},
        "measurements": {"gpu": ["NaN", 0.25]}})
    };
    for t in 1..3 {
        judge.take(&Observation::read(&line(t).to_string()).unwrap());
    }
    let state = serde_json::to_string(&judge).unwrap();
    assert!(state == STATE_5.trim_end(), "another layout? then STATE_VERSION must grow: {state}");
    assert_eq!(Judge::resume(STATE_5, &every_kind(), 3_600), Ok(judge));
    let older = Judge::resume(STATE_4, &every_kind(), 3_600);
    assert_eq!(older, Err(ResumeError::OtherVersion { found: 4, expected: 5 }));
}

/// A password goes into no state, and another one is no other analysis; another server is.
#[test]
fn secrets_in_an_address_are_neither_written_nor_part_of_it() {
    let at = |address: &str| {
        let gpu = json!({"name": "gpu", "kind": "prometheus", "address": address, "query": "up",
            "failureCondition": "result > 0.9"});
        read(&json!([gpu]), "1%")
    };
    let (before, after) = (at("http://ursula:hunter2@p:9090"), at("http://ursula:other@p:9090"));
    let judge = Judge::new(&before, 60);
    let state = serde_json::to_string(&judge).unwrap();
    for text in [&state, &canonical_json(&before)] {
        assert!(!text.contains("hunter2") && !text.contains("ursula"), "{text}");
    }
    assert_eq!(fingerprint(&before, 60), fingerprint(&after, 60));
    assert_eq!(Judge::resume(&state, &after, 60), Ok(judge));
    let elsewhere = Judge::resume(&state, &at("http://ursula:hunter2@q:9090"), 60);
    assert_eq!(elsewhere, Err(ResumeError::OtherAnalysis));
}
