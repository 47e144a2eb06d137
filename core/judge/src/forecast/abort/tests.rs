use super::*;

fn test(stable: f64, rps: f64) -> AbortTest {
    let tolerated = Tolerated { ratio: 1.0, margin: 0.001 };
    AbortTest { tolerated, stable, rps, false_abort: 0.01, metrics: 1 }
}

fn forecast(stable: f64, canary: f64, weight: f64) -> (f64, f64) {
    let steps = [PlannedStep { weight, canary_requests: 1e9 }];
    let until = |percentile| {
        let found = test(stable, 100.0).requests_until_abort(&steps, canary, percentile);
        found.unwrap().canary_requests
    };
    (until(Percentile::Median), until(Percentile::P90))
}

/// The forecasts of STATISTICS 1.12's table: baseline, share of failures, weight, median and p90.
#[test]
fn figures_of_the_study_until_abort() {
    for (stable, canary, weight, median, p90) in [
        (0.001, 1.0, 0.01, 2.0, 4.0),
        (0.001, 1.0, 0.05, 5.0, 7.0),
        (0.001, 1.0, 0.25, 25.0, 30.0),
        (0.001, 1.0, 0.5, 50.0, 56.0),
        (0.001, 0.1, 0.01, 22.0, 59.0),
        (0.001, 0.1, 0.05, 25.0, 67.0),
        (0.001, 0.03, 0.25, 200.0, 430.0),
        (0.001, 0.01, 0.01, 823.0, 1_822.0),
        (0.001, 0.01, 0.05, 855.0, 1_877.0),
        (0.001, 0.01, 0.5, 1_800.0, 3_356.0),
        (0.001, 0.005, 0.05, 4_405.0, 9_127.0),
        (0.01, 0.1, 0.05, 60.0, 127.0),
        (0.01, 0.03, 0.01, 618.0, 1_286.0),
        (0.01, 0.03, 0.25, 875.0, 1_730.0),
        (0.01, 0.03, 0.5, 1_450.0, 2_606.0),
    ] {
        let found = forecast(stable, canary, weight);
        let near = |found: f64, expected: f64| (found - expected).abs() <= 1.0 + 0.01 * expected;
        let name = format!("{stable} {canary} at {weight}: {found:?}, expected {median} {p90}");
        assert!(near(found.0, median) && near(found.1, p90), "{name}");
    }
}

/// The study's smallest shares with 90 % power in a first step.
#[test]
fn figures_of_the_study_smallest_regression() {
    for (stable, weight, requests, expected) in [
        (0.001, 0.01, 50.0, 0.112),
        (0.001, 0.05, 200.0, 0.0411),
        (0.001, 0.05, 1_000.0, 0.0142),
        (0.001, 0.5, 1_000.0, 0.0214),
        (0.001, 0.25, 10_000.0, 0.0051),
        (0.01, 0.01, 200.0, 0.0723),
        (0.01, 0.05, 10_000.0, 0.0171),
        (0.01, 0.5, 50.0, 0.332),
    ] {
        let begins = RegressionBegins::AtStart;
        let found = test(stable, 100.0).smallest_regression(weight, requests, begins).unwrap();
        let ratio = found / expected;
        assert!((0.97..1.03).contains(&ratio), "{stable} {weight} {requests}: {found} {expected}");
    }
}

#[test]
fn what_begins_late_and_what_is_shared_takes_more() {
    let alone = test(0.001, 100.0);
    let found = |test: AbortTest, begins| test.smallest_regression(0.05, 1_000.0, begins).unwrap();
    let start = found(alone, RegressionBegins::AtStart);
    let late = found(alone, RegressionBegins::Later { planned_blocks: 3_600 });
    assert!(late > start && late < 1.6 * start, "{start} {late}");
    let shared = found(AbortTest { metrics: 4, ..alone }, RegressionBegins::AtStart);
    assert!(shared > start && shared < 1.6 * start, "{start} {shared}");
    let few = alone.smallest_regression(0.05, 3.0, RegressionBegins::AtStart);
    assert_eq!(few, None, "less than a block shows nothing");
}

#[test]
fn a_short_first_step_hands_its_evidence_on() {
    let step = |weight, canary_requests| PlannedStep { weight, canary_requests };
    let until = |steps: &[PlannedStep]| {
        test(0.001, 100.0).requests_until_abort(steps, 0.01, Percentile::Median)
    };
    let one = until(&[step(0.05, 1e6)]).unwrap();
    let two = until(&[step(0.05, 400.0), step(0.05, 1e6)]).unwrap();
    assert_eq!((one.step, two.step), (0, 1));
    let ratio = two.canary_requests / one.canary_requests;
    assert!((ratio - 1.0).abs() < 0.05, "{one:?} {two:?}");
    assert_eq!(until(&[step(0.05, 100.0)]), None, "the steps end before");
    let tolerated = test(0.001, 100.0);
    let endless = [step(0.05, 1e6)];
    assert_eq!(tolerated.requests_until_abort(&endless, 0.002, Percentile::Median), None);
}

#[test]
fn splits_are_probabilities_with_the_weight_as_their_mean() {
    for (block, weight) in [(30.0, 0.01), (100.0, 0.05), (404.0, 0.98), (799.0, 0.5), (1e6, 0.5)] {
        let splits = splits(block, weight);
        let sum: f64 = splits.iter().map(|(_, part)| part).sum();
        let mean: f64 = splits.iter().map(|(count, part)| count * part).sum();
        assert!((sum - 1.0).abs() < 1e-9 && (mean / (weight * block) - 1.0).abs() < 1e-6);
    }
}
