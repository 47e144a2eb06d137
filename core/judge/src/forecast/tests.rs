use super::*;

const PLAIN: Tolerated = Tolerated { ratio: 1.0, margin: 0.0 };
const LN_100: f64 = 4.605_170_185_988_092;
const LN_20: f64 = 2.995_732_273_553_991;

fn tolerated(ratio: f64, margin: f64) -> Tolerated {
    Tolerated { ratio, margin }
}

/// Canary requests that a test of identical versions needs to be certified.
fn certify(baseline: f64, tolerated: Tolerated, weight: f64) -> f64 {
    let rates = Rates { weight, canary: baseline, stable: baseline };
    weight * requests_needed(LN_20, non_inferiority_growth(tolerated, rates)).unwrap()
}

fn abort(canary: f64, weight: f64, tolerated: Tolerated) -> f64 {
    let rates = Rates { weight, canary, stable: 0.001 };
    weight * requests_needed(LN_100, abort_growth(tolerated, rates)).unwrap()
}

/// Relative entropy of two Bernoulli shares.
fn entropy(p: f64, q: f64) -> f64 {
    p * (p / q).ln() + if p < 1.0 { (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln() } else { 0.0 }
}

#[test]
fn it_comes_close_to_what_no_test_can_beat() {
    // For ratio 1 and margin 0 the closest null is the pooled share.
    for canary in [0.002, 0.005, 0.01, 0.02, 0.05] {
        for weight in [0.01, 0.05, 0.1, 0.5] {
            let pooled = weight * canary + (1.0 - weight) * 0.001;
            let most = weight * entropy(canary, pooled) + (1.0 - weight) * entropy(0.001, pooled);
            let growth = abort_growth(PLAIN, Rates { weight, canary, stable: 0.001 });
            let part = growth / most;
            assert!(part > 0.9 && part < 1.0, "{canary} at {weight}: {part}");
        }
    }
}

#[test]
fn figures_of_the_study_abort() {
    // Lower bounds of the mean number of canary requests, baseline 0.1 %.
    for (canary, weight, bound) in [
        (0.05, 0.05, 41.0),
        (0.05, 0.5, 148.0),
        (0.01, 0.01, 337.0),
        (0.01, 0.05, 375.0),
        (0.01, 0.1, 424.0),
        (0.005, 0.05, 1_252.0),
    ] {
        let forecast = abort(canary, weight, PLAIN);
        assert!((1.0..1.1).contains(&(forecast / bound)), "{canary} {weight}: {forecast} {bound}");
    }
    // With a margin of half a point, at 5 %.
    for (canary, bound) in [(0.02, 459.0), (0.05, 75.0)] {
        let forecast = abort(canary, 0.05, tolerated(1.0, 0.005));
        assert!((0.95..1.1).contains(&(forecast / bound)), "{canary}: {forecast} {bound}");
    }
}

#[test]
fn figures_of_the_study_non_inferiority() {
    for (baseline, limit, weight, bound) in [
        (0.001, tolerated(1.0, 0.01), 0.05, 393.0),
        (0.001, tolerated(1.0, 0.005), 0.01, 931.0),
        (0.001, tolerated(1.0, 0.005), 0.5, 1_000.0),
        (0.001, tolerated(2.0, 0.0), 0.05, 10_582.0),
        (0.01, tolerated(1.0, 0.01), 0.25, 1_086.0),
        (0.01, tolerated(1.5, 0.001), 0.1, 2_581.0),
        (0.01, tolerated(3.0, 0.0), 0.5, 1_032.0),
    ] {
        let forecast = certify(baseline, limit, weight);
        assert!((0.95..1.06).contains(&(forecast / bound)), "{forecast} {bound}");
    }
}

#[test]
fn what_is_tolerated_never_grows() {
    for canary in [0.0, 0.001, 0.002] {
        let rates = Rates { weight: 0.05, canary, stable: 0.001 };
        assert_eq!(abort_growth(tolerated(1.0, 0.001), rates), 0.0);
    }
    let at_margin = Rates { weight: 0.05, canary: 0.006, stable: 0.001 };
    assert!(non_inferiority_growth(tolerated(1.0, 0.005), at_margin) < 1e-12);
    assert_eq!(requests_needed(LN_100, 0.0), None);
    for weight in [0.0, 1.0] {
        let rates = Rates { weight, canary: 1.0, stable: 0.001 };
        assert!(abort_growth(PLAIN, rates) < 1e-12);
        assert!(non_inferiority_growth(PLAIN, rates) < 1e-12);
    }
}
