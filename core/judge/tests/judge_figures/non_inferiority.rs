//! The non-inferiority test: how soon it certifies a good canary, and how rarely a bad one.

use crate::rig::{Run, Steady, canary_quantiles, decided, most, steady};

fn certify(count: u64, margin: &str, weight: f64, [canary, stable]: [f64; 2]) -> Vec<Run> {
    let rates = Steady { weight, canary, stable, per_line: 100, lines: 3_000 };
    steady(count, margin, rates, |judge| judge.uncertified().is_empty())
}

#[test]
fn a_good_canary_is_certified_as_soon_as_it_should_be() {
    for (baseline, margin, weight, median, p95) in [
        (0.001, "0.5%", 0.05, 1_000, 3_000),
        (0.001, "1%", 0.05, 480, 1_150),
        (0.01, "1%", 0.25, 1_600, 4_500),
    ] {
        let all = certify(300, margin, weight, [baseline; 2]);
        let measured = canary_quantiles(&all);
        println!("{baseline} + {margin} at {weight}: {measured:?}");
        assert!(measured.0 <= median && measured.1 <= p95, "{margin}: {measured:?}");
        assert!(measured.0 >= median / 3, "too good to be true: {measured:?}");
    }
}

#[test]
fn a_canary_at_the_margin_is_seldom_certified() {
    for (baseline, margin, canary) in [(0.001, "0.5%", 0.006), (0.01, "1%", 0.02)] {
        let all = certify(400, margin, 0.1, [canary, baseline]);
        println!("at {margin}: {} of 400", decided(&all));
        assert!(decided(&all) <= most(400, 0.05), "{margin}: {} of 400", decided(&all));
    }
}
