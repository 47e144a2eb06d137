//! The shipped dashboard: that Grafana can take it, and that every query in it gives data in a real
//! Prometheus.

use std::collections::BTreeSet;

use canary_integration::artifacts;
use serde_json::{Value, json};

use crate::observed::ObservedRig;

/// The last version of the classic dashboard schema, which Grafana 12 and 13 read as well as their own.
const SCHEMA: u64 = 42;
/// What Grafana puts in place of `$__rate_interval`: long enough for four of the test's scrapes.
const RATE_INTERVAL: &str = "5s";

fn dashboard() -> Value {
    let file = artifacts::root().join("envoy/grafana/canary.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The panels that show something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().unwrap().iter();
    all.filter(|panel| panel["type"] != "row").collect()
}

/// A query as Grafana sends it.
fn filled_in(query: &str) -> String {
    let filled = query.replace("$__rate_interval", RATE_INTERVAL).replace("$rollout", "demo");
    assert!(!filled.contains('$'), "an unknown variable: {query}");
    filled
}

#[tokio::test]
async fn every_query_of_the_dashboard_gives_data() {
    let (observed, dashboard) = (ObservedRig::start().await, dashboard());
    let queries: Vec<&str> = panels(&dashboard)
        .into_iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() > 20, "{queries:?}");
    for query in queries {
        // Not a number is what Grafana draws nothing for.
        let shown = format!("({}) == ({0})", filled_in(query));
        observed.prometheus.values(&shown).await;
    }
    let rollouts = observed.prometheus.values("group by (rollout) (canary_weight_ppm)").await;
    assert_eq!(rollouts[0].labels["rollout"], "demo", "what the variable lists");
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let dashboard = dashboard();
    assert_eq!(dashboard["schemaVersion"], SCHEMA);
    assert!(dashboard["id"].is_null(), "an id belongs to one installation");
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "an id twice: {panel:#}");
    }
    for panel in panels(&dashboard) {
        assert!(matches!(panel["type"].as_str(), Some("timeseries" | "stat")), "{panel:#}");
        assert_eq!(panel["datasource"], source, "{panel:#}");
        let targets = panel["targets"].as_array().unwrap();
        let refs: BTreeSet<&str> =
            targets.iter().map(|one| one["refId"].as_str().unwrap()).collect();
        assert_eq!(refs.len(), targets.len(), "{panel:#}");
        assert!(targets.iter().all(|target| target["datasource"] == source), "{panel:#}");
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "rollout"]);
    assert_eq!(variables[1]["query"]["query"], "label_values(canary_weight_ppm, rollout)");
}

#[test]
fn its_panels_lie_side_by_side() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let at = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel:#}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "two panels in one place: {panel:#}");
            }
        }
    }
    let place = |title: &str| {
        let panel = panels(&dashboard).into_iter().find(|panel| panel["title"] == title);
        panel.unwrap_or_else(|| panic!("no panel {title}"))["gridPos"].clone()
    };
    for shown in ["requests", "failure share", "time"] {
        let (stable, canary) =
            (place(&format!("stable: {shown}")), place(&format!("canary: {shown}")));
        assert_eq!((&stable["y"], &stable["h"]), (&canary["y"], &canary["h"]));
        assert_eq!((&stable["x"], &canary["x"]), (&json!(0), &json!(12)));
    }
}

#[test]
fn evidence_has_its_line() {
    let dashboard = dashboard();
    let evidence = panels(&dashboard).into_iter().find(|panel| {
        panel["targets"][0]["expr"].as_str().unwrap().starts_with("canaryctl_evidence_ratio")
    });
    let defaults = &evidence.unwrap()["fieldConfig"]["defaults"];
    assert_eq!(defaults["custom"]["thresholdsStyle"]["mode"], "line");
    assert_eq!(defaults["thresholds"]["steps"][1]["value"], 1);
}
