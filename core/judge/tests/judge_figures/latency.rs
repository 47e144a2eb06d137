//! Latency: slower as a whole, slower in its tail alone, and not slower.

use canary_judge::observation::Observation;
use canary_model::weight::Weight;
use rand::RngExt;
use rand_distr::{Distribution, LogNormal};
use serde_json::json;

use crate::rig::{
    Rng, Run, binomial, canary_quantiles, decided, histogram, judge, most, runs, until_abort,
};

/// Log-normal durations around 100 ms, in microseconds.
fn durations(rng: &mut Rng, n: u64, sigma: f64, slower: impl Fn(&mut Rng, f64) -> f64) -> Vec<f64> {
    let normal = LogNormal::new(100_000f64.ln(), sigma).unwrap();
    let one = |_| {
        let value = normal.sample(rng);
        slower(rng, value)
    };
    (0..n).map(one).collect()
}

fn timed(t: u64, weight: f64, canary: Vec<f64>, stable: Vec<f64>) -> Observation {
    let weight = Weight::from_ppm((weight * 1e6).round() as u32).unwrap();
    let mut line = Observation { t: t as f64, weight, ..Observation::default() };
    line.roles.canary.total = Some(canary.len() as u64);
    line.roles.canary.rq_time_us = Some(histogram(canary.into_iter()));
    line.roles.stable.total = Some(stable.len() as u64);
    line.roles.stable.rq_time_us = Some(histogram(stable.into_iter()));
    line
}

/// 10,000 stable requests at weight 0, then the canary's cold start, then lines of 40 requests. What the
/// runs count are canary requests beyond the cold start.
fn slowed(
    count: u64,
    tolerance: f64,
    weight: f64,
    lines: u64,
    slower: impl Fn(&mut Rng, f64) -> f64 + Copy,
) -> Vec<Run> {
    let judge = judge(&json!([{"name": "l", "kind": "latency", "tolerance": tolerance}]));
    let same = |_: &mut Rng, value: f64| value;
    runs(count, |rng| {
        let past = timed(0, weight, Vec::new(), durations(rng, 10_000, 0.5, same));
        let cold = timed(
            1,
            weight,
            durations(rng, 50, 0.5, |_, v| v * 30.0),
            durations(rng, 950, 0.5, same),
        );
        let lines = (2..lines).map(|t| {
            let nc = binomial(rng, 40, weight);
            let canary = durations(rng, nc, 0.5, slower);
            timed(t, weight, canary, durations(rng, 40 - nc, 0.5, same))
        });
        let all = [past, cold].into_iter().chain(lines);
        let mut run = until_abort(judge.clone(), all);
        run.canary = run.canary.saturating_sub(50);
        run
    })
}

#[test]
fn a_slower_canary_is_found_as_soon_as_it_should_be() {
    // The slowest twentieth twice as slow: the 95th percentile is exp(1.645 σ) times the median.
    let p95 = 100_000.0 * (1.645_f64 * 0.5).exp();
    let tail = move |_: &mut Rng, value: f64| if value >= p95 { value * 2.0 } else { value };
    let all = |_: &mut Rng, value: f64| value * 1.5;
    let some = |rng: &mut Rng, value: f64| if rng.random_bool(0.02) { value * 10.0 } else { value };
    for (what, found, median, p95) in [
        ("all x1.5", slowed(150, 1.0, 0.05, 3_000, all), 45, 90),
        ("tail x2", slowed(150, 1.0, 0.05, 3_000, tail), 130, 280),
        ("tail x2, tolerance 1.1", slowed(150, 1.1, 0.05, 3_000, tail), 150, 320),
        ("2 % x10, tolerance 1.1", slowed(150, 1.1, 0.05, 3_000, some), 350, 800),
    ] {
        let measured = canary_quantiles(&found);
        println!("{what}: {measured:?}");
        assert!(measured.0 <= median && measured.1 <= p95, "{what}: {measured:?}");
        assert!(measured.0 >= median / 3, "too good to be true: {what}: {measured:?}");
    }
}

#[test]
fn an_identical_canary_and_one_at_the_tolerance_are_left_alone() {
    let same = slowed(150, 1.0, 0.2, 500, |_, value| value);
    assert!(decided(&same) <= most(150, 0.01), "{} of 150", decided(&same));
    let tolerated = slowed(150, 1.1, 0.2, 500, |_, value| value * 1.1);
    assert!(decided(&tolerated) <= most(150, 0.01), "{} of 150", decided(&tolerated));
}

/// Durations that nearly all lie in one bin, as those of a model that takes 0.52 s, and one in two
/// hundred that takes longer: the last bin's upper bound is then the edge of most quantiles.
#[test]
fn identical_versions_whose_durations_fill_one_bin_are_left_alone() {
    let judge = judge(&json!([{"name": "l", "kind": "latency", "tolerance": 1.0}]));
    let times = |rng: &mut Rng, n: u64| {
        let one = |_| if rng.random_bool(0.005) { 900_000.0 } else { 525_000.0 };
        (0..n).map(one).collect()
    };
    let same = runs(150, |rng| {
        let lines = (0..400).map(|t| {
            let nc = binomial(rng, 40, 0.2);
            let canary = times(rng, nc);
            timed(t, 0.2, canary, times(rng, 40 - nc))
        });
        until_abort(judge.clone(), lines)
    });
    assert!(decided(&same) <= most(150, 0.01), "{} of 150", decided(&same));
}
