//! Rollouts from begin to end.

use super::*;

#[test]
fn a_good_version_gets_all_traffic() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&quick(&[&envoy])), &[]);
    controller.hears("step 1 of 2: weight 5 %");
    controller.hears("step 2 of 2: weight 50 %");
    controller.hears("Healthy");
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    let runtime = envoy.envoy().merged();
    assert_eq!(runtime["canary.scorer.weight"], "100");
    assert_eq!(runtime["canary.scorer.enabled"], "100");
    assert!(!runtime.contains_key("canary.scorer.lease"), "it is to stay: {runtime:?}");
    assert!(!runtime.contains_key("canary.scorer.owner"), "nobody drives it any more");
    assert_eq!(place.records().last().unwrap()["record"], "end");
}

#[test]
fn a_bad_version_is_rolled_back() {
    let (place, envoy) = (Place::new(), busy(30));
    let mut controller = Controller::start(&place, &place.file(&quick(&[&envoy])), &[]);
    controller.hears("rolling back to stable: failures");
    assert_eq!(controller.ends(), 1);
    assert!(controller.said("Degraded"), "{:#?}", controller.said);
    let runtime = envoy.envoy().merged();
    assert_eq!(runtime["canary.scorer.weight"], "0");
    assert_eq!(runtime["canary.scorer.enabled"], "0");
    let end = place.records().last().unwrap().clone();
    assert_eq!((&end["record"], &end["phase"]), (&json!("end"), &json!("Degraded")));
    assert_eq!(end["reason"]["cause"], "metric", "{end}");
}
