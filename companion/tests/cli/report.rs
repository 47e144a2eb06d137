//! `report`: the page of a recorded rollout, golden, and safe to open.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Run, ctl};

const FILE: &str = "\
rollout: scorer
steps:
  - setWeight: 5
  - pause: {duration: 60s}
  - setWeight: 20
  - pause: {duration: 60s}
analysis:
  metrics:
    - {name: failures, kind: failureRate, margin: 0.5%}
    - {name: latency, kind: latency, tolerance: 1.5}
# <script>alert('what a file says is no markup')</script> & \"so on\"
";

fn step(t: u64, phase: &str, events: &Value, verdicts: &Value) -> Value {
    json!({
        "record": "step", "at": format!("2026-03-01T12:{:02}:{:02}.500Z", t / 60, t % 60),
        "now": {"monotonic": {"secs": 1_000 + t, "nanos": 0}, "unix": 1_772_366_400 + t},
        "seen": {}, "phase": phase, "events": events, "verdicts": verdicts,
    })
}

/// A second's counts: a canary that gets slower and fails more from the 90th on.
fn line(t: u64) -> Value {
    let (weight, canary) = if t < 60 { (5, 5) } else { (20, 20) };
    let bad = t >= 90;
    let stable = 100 - canary;
    let wave = 3 * (t % 7);
    json!({
        "record": "observation", "t": t, "weight": weight, "window": 1,
        "stable": {"total": stable, "failure": u64::from(t.is_multiple_of(10)),
            "rq_time_us": [[10_000 + 1_000 * (t % 3), 1_000, stable - 5 - wave], [20_000, 1_000, wave], [40_000, 1_000, 5]]},
        "canary": {"total": canary, "failure": if bad { canary / 7 } else { 0 },
            "rq_time_us": [[if bad { 17_000 } else { 11_000 }, 1_000, canary - 1], [42_000, 1_000, 1]]},
    })
}

fn journal(dir: &TempDir) -> PathBuf {
    let start = json!({
        "record": "start", "at": "2026-03-01T12:00:00.000Z", "rollout": "scorer", "file": FILE,
        "owner": "ann@desk/run-1", "takeover": false, "canaryctl": "0.1.0",
        "versions": {"stable": "3.1", "canary": "3.2<i>"},
    });
    let told = json!([{"metric": "failures", "conclusion": "fail",
        "reason": "failures: canary 3.2 failed 16 of 1100 (1.45 %), stable 9 of 8000 (0.11 %); tolerated is 0.5 points more"}]);
    let reason = json!({"cause": "metric", "metric": "failures", "verdict": told[0]["reason"]});
    let mut text = format!(
        "{start}\n{}\n",
        step(
            0,
            "Progressing",
            &json!([
        {"event": "started", "epoch": 7, "attempt": 1}, {"event": "step", "step": 0, "weight": 5}]),
            &json!([])
        )
    );
    for t in 1..=110 {
        let _ = writeln!(text, "{}", line(t));
        let events = match t {
            60 => json!([{"event": "step", "step": 1, "weight": 20}]),
            75 => {
                json!([{"event": "envoyLost", "envoy": "http://10.0.0.7:9901", "why": "connection refused"}])
            }
            110 => json!([{"event": "aborting", "reason": reason}]),
            _ => json!([]),
        };
        let verdicts = if t == 110 { told.clone() } else { json!([]) };
        let _ = writeln!(
            text,
            "{}",
            step(t, if t < 110 { "Progressing" } else { "Aborting" }, &events, &verdicts)
        );
    }
    let _ = writeln!(
        text,
        "{}",
        step(111, "Degraded", &json!([{"event": "degraded", "reason": reason}]), &json!([]))
    );
    let end = json!({"record": "end", "at": "2026-03-01T12:01:52.000Z", "phase": "Degraded", "reason": reason});
    let _ = writeln!(text, "{end}");
    let path = dir.path().join("scorer.jsonl");
    std::fs::write(&path, text).unwrap();
    path
}

fn report(arguments: &[&str]) -> Run {
    let dir = TempDir::new().unwrap();
    let path = journal(&dir);
    ctl(&[], &[&["report", "scorer", "--journal", path.to_str().unwrap()], arguments].concat())
}

/// A page without what the binary has built in: scripts and styles.
fn without_assets(page: &str) -> String {
    let cut = |page: &str, begin: &str, end: &str| {
        let (before, rest) = page.split_once(begin).unwrap();
        let (_, after) = rest.split_once(end).unwrap();
        format!("{before}{begin}…{end}{after}")
    };
    let page = cut(page, "script-src ", "; base-uri");
    let page = cut(&page, "<style>", "</style>");
    cut(&page, "<script>", "</script>")
}

#[test]
fn the_page_of_a_recorded_rollout() {
    let page = report(&[]).exits(0).stdout;
    insta::assert_snapshot!(without_assets(&page));
}

#[test]
fn the_page_runs_its_own_script_alone_and_loads_nothing() {
    let page = report(&[]).exits(0).stdout;
    assert!(
        page.contains("content=\"default-src &#39;none&#39;; script-src &#39;sha256-"),
        "{}",
        &page[..600]
    );
    let lower = without_assets(&page).to_lowercase();
    for forbidden in [
        "src=",
        "href=",
        "url(",
        "@import",
        "onload",
        "javascript:",
        "<i>",
        "http-equiv=\"refresh",
        "<link",
    ] {
        assert!(!lower.contains(forbidden), "{forbidden}");
    }
    assert_eq!(lower.matches("<script").count(), 2, "its own, and the charts' data");
    assert!(page.contains("3.2&#60;i&#62;") && page.contains("&#60;script&#62;alert(&#39;what"));
    let data = page.split("id=\"history\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    let charts: Vec<&Value> =
        data["charts"].as_array().unwrap().iter().map(|chart| &chart["id"]).collect();
    assert_eq!(charts[..3], ["weight", "failures", "total-p50"]);
    let evidence =
        data["charts"].as_array().unwrap().iter().find(|chart| chart["id"] == "evidence");
    assert_eq!(evidence.unwrap()["limit"]["at"], 100.0, "the threshold is drawn");
}

#[test]
fn as_data_and_as_a_file() {
    let data = report(&["-o", "json"]).exits(0).json();
    assert_eq!(
        (&data["phase"], &data["versions"]["canary"]["version"]),
        (&json!("Degraded"), &json!("3.2<i>"))
    );
    assert_eq!(data["points"].as_array().unwrap().len(), 110);
    let evidence = data["points"][109]["evidence"][0].as_f64().unwrap();
    assert_eq!(evidence, 1.0, "the judge says once more what it said");
    let dir = TempDir::new().unwrap();
    let (path, file) = (journal(&dir), dir.path().join("page.html"));
    let (path, file) = (path.to_str().unwrap(), file.to_str().unwrap());
    let run = ctl(&[], &["report", "scorer", "--journal", path, "--write", file]).exits(0);
    assert_eq!(
        (run.stdout.as_str(), std::fs::read_to_string(file).unwrap().get(..15)),
        ("", Some("<!doctype html>"))
    );
    ctl(&[], &["report", "other", "--journal", path])
        .exits(2)
        .says("no journal of a rollout \"other\"");
    ctl(&[], &["report", "scorer", "--journal", "/nowhere/x.jsonl"]).exits(2);
}
