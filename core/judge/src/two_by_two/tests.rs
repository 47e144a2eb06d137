use proptest::prelude::*;

use super::*;
use crate::laws::{ONE, mean};

fn counts(nc: u64, yc: u64, ns: u64, ys: u64) -> Pair<Trials> {
    let trials = |trials, events| Trials { trials, events };
    Pair { canary: trials(nc, yc), stable: trials(ns, ys) }
}

#[test]
fn tilting_multiplies_the_odds() {
    assert!((tilt(0.2, 2.0) - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(tilt(0.2, 1.0), 0.2);
}

#[test]
fn the_projection_solves_its_equation() {
    for (w, q, p, delta) in [(0.1, 0.35, 0.3, 0.02), (0.5, 0.99, 0.2, 0.0), (0.9, 0.04, 0.01, 0.02)]
    {
        let z = projection(w, q, p, delta);
        assert!(z > p && z < q - delta);
        let canary = (1.0 - q) / (1.0 - z - delta) - q / (z + delta);
        let stable = (1.0 - p) / (1.0 - z) - p / z;
        assert!((w * canary + (1.0 - w) * stable).abs() < 1e-9, "{w} {q} {p} {delta}");
    }
    // Without tolerance it is the pooled share.
    assert!((projection(0.25, 0.5, 0.1, 0.0) - 0.2).abs() < 1e-12);
}

#[test]
fn one_sided_blocks_and_impossible_bets_say_nothing() {
    assert_eq!(equal_shares(counts(0, 0, 9, 3), 0.5, 0.3), 0.0);
    assert_eq!(equal_shares(counts(9, 3, 0, 0), 0.5, 0.3), 0.0);
    assert_eq!(tolerated_difference(counts(9, 9, 9, 3), 1.0, 0.8, 0.1), 0.0);
    assert_eq!(tolerated_difference(counts(9, 9, 9, 3), 0.3, 0.3, 0.1), 0.0);
}

proptest! {
    #[test]
    fn equal_shares_are_a_fair_bet_for_any_shared_share(
        nc in 1..6u64, ns in 1..9u64, canary in 0.01..0.99f64, stable in 0.01..0.99f64,
        truth in 0.0..=1.0f64,
    ) {
        let fair = mean([(nc, truth), (ns, truth)], |yc, ys| {
            equal_shares(counts(nc, yc, ns, ys), canary, stable).exp()
        });
        prop_assert!(fair <= ONE, "{fair}");
    }

    #[test]
    fn a_larger_alternative_is_fair_where_the_canarys_share_is_smaller(
        nc in 1..6u64, ns in 1..9u64, stable in 0.01..0.9f64, odds in 1.0..10.0f64,
        truth in 0.0..=1.0f64, less in 0.0..=1.0f64,
    ) {
        let fair = mean([(nc, truth * less), (ns, truth)], |yc, ys| {
            equal_shares(counts(nc, yc, ns, ys), tilt(stable, odds), stable).exp()
        });
        prop_assert!(fair <= ONE, "{fair}");
    }

    #[test]
    fn a_tolerated_difference_is_a_fair_bet(
        nc in 1..6u64, ns in 1..9u64, stable in 0.01..0.7f64, tolerated in 0.0..0.1f64,
        beyond in 0.001..0.19f64, truth in 0.0..=0.9f64, less in 0.0..=0.1f64,
    ) {
        let canary = (truth + tolerated - less).clamp(0.0, 1.0);
        let fair = mean([(nc, canary), (ns, truth)], |yc, ys| {
            let bet = stable + tolerated + beyond;
            tolerated_difference(counts(nc, yc, ns, ys), bet, stable, tolerated).exp()
        });
        prop_assert!(fair <= ONE, "{fair}");
    }
}

proptest! {
    /// To the last bit: what the effects sum up over a long rollout must not depend on how it is computed.
    #[test]
    fn a_bet_by_yes_is_the_bet_itself(
        nc in 0u64..2_000, ns in 0u64..2_000, part in 0.0..=1.0, canary in 1e-6..1.0, stable in 1e-6..1.0,
    ) {
        let held = counts(nc, 0, ns, (ns as f64 * part) as u64);
        let (none, each) = equal_shares_by_yes(held.stable, nc, canary, stable);
        let at = |yes| {
            let canary_counts = Trials { trials: nc, events: yes };
            equal_shares(Pair { canary: canary_counts, ..held }, canary, stable)
        };
        prop_assert_eq!(none.to_bits(), at(0).to_bits());
        if nc > 0 {
            prop_assert_eq!(each.to_bits(), (at(1) - at(0)).to_bits());
        }
    }
}
