//! `goal: measure`: an A/B test from its start to its result.

use super::hooks::Web;
use super::*;

fn measuring(envoy: &Fake, afterwards: &str) -> Value {
    let mut rollout = quick(&[envoy]);
    rollout["goal"] = json!("measure");
    rollout["afterwards"] = json!(afterwards);
    rollout
}

#[test]
fn a_measurement_ends_on_stable_with_its_effects() {
    let (place, envoy, hook) = (Place::new(), busy(0), Web::start(200, ""));
    let mut rollout = measuring(&envoy, "stable");
    rollout["notify"] = json!([{"on": ["measured", "completed"], "url": hook.url}]);
    let file = place.file(&rollout);
    let mut controller = Controller::start(&place, &file, &[]);
    controller.hears("step 1 of 2");
    controller.ctl(&["promote", "scorer", "--full"]).exits(1).says("goal: measure");
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    let closing = "Measured: all traffic is back on stable. Canary against stable: failures: ";
    assert!(controller.said(closing), "{:#?}", controller.said);
    assert!(!controller.said("weight 100 %"), "nothing is promoted: {:#?}", controller.said);
    let runtime = envoy.envoy().merged();
    assert_eq!(
        (&*runtime["canary.scorer.weight"], &*runtime["canary.scorer.enabled"]),
        ("0@3.2", "100")
    );
    assert!(!runtime.contains_key("canary.scorer.lease"), "{runtime:?}");
    assert!(!runtime.contains_key("canary.scorer.owner"), "{runtime:?}");
    let told = hook.bodies();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0]["metadata"]["topic"], "measured");
    let event = told[0]["metadata"]["eventMessage"].as_str().unwrap();
    assert!(event.starts_with("Measured: ") && event.contains("failures: "), "{event}");
    let journal = place.journal();
    let report = ["report", "scorer", "--journal", journal.to_str().unwrap(), "-o", "json"];
    let report = run(&mut command(&report)).exits(0).json();
    assert_eq!(report["phase"], "Measured", "{report:#}");
    assert!(report["effects"].as_array().is_some_and(|effects| !effects.is_empty()), "{report:#}");
    let replayed =
        ["replay", journal.to_str().unwrap(), "-f", file.to_str().unwrap(), "-o", "json"];
    let replayed = run(&mut command(&replayed)).exits(0).json();
    assert_eq!(replayed["outcome"], "measured", "{replayed:#}");
}

#[test]
fn what_was_kept_is_shown_and_taken_back_by_abort() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.file(&measuring(&envoy, "keep"));
    let mut controller = Controller::start(&place, &file, &["--stay"]);
    controller.hears("Measured: the canary keeps 50 % of requests");
    let status = controller.comes_to(|status| status["phase"] == "Measured");
    assert_eq!(status["weight"]["set"], 50, "{status:#}");
    let effect = &status["effects"][0];
    assert_eq!((&effect["metric"], &effect["since"]), (&json!("failures"), &json!("start")));
    let watched = controller.ctl(&["status", "scorer", "--watch"]).exits(0);
    assert_eq!(watched.stdout, "Measured\n");
    controller.ctl(&["promote", "scorer"]).exits(1).says("its measurement is over");
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "50@3.2");
    controller.ctl(&["abort", "scorer"]).exits(0);
    controller.comes_to(|status| status["phase"] == "Degraded");
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "0@3.2");
}

#[test]
fn lint_names_what_makes_no_sense_in_a_measurement() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut rollout = measuring(&envoy, "keep");
    rollout["gates"] = json!([{"before": "promotion", "url": "http://gate/"}]);
    rollout["deploy"] = json!({"minRequests": 50});
    let file = place.file(&rollout);
    let lint = run(&mut command(&["lint", "-f", file.to_str().unwrap()])).exits(2);
    let said = format!("{}{}", lint.stdout, lint.stderr);
    for path in ["gates[0].before", "deploy.minRequests"] {
        assert!(said.contains(path), "{path}: {said}");
    }
}
