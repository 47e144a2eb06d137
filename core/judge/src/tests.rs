mod budgets;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::observation::Measurement;
use super::verdict::{Conclusion, Findings, InsufficientData};
use super::*;
use canary_model::document::{ConfigErrors, Node};
use canary_model::histogram::{Bin, Histogram};
use canary_model::weight::Weight;

fn analysis(metrics: serde_json::Value) -> Analysis {
    let value = json!({"falseAbort": "1%", "metrics": metrics});
    let mut problems = ConfigErrors::default();
    let read = Analysis::read(&Node::root(&value), &mut problems);
    problems.finish(read).unwrap()
}

fn failures() -> serde_json::Value {
    json!({"name": "failures", "kind": "failureRate", "margin": "0%"})
}

fn all_kinds() -> Analysis {
    analysis(json!([
        failures(),
        {"name": "latency", "kind": "latency"},
        {"name": "label", "kind": "distribution", "signal": "label"},
        {"name": "checkout", "kind": "conversion", "signal": "checkout", "margin": "1%"},
        {"name": "gpu", "kind": "prometheus", "address": "http://p:9090", "query": "up",
         "failureCondition": "result > 0.9"},
        {"name": "ttft", "kind": "latency", "of": "ttfb"},
        {"name": "tokens", "kind": "values", "signal": "tokens"},
    ]))
}

fn line(t: u32, weight: u32, [nc, ec, ns, es]: [u64; 4]) -> Observation {
    let role = |total, failure| json!({"total": total, "failure": failure, "assigned": total});
    let line = json!({"t": t, "weight": weight, "canary": role(nc, ec), "stable": role(ns, es)});
    Observation::read(&line.to_string()).unwrap()
}

#[test]
fn a_bad_canary_is_rolled_back_with_a_reason() {
    let mut judge = Judge::new(&analysis(json!([failures()])), 3_600);
    assert_eq!(judge.waiting_for_data(), ["failures"]);
    for t in 0..10 {
        judge.observe(&line(t, 5, [50, 0, 950, 1]));
        assert_eq!(judge.abort(), None);
    }
    assert!(judge.waiting_for_data().is_empty());
    judge.observe(&line(10, 5, [50, 10, 950, 1]));
    let abort = judge.abort().unwrap();
    assert_eq!((abort.metric.as_str(), abort.conclusion), ("failures", Conclusion::Fail));
    let Findings::Shares { counts, .. } = abort.findings else { panic!("shares") };
    assert_eq!((counts.canary.trials, counts.canary.events, counts.stable.events), (550, 10, 11));
    let evidence = abort.evidence.unwrap();
    assert!(evidence.suffices() && evidence.omega == 1.0 && evidence.window.is_none());
    for t in 11..99 {
        judge.observe(&line(t, 5, [50, 0, 950, 20]));
    }
    assert_eq!(judge.abort().unwrap().evidence, Some(evidence), "what was decided stays");
}

#[test]
fn shares_are_equal_without_prometheus_and_the_largest_evidence_decides() {
    let mut judge = Judge::new(&all_kinds(), 3_600);
    let with = |latency: u64, failures: u64| {
        let text = json!({"t": 1, "weight": 10,
            "stable": {"total": 900, "failure": 1, "rq_time_us": [[1000, 100, 600], [2000, 100, 300]]},
            "canary": {"total": 100, "failure": failures, "rq_time_us": [[latency, 100, 100]]},
            "measurements": {"gpu": 0.5}});
        Observation::read(&text.to_string()).unwrap()
    };
    judge.observe(&with(1_000, 0));
    let verdicts = judge.observe(&with(9_000, 60));
    let omegas: Vec<_> =
        verdicts.iter().map(|verdict| verdict.evidence.map(|evidence| evidence.omega)).collect();
    assert_eq!(
        omegas,
        [
            Some(1.0 / 6.0),
            Some(1.0 / 6.0),
            Some(1.0 / 6.0),
            Some(1.0 / 6.0),
            None,
            Some(1.0 / 6.0),
            Some(1.0 / 6.0)
        ]
    );
    let failed = |verdict: &&Verdict| verdict.conclusion == Conclusion::Fail;
    let failed: Vec<_> = verdicts.iter().filter(failed).map(|v| v.metric.as_str()).collect();
    assert_eq!(failed, ["failures", "latency"]);
    let weighted = |index: usize| verdicts[index].evidence.unwrap().log_weighted();
    let strongest = if weighted(0) > weighted(1) { "failures" } else { "latency" };
    assert_eq!(judge.abort().unwrap().metric, strongest);
    assert_eq!(judge.waiting_for_data(), ["label", "checkout", "ttft", "tokens"], "no data holds");
}

#[test]
fn prometheus_alone_can_roll_back() {
    let mut judge = Judge::new(&all_kinds(), 3_600);
    let mut hot = line(1, 5, [50, 0, 950, 1]);
    hot.measurements.insert("gpu".to_owned(), observation::Measurement::Values(vec![0.95]));
    judge.observe(&hot);
    let abort = judge.abort().unwrap();
    assert_eq!((abort.metric.as_str(), abort.evidence), ("gpu", None));
    let verdict::Findings::Query { values, condition, .. } = abort.findings else {
        panic!("query")
    };
    assert_eq!(values, [Some(0.95)]);
    assert!(condition.starts_with("failureCondition"), "{condition}");
}

#[test]
fn a_step_wants_a_block_of_both_versions_and_certainty() {
    let spec = json!([{"name": "failures", "kind": "failureRate", "margin": "1%"}]);
    let mut judge = Judge::new(&analysis(spec), 3_600);
    for t in 0..9 {
        judge.observe(&line(t, 20, [200, 0, 800, 1]));
    }
    assert!(judge.waiting_for_data().is_empty() && judge.uncertified().is_empty());
    judge.begin_step(Some(0.004));
    assert_eq!(judge.waiting_for_data(), ["failures"]);
    assert_eq!(judge.uncertified(), ["failures"]);
    judge.observe(&line(10, 50, [0, 0, 500, 1]));
    let verdict = &judge.verdicts()[0];
    assert_eq!(verdict.conclusion, Conclusion::Insufficient);
    assert_eq!(verdict.missing, Some(InsufficientData::BothVersions));
    for t in 11..14 {
        judge.observe(&line(t, 50, [500, 0, 500, 1]));
    }
    assert!(judge.waiting_for_data().is_empty());
    let certified = judge.verdicts()[0].non_inferiority.unwrap();
    assert_eq!((certified.margin, certified.certified_at), (0.004, Some(12.0)));
}

/// Totals and failures are counted at one age, so they belong together at any weight; what is counted when
/// an answer ends belongs to the weight in force, whose change is left out.
#[test]
fn a_change_of_weight_leaves_no_failures_out() {
    let failed = |change: Option<u32>| {
        let mut judge = Judge::new(&analysis(json!([failures()])), 3_600);
        judge.observe(&line(0, 5, [50, 0, 950, 1]));
        let mut bad = line(1, 5, [50, 12, 950, 1]);
        bad.assigned_weight = change.map(|percent| Weight::from_ppm(percent * 10_000).unwrap());
        judge.observe(&bad);
        (judge.abort().is_some(), judge.verdicts()[0].lines.left_out)
    };
    assert_eq!(failed(None), (true, 0));
    assert_eq!(failed(Some(25)), (true, 0));
    let mut judge = Judge::new(&analysis(json!([failures()])), 3_600);
    judge.observe(&line(0, 5, [50, 0, 950, 1]));
    judge.observe(&line(1, 25, [250, 60, 750, 1]));
    assert!(judge.abort().is_some(), "the first line at another weight counts");
}

#[test]
fn what_is_counted_at_the_age_starts_again_when_the_step_counts() {
    let spec = json!([
        {"name": "failures", "kind": "failureRate", "margin": "1%"},
        {"name": "latency", "kind": "latency"},
    ]);
    let mut judge = Judge::new(&analysis(spec), 3_600);
    let observe = |judge: &mut Judge, t: u32| {
        let mut line = line(t, 20, [200, 0, 800, 1]);
        let times = |count| Histogram::from_iter([(Bin::new(1e3, 100.0).unwrap(), count)]);
        line.roles.stable.rq_time_us = Some(times(800));
        line.roles.canary.rq_time_us = Some(times(200));
        judge.observe(&line);
    };
    (0..9).for_each(|t| observe(&mut judge, t));
    judge.begin_step(Some(0.004));
    (9..19).for_each(|t| observe(&mut judge, t));
    assert!(judge.waiting_for_data().is_empty() && judge.uncertified().is_empty());
    judge.begin_counting(Some(0.004));
    assert_eq!(
        (judge.waiting_for_data(), judge.uncertified()),
        (vec!["failures"], vec!["failures"])
    );
    (19..29).for_each(|t| observe(&mut judge, t));
    assert!(judge.waiting_for_data().is_empty() && judge.uncertified().is_empty());
    let certified = judge.verdicts()[0].non_inferiority.unwrap();
    assert!(certified.certified_at > Some(18.0) && certified.margin == 0.004);
}

#[test]
fn the_first_line_says_what_is_counted_and_others_are_passed_over() {
    let mut judge = Judge::new(&analysis(json!([failures()])), 3_600);
    let sticky = json!({"t": 1, "weight": 5, "window": 1, "keyed": true,
        "stable": {"total": 950, "clients": {"total": 95, "failure": 0, "first_failure": 0}},
        "canary": {"total": 50, "clients": {"total": 5, "failure": 5, "first_failure": 5}}});
    let sticky = Observation::read(&sticky.to_string()).unwrap();
    judge.observe(&sticky);
    let evidence = judge.verdicts()[0].evidence.unwrap();
    assert_eq!((evidence.window, evidence.window_share), (Some(1), 0.5));
    let before = judge.clone();
    judge.observe(&line(2, 5, [500, 500, 500, 0]));
    assert_eq!((judge.foreign_lines(), judge.verdicts()), (1, before.verdicts()));
}

#[test]
fn a_later_window_must_reach_more() {
    let lines = |window: u64, failed: u64| {
        let line = json!({"t": window, "weight": 50, "window": window, "keyed": true,
            "stable": {"total": 50, "clients": {"total": 50, "failure": 0, "first_failure": 0}},
            "canary": {"total": 50, "clients": {"total": 50, "failure": failed, "first_failure": 0}}});
        Observation::read(&line.to_string()).unwrap()
    };
    let fails_in = |window: u64, failed: u64| {
        let mut judge = Judge::new(&analysis(json!([failures()])), 3_600);
        for earlier in 1..window {
            judge.observe(&lines(earlier, 0));
        }
        judge.observe(&lines(window, 0));
        judge.observe(&lines(window, failed));
        judge.abort().is_some()
    };
    let needed = |window| (0..50).find(|failed| fails_in(window, *failed)).unwrap();
    assert!(needed(1) < needed(9), "{} {}", needed(1), needed(9));
}

#[test]
fn a_state_is_resumed_only_by_its_own_analysis() {
    let judge = Judge::new(&all_kinds(), 3_600);
    let state = serde_json::to_string(&judge).unwrap();
    assert_eq!(Judge::resume(&state, &all_kinds(), 3_600).unwrap(), judge);
    let other = Judge::resume(&state, &all_kinds(), 60);
    assert_eq!(other, Err(ResumeError::OtherAnalysis));
    for (found, version) in [(0, ""), (3, r#""version":3,"#), (99, r#""version":99,"#)] {
        let other = state.replacen(r#""version":5,"#, version, 1);
        let resumed = Judge::resume(&other, &all_kinds(), 3_600);
        assert_eq!(resumed, Err(ResumeError::OtherVersion { found, expected: 5 }));
    }
    // As the builds before layouts had numbers wrote it.
    let old = r#"{"fingerprint":"16ed36f4a8a5d3d0","allowance":{"omega":"1","log_limit":"4.6"}}"#;
    let resumed = Judge::resume(old, &all_kinds(), 3_600);
    assert_eq!(resumed, Err(ResumeError::OtherVersion { found: 0, expected: 5 }));
    let torn = Judge::resume(&state[..state.len() / 2], &all_kinds(), 3_600);
    assert!(matches!(torn, Err(ResumeError::Unreadable(_))));
}

/// One line of a signal's classes, all of them first observations too.
fn label(t: u32, sticky: bool, classes: [serde_json::Value; 2]) -> Observation {
    let [stable, canary] = classes;
    let signals = json!({"label": {"stable": stable, "canary": canary}});
    let line = json!({"t": t, "weight": 50, "window": 1, "keyed": sticky,
        "stable": {"total": 50}, "canary": {"total": 50},
        "signals": signals, "signals_first": signals});
    Observation::read(&line.to_string()).unwrap()
}

#[test]
fn a_signal_that_nobody_can_read_holds_and_is_named() {
    let spec = json!([{"name": "answers", "kind": "distribution", "signal": "label"}]);
    for sticky in [false, true] {
        let mut judge = Judge::new(&analysis(spec.clone()), 3_600);
        let unreadable = || json!({"unreadable": 50});
        for t in 0..20 {
            judge.observe(&label(t, sticky, [unreadable(), unreadable()]));
        }
        assert_eq!(judge.waiting_for_data(), ["answers"]);
        let verdict = &judge.verdicts()[0];
        assert_eq!(verdict.conclusion, Conclusion::Insufficient);
        let (signal, unreadable) = ("label".to_owned(), 2_000);
        let missing = InsufficientData::ReadableValues { signal, unreadable };
        assert_eq!(verdict.missing, Some(missing));
        judge.observe(&label(20, sticky, [json!({"cat": 50}), json!({"cat": 50})]));
        assert!(judge.waiting_for_data().is_empty(), "one block of values is data");
        assert_eq!(judge.abort(), None);
    }
}

/// Values that can't be read are in no histogram; a class of the same name counts them.
#[test]
fn values_that_nobody_can_read_hold_and_are_named() {
    let spec = json!([{"name": "cost", "kind": "values", "signal": "tokens"}]);
    for sticky in [false, true] {
        let mut judge = Judge::new(&analysis(spec.clone()), 3_600);
        let observe = |judge: &mut Judge, t: u32, values: serde_json::Value| {
            let unreadable =
                json!({"tokens": {"stable": {"unreadable": 40}, "canary": {"unreadable": 10}}});
            let line = json!({"t": t, "weight": 50, "window": 1, "keyed": sticky,
                "stable": {"total": 50}, "canary": {"total": 50},
                "signals": unreadable, "signals_first": unreadable,
                "values": values, "values_first": values});
            judge.observe(&Observation::read(&line.to_string()).unwrap());
        };
        (0..20).for_each(|t| observe(&mut judge, t, json!({})));
        assert_eq!(judge.waiting_for_data(), ["cost"]);
        let (signal, unreadable) = ("tokens".to_owned(), 1_000);
        let missing = Some(InsufficientData::ReadableValues { signal, unreadable });
        assert_eq!(judge.verdicts()[0].missing, missing);
        let values = json!({"tokens": {"stable": [[100, 10, 99]], "canary": [[100, 10, 99]]}});
        (20..23).for_each(|t| observe(&mut judge, t, values.clone()));
        assert!(judge.waiting_for_data().is_empty(), "blocks of values are data");
        assert_eq!(judge.abort(), None);
    }
}

#[test]
fn a_signal_that_only_the_canary_leaves_unreadable_rolls_back() {
    let spec = json!([{"name": "answers", "kind": "distribution", "signal": "label"}]);
    for sticky in [false, true] {
        let mut judge = Judge::new(&analysis(spec.clone()), 3_600);
        for t in 0..20 {
            judge.observe(&label(t, sticky, [json!({"cat": 50}), json!({"unreadable": 50})]));
        }
        assert_eq!(judge.abort().map(|verdict| verdict.metric), Some("answers".to_owned()));
    }
}

#[test]
fn inconclusive_measurements_are_named_until_accepted() {
    let spec = json!([{"name": "gpu", "kind": "prometheus", "address": "http://p:9090", "query": "up",
        "successCondition": "result < 1", "failureCondition": "result > 2", "inconclusiveLimit": 1}]);
    let mut judge = Judge::new(&analysis(spec), 3_600);
    let measure = |judge: &mut Judge, value: f64| {
        let values = Measurement::Values(vec![value]);
        let measurements = BTreeMap::from([("gpu".to_owned(), values)]);
        judge.take(&Observation { measurements, ..Observation::default() });
    };
    measure(&mut judge, 1.5);
    assert!(judge.inconclusive().is_empty() && judge.waiting_for_data().is_empty());
    measure(&mut judge, 1.5);
    assert_eq!((judge.inconclusive(), judge.waiting_for_data()), (vec!["gpu"], vec!["gpu"]));
    let missing = InsufficientData::ConclusiveMeasurements { inconclusive: 2, limit: 1 };
    assert_eq!(judge.verdicts()[0].missing, Some(missing));
    judge.accept_inconclusive();
    assert!(judge.inconclusive().is_empty() && judge.waiting_for_data().is_empty());
}

/// A version that never answers gives no data: `total` leaves abandoned requests out.
#[test]
fn a_canary_that_never_answers_is_neither_judged_nor_certified() {
    let spec = json!([{"name": "failures", "kind": "failureRate", "margin": "1%"}]);
    let mut judge = Judge::new(&analysis(spec), 3_600);
    for t in 0..600 {
        judge.observe(&line(t, 5, [0, 0, 950, 1]));
    }
    assert_eq!(judge.waiting_for_data(), ["failures"]);
    assert_eq!(judge.uncertified(), ["failures"]);
}

/// A line with everything in it; what is random is small enough for blocks to stay open now and then.
fn any_line() -> impl Strategy<Value = (u64, [u64; 4], [u64; 6], bool, u64)> {
    let counts = prop::array::uniform4(0..40u64);
    (0..3u64, counts, prop::array::uniform6(0..30u64), prop::bool::weighted(0.9), 0..3u64)
}

fn full(t: usize, sticky: bool, parts: &(u64, [u64; 4], [u64; 6], bool, u64)) -> Observation {
    let (weight, [nc, ec, ns, es], bins, whole, window) = parts;
    let role = |n: u64, e: u64, slow: u64| {
        let times = json!([[1_000, 100, n], [1_100, 100, slow], [2_500, 100.5, e]]);
        json!({"total": n + e, "failure": e, "rq_time_us": times, "rq_time_first_us": times,
            "rq_ttfb_us": times, "rq_ttfb_first_us": times, "assigned": n + e,
            "clients": {"total": n, "failure": e.min(n), "first_failure": e.min(n) / 2}})
    };
    let classes = |a: u64, b: u64| json!({"cat": a, "dog": b, "converted": a / 2});
    let signals =
        json!({"stable": classes(bins[0] * 3, bins[1]), "canary": classes(bins[2], bins[3])});
    let signals = json!({"label": signals, "checkout": signals});
    let values = json!([[0, 0, bins[0]], [100, 10, bins[1] * 3], [250, 10, bins[2]]]);
    let values = json!({"tokens": {"stable": values, "canary": values}});
    let mut line = json!({"t": t, "weight": weight * 5, "window": window / 2, "keyed": sticky,
        "stable": role(ns * 4, *es, bins[4]), "signals": signals, "signals_first": signals,
        "values": values, "values_first": values,
        "measurements": {"gpu": bins[5] as f64 / 20.0}});
    if *whole {
        line["canary"] = role(*nc, *ec, bins[5]);
    }
    Observation::read(&line.to_string()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_resumed_judge_goes_on_exactly(
        lines in prop::collection::vec(any_line(), 2..60), sticky: bool, cut in 0.0..1.0f64,
    ) {
        let analysis = all_kinds();
        let cut = (cut * lines.len() as f64) as usize;
        let mut judge = Judge::new(&analysis, 30);
        let mut resumed = judge.clone();
        for (t, parts) in lines.iter().enumerate() {
            if t == cut {
                let state = serde_json::to_string(&resumed).unwrap();
                resumed = Judge::resume(&state, &analysis, 30).unwrap();
            }
            if t % 17 == 16 {
                judge.begin_step(Some(0.002 / 0.05));
                resumed.begin_step(Some(0.002 / 0.05));
            }
            let line = full(t, sticky, parts);
            prop_assert_eq!(judge.observe(&line), resumed.observe(&line));
        }
        prop_assert_eq!(&judge, &resumed);
        prop_assert_eq!(judge.split(), resumed.split());
        for verdict in judge.verdicts() {
            let numbers = [verdict.evidence.map(|e| e.log_e), verdict.non_inferiority.map(|c| c.log_e)];
            prop_assert!(numbers.into_iter().flatten().all(f64::is_finite));
        }
    }
}

/// What Prometheus says between two looks at the proxies tells nothing about the proxies' weight.
#[test]
fn a_measurement_alone_takes_no_weight_over() {
    let mut judge = Judge::new(&all_kinds(), 3_600);
    assert!(judge.has_no_counts());
    for t in 0..10 {
        judge.observe(&line(t, 5, [50, 0, 950, 0]));
    }
    let values = Measurement::Values(vec![0.1]);
    let measurements = BTreeMap::from([("gpu".to_owned(), values)]);
    let weight = Weight::parse_percent("50").unwrap();
    judge.observe(&Observation { t: 10.0, weight, measurements, ..Observation::default() });
    // Half of what this line counts came while 5 % was in force.
    judge.observe(&line(11, 50, [5_250, 0, 14_750, 0]));
    for t in 12..40 {
        judge.observe(&line(t, 50, [500, 0, 500, 0]));
    }
    let split = judge.split();
    assert!(!split.mismatch && split.counts.trials == 28_000, "{split:?}");
}
