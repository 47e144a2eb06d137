//! Metrics that pause or warn, and a sample ratio that holds.

use super::hooks::Web;
use super::*;

fn value(value: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"{value}"]}}}}"#)
}

fn with_gpu(envoy: &Fake, prometheus: &Web, action: &str) -> Value {
    let mut rollout = quick(&[envoy]);
    rollout["steps"] = json!([
        {"setWeight": 5}, {"pause": {"duration": "2s"}},
        {"setWeight": 50}, {"pause": {}},
    ]);
    rollout["analysis"]["metrics"].as_array_mut().unwrap().push(json!({
        "name": "gpu", "kind": "prometheus", "address": prometheus.url, "query": "gpu",
        "failureCondition": "result > 0.9", "interval": "1s", "onFailure": action,
    }));
    rollout
}

/// The metric `gpu` as `get -o json` shows it.
fn gpu(status: &Value) -> [&str; 2] {
    let metrics = status["metrics"].as_array().unwrap();
    let gpu = metrics.iter().find(|one| one["metric"] == "gpu").unwrap();
    [gpu["action"].as_str().unwrap(), gpu["status"].as_str().unwrap()]
}

#[test]
fn a_metric_that_pauses_asks_an_operator() {
    let (place, envoy, prometheus) = (Place::new(), busy(0), Web::start(200, &value("0.95")));
    let file = place.file(&with_gpu(&envoy, &prometheus, "pause"));
    let mut controller = Controller::start(&place, &file, &[]);
    controller.hears("paused: an operator: gpu finds the canary worse than tolerated");
    let paused = controller.comes_to(|status| status["phase"] == "Paused");
    assert_eq!(gpu(&paused), ["pause", "paused"], "{paused:#}");
    assert!(paused["waits_for"].as_str().unwrap().contains("gpu"), "{paused:#}");
    assert_eq!(paused["weight"]["set"], 5);
    let text = controller.ctl(&["get", "rollout", "scorer"]).exits(0).stdout;
    assert!(text.contains("overrules it"), "{text}");
    controller.ctl(&["resume", "scorer", "--reason", "let it ask again"]).exits(0);
    controller.hears("an operator resumed: gpu asks again");
    controller.hears("paused: an operator: gpu");
    controller.ctl(&["promote", "scorer", "--reason", "known"]).exits(0);
    controller.hears("an operator overruled gpu for the rest of the rollout");
    controller.hears("step 2 of 2: weight 50 %");
    let on = controller.comes_to(|status| status["weight"]["in_force"] == 50);
    assert_eq!(gpu(&on), ["pause", "pass"], "{on:#}");
    // A controller that is started again knows it from the journal.
    controller.kill();
    let mut controller = Controller::start(&place, &file, &[]);
    assert!(controller.said("continuing"), "{:#?}", controller.said);
    let on = controller.comes_to(|status| status["phase"] == "Paused");
    assert_eq!(gpu(&on), ["pause", "pass"], "{on:#}");
    let journal = std::fs::read_to_string(place.journal()).unwrap();
    for decision in ["asksAgain", "overruled"] {
        let named = |line: &str| line.contains(decision) && line.contains("\"gpu\"");
        assert!(journal.lines().any(named), "{decision}");
    }
    controller.ctl(&["promote", "scorer"]).exits(0);
    assert_eq!(controller.ends(), 0);
}

#[test]
fn a_metric_that_warns_is_told_and_changes_nothing() {
    let (place, envoy, prometheus) = (Place::new(), busy(0), Web::start(200, &value("0.95")));
    let file = place.file(&with_gpu(&envoy, &prometheus, "warn"));
    let mut controller = Controller::start(&place, &file, &[]);
    controller.hears("gpu finds the canary worse than tolerated (onFailure: warn)");
    controller.hears("step 2 of 2: weight 50 %");
    let status = controller.comes_to(|status| status["phase"] == "Paused");
    assert_eq!(gpu(&status), ["warn", "warned"], "{status:#}");
    controller.ctl(&["promote", "scorer"]).exits(0);
    assert_eq!(controller.ends(), 0);
}
