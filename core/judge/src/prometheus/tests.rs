use std::time::Duration;

use super::*;
use crate::condition::{Condition, Undecided};

fn spec(success: Option<&str>, failure: Option<&str>) -> PrometheusSpec {
    let condition = |text: &str| Condition::parse(text).unwrap();
    PrometheusSpec {
        address: "http://p:9090".to_owned(),
        access: Box::default(),
        query: "up".to_owned(),
        interval: Duration::from_secs(30),
        initial_delay: Duration::ZERO,
        count: None,
        failure_limit: 2,
        inconclusive_limit: 0,
        success_condition: success.map(condition),
        failure_condition: failure.map(condition),
    }
}

fn after(spec: PrometheusSpec, values: &[f64]) -> PrometheusTest {
    let mut test = PrometheusTest::new(&spec);
    for value in values {
        test.measure(1.0, &Measurement::Values(vec![*value]));
    }
    test
}

#[test]
fn it_fails_when_failures_exceed_the_limit_in_a_row_or_not() {
    let high = || spec(None, Some("result > 0.9"));
    assert_eq!(after(high(), &[1.0, 1.0]).conclusion(), Conclusion::Pass, "two may fail");
    assert_eq!(after(high(), &[1.0, 0.5, 1.0, 0.5, 1.0]).conclusion(), Conclusion::Fail);
    assert_eq!(after(high(), &[0.5; 100]).conclusion(), Conclusion::Pass);
    let mut failed = after(high(), &[1.0; 3]);
    failed.begin_step();
    assert_eq!(failed.conclusion(), Conclusion::Fail, "it stays");
}

#[test]
fn one_condition_decides_alone_and_two_leave_room_between() {
    let good = spec(Some("result >= 0.95"), None);
    assert_eq!(after(good, &[0.9; 3]).failures, 3);
    let both = || spec(Some("result < 1"), Some("result > 2"));
    let test = after(both(), &[0.5, 1.5, 2.5]);
    assert_eq!((test.measured, test.failures, test.inconclusive), (3, 1, 1));
    assert_eq!(test.conclusion(), Conclusion::Insufficient, "one was unclear, none may be");
    assert_eq!(
        test.missing(),
        InsufficientData::ConclusiveMeasurements { inconclusive: 1, limit: 0 }
    );
    let overlapping = spec(Some("result > 0"), Some("result > 2"));
    assert_eq!(after(overlapping, &[3.0]).failures, 1, "failure wins");
}

#[test]
fn outages_and_no_data_hold_and_never_fail() {
    let mut test = PrometheusTest::new(&spec(None, Some("result > 0.9")));
    assert_eq!(test.conclusion(), Conclusion::Insufficient);
    assert_eq!(test.missing(), InsufficientData::Measurement);
    test.measure(1.0, &Measurement::Values(vec![0.5]));
    assert_eq!(test.conclusion(), Conclusion::Pass);
    for nothing in [
        Measurement::Outage("connection refused".to_owned()),
        Measurement::Values(vec![]),
        Measurement::Values(vec![f64::NAN]),
        Measurement::Values(vec![1.0, 2.0]),
    ] {
        for _ in 0..9 {
            test.measure(2.0, &nothing);
        }
        assert_eq!(test.conclusion(), Conclusion::Insufficient, "{nothing:?}");
        assert_eq!(test.failures, 0);
    }
    assert_eq!(test.missing(), InsufficientData::Answer);
    let Findings::Query { outage, values, .. } = test.findings() else { panic!("query") };
    assert_eq!(outage, Some(NoAnswer::Undecided(Undecided::NotSingle { len: 2 })));
    assert_eq!(values, [Some(0.5)], "the last values that said something");
    test.measure(3.0, &Measurement::Values(vec![0.5]));
    assert_eq!(test.conclusion(), Conclusion::Pass, "the next good answer ends the hold");
}

#[test]
fn a_condition_may_ask_for_nan() {
    let test = after(spec(None, Some("isNaN(result)")), &[f64::NAN; 3]);
    assert_eq!(test.conclusion(), Conclusion::Fail);
    let Findings::Query { values, .. } = test.findings() else { panic!("query") };
    assert_eq!(values, [None]);
}

/// The whole answer holds the rollout only where a condition asks for what is NaN.
#[test]
fn a_condition_sees_only_the_values_that_it_names() {
    const NAN: f64 = f64::NAN;
    let first_is_nan = || Err(NoAnswer::Undecided(Undecided::NotANumber { index: 0 }));
    let second_is_nan = || Err(NoAnswer::Undecided(Undecided::NotANumber { index: 1 }));
    for (success, failure, values, phase) in [
        (None, Some("result[0] > 0.05"), [0.01, NAN], Ok(MeasurementPhase::Success)),
        (None, Some("result[0] > 0.05"), [0.06, NAN], Ok(MeasurementPhase::Failure)),
        (None, Some("result[1] > 0.05"), [0.01, NAN], second_is_nan()),
        (None, Some("isNaN(result[0]) || result[1] > 0.05"), [0.01, NAN], second_is_nan()),
        (
            None,
            Some("isNaN(result[0]) || result[1] > 0.05"),
            [NAN, 0.01],
            Ok(MeasurementPhase::Failure),
        ),
        (
            None,
            Some("isNaN(result[0]) || result[1] > 0.05"),
            [0.01, 0.01],
            Ok(MeasurementPhase::Success),
        ),
        (None, Some("result[0] > 1 || result[1] > 1"), [NAN, 2.0], Ok(MeasurementPhase::Failure)),
        (None, Some("result[0] > 1 || result[1] > 1"), [NAN, 0.5], first_is_nan()),
        (None, Some("result[0] > 1 && result[1] > 1"), [NAN, 0.5], Ok(MeasurementPhase::Success)),
        (None, Some("!(result[0] > 1)"), [NAN, 0.5], first_is_nan()),
        (Some("result[0] < 1"), None, [NAN, 0.5], first_is_nan()),
        (
            Some("!isNaN(result[0]) && result[0] < 1"),
            None,
            [NAN, 0.5],
            Ok(MeasurementPhase::Failure),
        ),
        (Some("result[0] < 1"), Some("result[1] > 2"), [0.5, NAN], second_is_nan()),
        (Some("result[0] < 1"), Some("result[1] > 2"), [NAN, 3.0], Ok(MeasurementPhase::Failure)),
        (Some("result[0] < 1"), Some("result[1] > 2"), [NAN, 1.0], first_is_nan()),
        (Some("len(result) == 2"), None, [NAN, NAN], Ok(MeasurementPhase::Success)),
        (None, Some("isInf(result[0])"), [f64::INFINITY, NAN], Ok(MeasurementPhase::Failure)),
        (None, Some("isInf(result[0])"), [NAN, 1.0], first_is_nan()),
    ] {
        let found = assess(&PrometheusTest::new(&spec(success, failure)).limits, &values);
        assert_eq!(found, phase, "success {success:?}, failure {failure:?} of {values:?}");
    }
}

#[test]
fn inconclusive_measurements_hold_until_an_operator_accepts_them() {
    let limit = |limit| PrometheusSpec {
        inconclusive_limit: limit,
        ..spec(Some("result < 1"), Some("result > 2"))
    };
    assert_eq!(after(limit(2), &[1.5, 1.5]).conclusion(), Conclusion::Pass, "two may be");
    let mut test = after(limit(2), &[1.5, 0.5, 1.5, 0.5, 1.5]);
    assert!(test.is_inconclusive());
    assert_eq!(test.conclusion(), Conclusion::Insufficient);
    test.measure(9.0, &Measurement::Values(vec![0.5]));
    assert_eq!(test.conclusion(), Conclusion::Insufficient, "good measurements don't undo it");
    test.accept_inconclusive();
    assert_eq!((test.is_inconclusive(), test.conclusion()), (false, Conclusion::Pass));
    let mut failed = after(limit(0), &[1.5, 9.0, 9.0, 9.0]);
    assert_eq!(failed.conclusion(), Conclusion::Fail, "a failure decides");
    failed.accept_inconclusive();
    assert_eq!(failed.conclusion(), Conclusion::Fail);
}

#[test]
fn a_step_wants_a_measurement_of_its_own_unless_all_are_taken() {
    let mut test = after(spec(None, Some("result > 0.9")), &[0.5]);
    test.begin_step();
    assert_eq!(test.conclusion(), Conclusion::Insufficient);
    let counted = PrometheusSpec { count: Some(2), ..spec(None, Some("result > 0.9")) };
    let mut test = after(counted, &[0.5, 0.5, 5.0, 5.0, 5.0]);
    assert_eq!((test.measured, test.conclusion()), (2, Conclusion::Pass), "later ones don't count");
    test.begin_step();
    assert_eq!(test.conclusion(), Conclusion::Pass);
}

#[test]
fn the_findings_name_the_conditions() {
    let test = after(spec(Some("result < 1"), Some("result > 2")), &[0.5]);
    let Findings::Query { condition, failures, failure_limit, .. } = test.findings() else {
        panic!("query")
    };
    assert_eq!(condition, "failureCondition result > 2 and successCondition result < 1");
    assert_eq!((failures, failure_limit), (0, 2));
}

#[test]
fn its_state_survives_json() {
    let test = after(spec(Some("result < 1"), Some("result > 2")), &[0.5, 1.5]);
    let text = serde_json::to_string(&test).unwrap();
    assert_eq!(serde_json::from_str::<PrometheusTest>(&text).unwrap(), test);
    assert!(
        serde_json::from_str::<PrometheusTest>(&text.replace("result > 2", "result >")).is_err()
    );
}
