use proptest::prelude::*;

use super::*;
use crate::laws::{ONE, mean};

const PLAIN: Tolerated = Tolerated { ratio: 1.0, margin: 0.0 };

fn tick(nc: u64, ec: u64, ns: u64, es: u64) -> Sides<Trials> {
    Sides {
        treatment: Trials { trials: nc, events: ec },
        control: Trials { trials: ns, events: es },
    }
}

fn after(tolerated: Tolerated, planned: u64, ticks: &[Sides<Trials>]) -> f64 {
    let mut test = RequestAbort::new(tolerated, planned);
    for tick in ticks {
        test.observe(*tick, false);
    }
    test.log_e()
}

#[test]
fn the_formula_by_hand() {
    // One block of 50 and 950 with 3 and 1 failures, ratio 1.5, margin 0.2 %.
    let tolerated = Tolerated { ratio: 1.5, margin: 0.002 };
    let mut sum = 0.0;
    for rho in RATIOS {
        let (d_1, d_rho) = (1.5 * 50.0 + 950.0, rho * 1.5 * 50.0 + 950.0);
        let (a, b) = (rho * d_1 / d_rho, d_1 / d_rho);
        // The same b in the other form.
        assert!((b - (1.0 - 1.5 * (50.0 / 950.0) * (a - 1.0))).abs() < 1e-12);
        sum += a.powi(3) * b * (-0.002f64 * 50.0 * (a - 1.0)).exp();
    }
    // All of the stake is in play: half from the start and, planned for one block, half before it.
    let expected = (sum / 13.0).ln();
    assert!((after(tolerated, 1, &[tick(50, 3, 950, 1)]) - expected).abs() < 1e-9);
    // Planned for three blocks, two thirds of it.
    let part = expected + (2.0f64 / 3.0).ln();
    assert!((after(tolerated, 3, &[tick(50, 3, 950, 1)]) - part).abs() < 1e-9);
}

#[test]
fn the_mean_factor_is_at_most_one_while_the_canary_is_tolerable() {
    for (ratio, margin) in [(1.0, 0.0), (1.0, 0.1), (2.0, 0.0), (1.5, 0.05)] {
        for p_s in [0.001, 0.1, 0.3] {
            for (nc, ns) in [(10, 25), (2, 40), (20, 15), (31, 1)] {
                let p_c = f64::min(ratio * p_s + margin, 1.0);
                let tolerated = Tolerated { ratio, margin };
                let fair = mean([(nc, p_c), (ns, p_s)], |ec, es| {
                    after(tolerated, 1, &[tick(nc, ec, ns, es)]).exp()
                });
                assert!(fair <= ONE, "r {ratio} d {margin} p_s {p_s} {nc}:{ns}: {fair}");
            }
        }
    }
}

#[test]
fn the_mean_stays_at_most_one_over_two_blocks_of_other_rates_and_splits() {
    let mean_of_second = |ec: u64, es: u64| {
        mean([(16, 0.6), (14, 0.6)], |fc, fs| {
            after(PLAIN, 2, &[tick(3, ec, 27, es), tick(16, fc, 14, fs)]).exp()
        })
    };
    assert!(mean([(3, 0.05), (27, 0.05)], mean_of_second) <= ONE);
}

#[test]
fn one_sided_blocks_say_nothing() {
    let none = after(PLAIN, 1, &[tick(0, 0, 100, 5)]);
    assert!(none.abs() < 1e-12, "no canary request");
    assert!(after(PLAIN, 1, &[tick(100, 50, 0, 0)]).abs() < 1e-12, "no stable request");
}

#[test]
fn left_out_lines_leave_no_trace() {
    let mut test = RequestAbort::new(PLAIN, 100);
    let fresh = test.clone();
    assert_eq!(test.observe(tick(40, 40, 0, 0), true).0, BlockUpdate::LeftOut);
    assert_eq!(test, fresh);
    assert_eq!(test.observe(tick(5, 5, 20, 0), false).0, BlockUpdate::Open);
    assert_eq!(test.open(), 25);
    assert_eq!(test.observe(tick(0, 0, 5, 0), false).0, BlockUpdate::Closed { both: true });
    assert_eq!(test.observe(tick(0, 0, 30, 0), false).0, BlockUpdate::Closed { both: false });
}

#[test]
fn a_block_is_judged_as_one() {
    let split = after(PLAIN, 9, &[tick(1, 0, 14, 0), tick(4, 2, 20, 1)]);
    assert_eq!(split, after(PLAIN, 9, &[tick(5, 2, 34, 1)]));
}

fn counts() -> impl Strategy<Value = (u64, u64, u64, u64)> {
    (1..200u64, 1..2_000u64).prop_flat_map(|(nc, ns)| (Just(nc), 0..=nc, Just(ns), 0..=ns))
}

proptest! {
    #[test]
    fn more_failures_of_the_canary_are_more_evidence_and_of_stable_less(
        (nc, ec, ns, es) in counts(), ratio in 0.5..3.0f64, margin in 0.0..0.05f64,
    ) {
        prop_assume!(nc + ns >= 30);
        let tolerated = Tolerated { ratio, margin };
        let at = |ec, es| after(tolerated, 3_600, &[tick(nc, ec, ns, es)]);
        prop_assert!(at(ec + 1, es) > at(ec, es));
        prop_assert!(at(ec, es + 1) < at(ec, es));
        let wider = Tolerated { ratio, margin: margin + 0.01 };
        prop_assert!(after(wider, 3_600, &[tick(nc, ec, ns, es)]) <= at(ec, es));
    }

    #[test]
    fn equal_shares_are_no_evidence(
        n in 1..100u64, e in 0..=100u64, times in 1..50u64, blocks in 1..20usize,
    ) {
        prop_assume!(e <= n && n * (times + 1) >= 30);
        let same = tick(n, e, n * times, e * times);
        prop_assert!(after(PLAIN, 20, &vec![same; blocks]) <= 1e-9);
    }
}
