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
    assert_eq!(runtime["canary.scorer.weight"], "100@3.2");
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
    assert_eq!(runtime["canary.scorer.weight"], "0@3.2");
    assert_eq!(runtime["canary.scorer.enabled"], "0");
    let end = place.records().last().unwrap().clone();
    assert_eq!((&end["record"], &end["phase"]), (&json!("end"), &json!("Degraded")));
    assert_eq!(end["reason"]["cause"], "metric", "{end}");
}

#[test]
fn a_canary_that_never_answers_is_never_certified() {
    let (place, envoy) = (Place::new(), busy(0));
    envoy.envoy().traffic.as_mut().unwrap().canary_answers = false;
    let mut rollout = quick(&[&envoy]);
    rollout["steps"] =
        json!([{"setWeight": 50}, {"pause": {"untilConfident": true, "timeout": "1h"}}]);
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears("step 1 of 1");
    let total = || envoy.envoy().numbers["wasmcustom.canary.scorer.canary.3.2.rq_total"];
    let end = Instant::now() + patience();
    while total() < 1_500 {
        assert!(Instant::now() < end, "{} requests", total());
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = controller.comes_to(|status| status["weight"]["set"] == 50);
    assert_eq!(status["phase"], "Progressing", "{status:#}");
    let judged: u64 = place
        .records()
        .iter()
        .filter(|record| record["record"] == "observation")
        .map(|line| line["canary"]["total"].as_u64().unwrap_or(0))
        .sum();
    assert_eq!(judged, 0, "a client that left is not a trial");
}
