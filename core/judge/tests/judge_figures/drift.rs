//! Drift: shifts of classes found, equal and tolerated distributions left alone.

use canary_judge::counts::Pair;
use canary_judge::observation::{ClassCounts, Observation};
use canary_model::weight::Weight;
use serde_json::json;

use crate::rig::{Rng, Run, binomial, canary_quantiles, decided, judge, most, runs, until_abort};

/// Draws `n` values over classes of these shares.
fn classes(rng: &mut Rng, n: u64, shares: &[f64]) -> Option<ClassCounts> {
    let (mut left, mut rest) = (n, 1.0);
    let mut counts = ClassCounts::new();
    for (class, share) in shares.iter().enumerate() {
        let drawn = binomial(rng, left, (share / rest).clamp(0.0, 1.0));
        counts.insert(format!("c{class}"), drawn);
        left -= drawn;
        rest = (rest - share).max(1e-12);
    }
    Some(counts)
}

fn shifted(count: u64, tolerance: &str, lines: u64, canary: &[f64], stable: &[f64]) -> Vec<Run> {
    let metric =
        json!([{"name": "d", "kind": "distribution", "signal": "s", "tolerance": tolerance}]);
    let judge = judge(&metric);
    runs(count, |rng| {
        let lines = (0..lines).map(|t| {
            let nc = binomial(rng, 100, 0.1);
            let weight = Weight::from_ppm(100_000).unwrap();
            let mut line = Observation { t: t as f64, weight, ..Observation::default() };
            line.roles.canary.total = Some(nc);
            let signal =
                Pair { stable: classes(rng, 100 - nc, stable), canary: classes(rng, nc, canary) };
            line.signals.insert("s".to_owned(), signal);
            line
        });
        until_abort(judge.clone(), lines)
    })
}

#[test]
fn shifts_are_found_as_soon_as_they_should_be() {
    for (tolerance, canary, stable, most) in [
        ("0%", &[0.55, 0.45], &[0.5, 0.5], 1_900),
        ("0%", &[0.1, 0.9], &[0.05, 0.95], 480),
        ("2%", &[0.6, 0.4], &[0.5, 0.5], 720),
    ] {
        let (median, _) = canary_quantiles(&shifted(150, tolerance, 1_500, canary, stable));
        println!("{stable:?} -> {canary:?} tolerating {tolerance}: {median}");
        assert!(median <= most && median >= most / 2, "{median}");
    }
}

#[test]
fn equal_and_tolerated_distributions_are_left_alone() {
    let shares = [0.4, 0.3, 0.2, 0.07, 0.03];
    let same = shifted(150, "0%", 500, &shares, &shares);
    assert!(decided(&same) <= most(150, 0.01), "{} of 150", decided(&same));
    let tolerated = shifted(100, "3%", 500, &[0.43, 0.27, 0.2, 0.07, 0.03], &shares);
    assert!(decided(&tolerated) <= most(100, 0.01), "{} of 100", decided(&tolerated));
}

/// Runs of identical versions whose bodies hold ten equal labels each, of which `counted` are.
fn ten_equal_labels(counted: u64) -> Vec<Run> {
    let judge = judge(&json!([{"name": "d", "kind": "distribution", "signal": "s"}]));
    let shares = [0.4, 0.3, 0.2, 0.07, 0.03];
    runs(200, |rng| {
        let lines = (0..300).map(|t| {
            let nc = binomial(rng, 100, 0.1);
            let weight = Weight::from_ppm(100_000).unwrap();
            let mut line = Observation { t: t as f64, weight, ..Observation::default() };
            line.roles.canary.total = Some(nc);
            let mut labels = |bodies| {
                let mut classes = classes(rng, bodies, &shares)?;
                classes.values_mut().for_each(|count| *count *= counted);
                Some(classes)
            };
            let signal = Pair { stable: labels(100 - nc), canary: labels(nc) };
            line.signals.insert("s".to_owned(), signal);
            line
        });
        until_abort(judge.clone(), lines)
    })
}

/// One request is one observation. Ten labels of one body are no ten independent ones: with all of them
/// counted, nearly every rollout of identical versions is rolled back, at a nominal 1 %.
#[test]
fn of_equal_labels_in_a_body_one_is_an_observation() {
    let one = decided(&ten_equal_labels(1));
    assert!(one <= most(200, 0.01), "{one} of 200");
    assert_eq!(decided(&ten_equal_labels(10)), 200, "what counting all ten would do");
}
