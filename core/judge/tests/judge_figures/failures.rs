//! Failures, counted by request: how soon a worse canary is found, and how seldom a good one is taken
//! for one.

use canary_judge::Tolerated;
use canary_judge::forecast::{AbortTest, Percentile, PlannedStep};
use serde_json::json;

use crate::rig::{
    Run, Steady, aborts, canary_quantiles, decided, failures, judge, line, median_failed, most,
    runs, steady, until_abort,
};

/// Runs at 30 requests a line, so that every line is a block, from a baseline of 0.1 %.
fn constant(count: u64, margin: &str, weight: f64, canary: f64) -> Vec<Run> {
    let rates = Steady { weight, canary, stable: 0.001, per_line: 30, lines: 100_000 };
    steady(count, margin, rates, aborts)
}

#[test]
fn a_worse_canary_is_found_as_soon_as_it_should_be() {
    for (margin, canary, median, p95) in [
        ("0%", 0.01, 610, 1_700),
        ("0%", 0.05, 76, 195),
        ("0.1%", 0.01, 960, 2_500),
        ("0.5%", 0.05, 140, 340),
    ] {
        let found = constant(400, margin, 0.05, canary);
        let measured = canary_quantiles(&found);
        println!(
            "margin {margin}, 0.1 % -> {canary}: {measured:?} canary requests, {} failed",
            median_failed(&found)
        );
        assert!(measured.0 <= median && measured.1 <= p95, "{margin} {canary}: {measured:?}");
        assert!(measured.0 >= median / 3, "too good to be true: {measured:?}");
    }
}

#[test]
fn a_canary_that_always_fails_is_found_within_a_handful() {
    for (weight, most_failed) in [(0.01, 4), (0.05, 5), (0.1, 7), (0.5, 24)] {
        let found = constant(200, "0%", weight, 1.0);
        assert!(median_failed(&found) <= most_failed, "{weight}: {}", median_failed(&found));
    }
}

#[test]
fn an_identical_canary_is_left_alone_at_any_baseline_and_weight() {
    for baseline in [0.001, 0.01, 0.1] {
        for weight in [0.01, 0.05, 0.5] {
            let (canary, stable) = (baseline, baseline);
            let rates = Steady { weight, canary, stable, per_line: 300, lines: 600 };
            let all = steady(150, "0%", rates, aborts);
            let wrong = decided(&all);
            assert!(wrong <= most(150, 0.01), "{baseline} at {weight}: {wrong} of 150");
        }
    }
}

#[test]
fn a_canary_exactly_at_the_margin_is_left_alone() {
    let judge = judge(&json!([
        {"name": "f", "kind": "failureRate", "ratio": 1.5, "margin": "0.5%"}
    ]));
    let all = runs(300, |rng| {
        let lines = (0..1_000).map(|t| line(rng, t, 0.1, 200, 0.02, 0.01));
        until_abort(judge.clone(), lines)
    });
    assert!(decided(&all) <= most(300, 0.01), "{} of 300", decided(&all));
}

#[test]
fn shared_incidents_and_a_ladder_of_weights_alarm_nobody() {
    let judge = judge(&failures("0%"));
    let all = runs(300, |rng| {
        // 0.1 %, but 30 % for half a minute every eight minutes, through 1/5/10/25/50 %.
        let lines = (0..1_500u64).map(|t| {
            let weight = [0.01, 0.05, 0.1, 0.25, 0.5][t as usize / 300];
            let rate = if t % 480 < 30 { 0.3 } else { 0.001 };
            line(rng, t, weight, 100, rate, rate)
        });
        until_abort(judge.clone(), lines)
    });
    assert!(decided(&all) <= most(300, 0.01), "{} of 300", decided(&all));
}

#[test]
fn lost_lines_alarm_nobody() {
    let judge = judge(&failures("0%"));
    let all = runs(200, |rng| {
        let lines: Vec<_> = (0..600).map(|t| line(rng, t, 0.05, 300, 0.01, 0.01)).collect();
        until_abort(judge.clone(), lines.into_iter().filter(|line| line.t as u64 % 5 != 3))
    });
    assert!(decided(&all) <= most(200, 0.01), "{} of 200", decided(&all));
}

#[test]
fn a_regression_that_begins_late_is_found_as_soon() {
    // Healthy for 40 minutes at five canary requests a second; then it isn't.
    const HEALTHY: u64 = 2_400;
    let judge = judge(&failures("0%"));
    for (rate, median, p95) in [(0.05, 135, 270), (0.2, 36, 60), (1.0, 12, 18)] {
        let found = runs(200, |rng| {
            let mut before = 0;
            let lines = (0..4_000).map(|t| {
                let late = t >= HEALTHY;
                let line = line(rng, t, 0.05, 100, if late { rate } else { 0.001 }, 0.001);
                before += if late { 0 } else { line.roles.canary.total.unwrap() };
                line
            });
            let run = until_abort(judge.clone(), lines);
            Run { canary: run.canary - before, ..run }
        });
        let measured = canary_quantiles(&found);
        println!("{rate} after 40 healthy minutes: {measured:?}");
        assert!(measured.0 <= median && measured.1 <= p95, "{rate}: {measured:?}");
    }
}

#[test]
fn the_forecast_is_near_the_simulated_median() {
    let tolerated = Tolerated { ratio: 1.0, margin: 0.0 };
    let test = AbortTest { tolerated, stable: 0.001, rps: 30.0, false_abort: 0.01, metrics: 1 };
    for (canary, weight) in [(0.05, 0.05), (0.01, 0.05), (0.01, 0.1), (0.02, 0.01)] {
        let steps = [PlannedStep { weight, canary_requests: 1e9 }];
        let until = test.requests_until_abort(&steps, canary, Percentile::Median);
        let forecast = until.unwrap().canary_requests;
        let (median, _) = canary_quantiles(&constant(300, "0%", weight, canary));
        let ratio = median as f64 / forecast;
        println!("{canary} at {weight}: forecast {forecast:.0}, median {median}: {ratio:.2}");
        assert!((0.75..1.3).contains(&ratio), "{canary} at {weight}: {ratio}");
    }
}
