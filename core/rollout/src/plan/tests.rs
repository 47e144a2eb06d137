use serde_json::{Value, json};

use super::*;

fn spec(steps: Value, metrics: Value) -> Spec {
    let file = json!({"rollout": "r", "steps": steps, "analysis": {"metrics": metrics}});
    Spec::read(&file).unwrap()
}

fn failures(margin: &str) -> Value {
    json!([{"name": "failures", "kind": "failureRate", "margin": margin}])
}

const TRAFFIC: TrafficEstimate = TrafficEstimate { rps: 100.0, baseline: 0.001 };

/// With outcomes that are known at once.
fn at_once(spec: &Spec, traffic: TrafficEstimate) -> RolloutPlan {
    plan(spec, traffic, Duration::ZERO)
}

/// Every step is longer by the age, sees the requests of that time, too, and finds no more for it.
#[test]
fn each_step_takes_the_outcome_age_longer() {
    let steps = json!([
        {"setWeight": 5}, {"pause": {"duration": "1m", "minRequests": 1000}},
        {"setWeight": 10}, {"pause": {"untilConfident": true}},
        {"setWeight": 50}, {"pause": {"duration": "30s"}},
    ]);
    let spec = spec(steps, failures("0.5%"));
    let (at_once, later) = (at_once(&spec, TRAFFIC), plan(&spec, TRAFFIC, Duration::from_secs(20)));
    assert_eq!((at_once.outcome_age, later.outcome_age), (0, 20));
    for (one, other) in at_once.steps.iter().zip(&later.steps) {
        assert_eq!(other.seconds, one.seconds.map(|seconds| seconds + 20));
        let more = (20.0 * TRAFFIC.rps * one.weight.fraction()).round() as u64;
        assert_eq!(other.canary_requests, one.canary_requests.map(|requests| requests + more));
        assert_eq!(other.smallest_regression, one.smallest_regression);
    }
    assert_eq!(later.seconds, at_once.seconds.map(|seconds| seconds + 60));
}

#[test]
fn durations_and_requests() {
    let steps = json!([
        {"setWeight": 1}, {"pause": {"duration": "10m", "minRequests": 500}},
        {"setWeight": 5}, {"pause": {"duration": "1m", "minRequests": 1000}},
        {"setWeight": 50}, {"pause": {"duration": "30s"}}, {"pause": {"duration": "30s"}},
        {"setWeight": 60},
    ]);
    let plan = at_once(&spec(steps, failures("0%")), TRAFFIC);
    assert_eq!(plan.warnings, []);
    let step = |at: usize| (plan.steps[at].seconds, plan.steps[at].canary_requests);
    assert_eq!(step(0), (Some(600), Some(600)));
    assert_eq!(step(1), (Some(200), Some(1_000)), "requests take longer than the duration");
    assert_eq!(step(2), (Some(60), Some(3_000)), "pauses follow one another");
    assert_eq!(step(3), (Some(1), Some(60)), "one block");
    assert_eq!(plan.seconds, Some(861));
    assert_eq!(plan.false_abort, Some(0.01));
    let smallest: Vec<f64> =
        plan.steps.iter().map(|step| step.smallest_regression.unwrap()).collect();
    // 1 % takes some 400 canary requests on average and 1,000 with 90 % power.
    assert!((0.008..0.025).contains(&smallest[0]), "{smallest:?}");
    assert!(smallest[3] > smallest[2], "fewer requests see less: {smallest:?}");
}

#[test]
fn harm_grows_as_the_canary_fails_less() {
    let steps = json!([{"setWeight": 5}, {"pause": {"duration": "2h"}}]);
    let plan = at_once(&spec(steps, failures("0%")), TRAFFIC);
    let harm = |share: &str| plan.harm[share].unwrap();
    // A block of 100 requests holds five of the canary's.
    assert!((2.0..=5.0).contains(&harm("1")), "{plan:?}");
    assert!((1.0..5.0).contains(&harm("0.1")), "{plan:?}");
    assert!((3.0..8.0).contains(&harm("0.01")), "{plan:?}");
}

#[test]
fn an_abort_has_a_median_and_a_90th_percentile() {
    let steps = json!([{"setWeight": 5}, {"pause": {"duration": "2h"}}]);
    let plan = at_once(&spec(steps, failures("0%")), TRAFFIC);
    let abort = |share: &str| (plan.abort[share].median.unwrap(), plan.abort[share].p90.unwrap());
    assert_eq!(abort("1"), (5, 8), "one block of 100 requests; 90 %: a block that holds few");
    // The benchmark's median at 30 requests a second: 546 for 0.1 -> 1 %.
    let (median, p90) = abort("0.01");
    assert!((480..620).contains(&median), "{median}");
    assert!((1_000..1_500).contains(&p90), "{p90}");
    assert_eq!(plan.harm["0.01"].map(f64::round), Some((median as f64 * 0.01).round()));
    // What is assigned until the deciding requests have the age is harmed, too.
    let file = spec(json!([{"setWeight": 5}, {"pause": {"duration": "2h"}}]), failures("0%"));
    let later = super::plan(&file, TRAFFIC, Duration::from_secs(20)).abort["1"];
    assert_eq!(later, AbortForecast { median: Some(105), p90: Some(108) });
    let identical = TrafficEstimate { baseline: 0.01, ..TRAFFIC };
    let steps = json!([{"setWeight": 5}, {"pause": {"duration": "2h"}}]);
    let found = at_once(&spec(steps, failures("0%")), identical).abort["0.01"];
    assert_eq!(found, AbortForecast::default(), "nothing to find");
}

#[test]
fn what_a_person_decides_is_unknown() {
    let steps = json!([{"setWeight": 5}, {"pause": {}}, {"setWeight": 50}]);
    let plan = at_once(&spec(steps, failures("0%")), TRAFFIC);
    assert_eq!(plan.warnings, [PlanWarning::AsksOperator { step: 0 }]);
    let first = &plan.steps[0];
    assert_eq!(
        (first.seconds, first.canary_requests, first.smallest_regression),
        (None, None, None)
    );
    assert_eq!((plan.steps[1].seconds, plan.seconds), (Some(1), None));
    assert!(plan.harm["1"].is_some(), "it is found before the person comes");
}

#[test]
fn confidence_takes_what_the_certificate_takes() {
    let wait = |timeout: &str| {
        let steps = json!([{"setWeight": 5},
            {"pause": {"untilConfident": true, "timeout": timeout}}]);
        at_once(&spec(steps, failures("0.5%")), TRAFFIC)
    };
    let plan = wait("1h");
    assert_eq!(plan.warnings, []);
    // 935 canary requests on average, as the exact relative entropy has it.
    let requests = plan.steps[0].canary_requests.unwrap();
    assert!((880..990).contains(&requests), "{requests}");
    let plan = wait("1m");
    assert_eq!(
        (plan.steps[0].seconds, plan.warnings),
        (Some(60), vec![PlanWarning::TimesOut { step: 0 }])
    );
    let steps = json!([{"setWeight": 5}, {"pause": {"untilConfident": true}}]);
    let plan = at_once(&spec(steps, failures("0%")), TrafficEstimate { baseline: 0.0, ..TRAFFIC });
    assert_eq!(
        (plan.seconds, plan.warnings),
        (None, vec![PlanWarning::NeverConfident { step: 0 }])
    );
}

#[test]
fn the_ladder_takes_longer_with_a_smaller_budget() {
    let file = |budget: &str| {
        let file = json!({"rollout": "r", "steps": "auto", "harmBudget": budget,
            "analysis": {"metrics": failures("0.1%")}});
        let plan = at_once(&Spec::read(&file).unwrap(), TRAFFIC);
        assert_eq!(plan.warnings, []);
        let weights: Vec<f64> = plan.steps.iter().map(|step| step.weight.percent()).collect();
        assert_eq!(weights, [1.0, 5.0, 10.0, 25.0, 50.0]);
        plan.seconds.unwrap()
    };
    let (large, small) = (file("0.5%"), file("0.1%"));
    // Simulated medians: 85 s and 630 s.
    assert!((60..200).contains(&large) && (400..1_200).contains(&small), "{large} {small}");
}

#[test]
fn a_cold_canary_and_other_metrics() {
    let steps = json!([{"setWeight": 1}, {"setWeight": 2}]);
    let metrics = json!([{"name": "l", "kind": "latency"}]);
    let plan = at_once(&spec(steps, metrics), TrafficEstimate { rps: 2.0, baseline: 0.0 });
    let seconds: Vec<_> = plan.steps.iter().map(|step| step.seconds).collect();
    assert_eq!(seconds, [Some(2_500), Some(25)], "50 canary requests, then one in a block");
    assert_eq!((plan.steps[0].smallest_regression, plan.harm["1"]), (None, None));
    let metrics = json!([{"name": "p", "kind": "prometheus", "address": "http://p", "query": "q",
        "failureCondition": "result > 1"}]);
    let steps = json!([{"setWeight": 1}]);
    assert_eq!(at_once(&spec(steps, metrics), TRAFFIC).false_abort, None);
}

/// What pauses or warns has a budget of its own: it takes nothing from the abort class and rolls nothing back.
#[test]
fn only_metrics_that_abort_are_in_the_forecast_of_an_abort() {
    let steps = || json!([{"setWeight": 5}, {"pause": {"duration": "10m"}}]);
    let mut metrics = failures("0.1%");
    let alone = at_once(&spec(steps(), metrics.clone()), TRAFFIC);
    for (name, action) in [("one", "pause"), ("two", "warn")] {
        let more =
            json!({"name": name, "kind": "failureRate", "margin": "0%", "onFailure": action});
        metrics.as_array_mut().unwrap().push(more);
    }
    let beside = at_once(&spec(steps(), metrics.clone()), TRAFFIC);
    assert_eq!((&beside.abort, &beside.steps), (&alone.abort, &alone.steps));
    assert_eq!(beside.false_abort, Some(0.01));
    metrics.as_array_mut().unwrap().remove(0);
    let file =
        json!({"rollout": "r", "manual": true, "steps": steps(), "analysis": {"metrics": metrics}});
    let nothing = at_once(&Spec::read(&file).unwrap(), TRAFFIC);
    assert_eq!(nothing.abort["1"], AbortForecast::default());
    assert_eq!(nothing.false_abort, Some(0.0), "nothing rolls back by itself");
}

/// A measurement takes the same steps and has no handover.
#[test]
fn a_measurement_is_planned_without_a_handover() {
    let steps = json!([{"setWeight": 50}, {"pause": {"duration": "10m"}}]);
    let file = |goal: &str| {
        let metrics = failures("0.1%");
        json!({"rollout": "r", "goal": goal, "steps": steps, "analysis": {"metrics": metrics}})
    };
    let planned = |goal: &str| at_once(&Spec::read(&file(goal)).unwrap(), TRAFFIC);
    let (promote, measure) = (planned("promote"), planned("measure"));
    assert_eq!((&promote.steps, &promote.abort), (&measure.steps, &measure.abort));
    assert_eq!((measure.handover, measure.warnings), (HandoverPlan::default(), vec![]));
    assert!(promote.handover.requests > 0);
}
