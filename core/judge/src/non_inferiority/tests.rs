use super::*;
use crate::laws::{ONE, mean};
use canary_model::weight::Weight;

fn at(t: f64, sticky: bool, change: Option<Change>) -> TickContext {
    TickContext { t, weight: Weight::ZERO, in_force: Weight::ZERO, sticky, change, window: 1 }
}

fn tick(nc: u64, ec: u64, ns: u64, es: u64) -> NonInferiorityTick {
    let trials = |trials, events| Trials { trials, events };
    let counts = Sides { treatment: trials(nc, ec), control: trials(ns, es) };
    NonInferiorityTick { counts, size: nc + ns, left_out: ns == 0 }
}

fn test_of(ratio: f64, margin: f64) -> NonInferiority {
    NonInferiority::new(Tolerated { ratio, margin })
}

fn log_e(ratio: f64, margin: f64, tick: NonInferiorityTick, split: Option<f64>) -> f64 {
    let mut test = test_of(ratio, margin);
    test.observe(&at(1.0, split.is_some(), None), Some(tick), split);
    test.mixture.log_mean()
}

#[test]
fn the_formula_by_hand() {
    let sum: f64 = SHRINKS
        .iter()
        .map(|a| {
            let b: f64 = 1.0 + 1.5 * (50.0 / 950.0) * (1.0 - a);
            a.powi(2) * b.powi(3) * (0.01f64 * 50.0 * (1.0 - a)).exp()
        })
        .sum();
    let expected = (sum / 10.0).ln();
    assert!((log_e(1.5, 0.01, tick(50, 2, 950, 3), None) - expected).abs() < 1e-9);
    // With affinity the nominal split stands for the measured one.
    let nominal = 50.0 / 950.0;
    assert!((log_e(1.5, 0.01, tick(50, 2, 950, 3), Some(nominal)) - expected).abs() < 1e-9);
    assert!(log_e(1.5, 0.01, tick(50, 2, 950, 3), Some(nominal / 2.0)) < expected);
}

#[test]
fn the_mean_factor_is_at_most_one_while_the_canary_is_bad() {
    for (ratio, margin) in [(1.0, 0.1), (2.0, 0.0), (1.5, 0.05)] {
        for p_s in [0.001, 0.1, 0.3] {
            for (nc, ns) in [(10, 25), (2, 40), (20, 15)] {
                for beyond in [0.0, 0.1] {
                    let p_c = f64::min(ratio * p_s + margin + beyond, 1.0);
                    let fair = mean([(nc, p_c), (ns, p_s)], |ec, es| {
                        log_e(ratio, margin, tick(nc, ec, ns, es), None).exp()
                    });
                    assert!(fair <= ONE, "r {ratio} d {margin} p_s {p_s} {nc}:{ns}: {fair}");
                }
            }
        }
    }
}

#[test]
fn certified_stays_until_the_next_step_and_counts_from_its_start() {
    let mut test = test_of(1.0, 0.03);
    let (good, bad) = (tick(100, 0, 900, 1), tick(100, 60, 900, 1));
    test.observe(&at(1.0, false, None), Some(good), None);
    assert!(!test.certified());
    test.observe(&at(2.0, false, None), Some(good), None);
    assert_eq!(test.figures(false).certified_at, Some(2.0));
    for t in 3..9 {
        test.observe(&at(f64::from(t), false, None), Some(bad), None);
    }
    let figures = test.figures(false);
    assert!(figures.log_e < 0.0 && figures.certified_at == Some(2.0));
    test.begin_step(Some(0.02));
    let figures = test.figures(false);
    assert_eq!((figures.log_e, figures.certified_at, figures.margin), (0.0, None, 0.02));
    assert!((figures.log_limit - 20f64.ln()).abs() < 1e-12);
    test.begin_step(None);
    assert_eq!(test.figures(false).margin, 0.03, "the file's margin again");
}

#[test]
fn each_window_of_a_step_certifies_by_itself_and_asks_for_more() {
    let mut test = test_of(1.0, 0.05);
    let limit = |test: &NonInferiority| test.figures(true).log_limit.exp().round();
    let window = Some(Change::Window);
    // The step's first line brings its window with it: that is the first, not the second.
    test.observe(&at(1.0, true, window), Some(tick(40, 0, 360, 0)), Some(0.1));
    assert_eq!((limit(&test), test.figures(true).log_e), (40.0, 0.0), "and is left out");
    test.observe(&at(2.0, true, None), Some(tick(40, 0, 360, 0)), Some(0.1));
    assert!(test.figures(true).log_e > 1.0);
    test.observe(&at(3.0, true, window), Some(tick(40, 0, 360, 0)), Some(0.1));
    assert_eq!((limit(&test), test.figures(true).log_e), (120.0, 0.0), "20 · 2 · 3");
    test.begin_step(None);
    assert_eq!(limit(&test), 40.0, "the step's first window");
}

#[test]
fn lines_without_a_comparison_are_left_out() {
    let mut test = test_of(1.0, 0.05);
    test.observe(&at(1.0, false, None), Some(tick(500, 0, 0, 0)), None);
    test.observe(&at(2.0, false, None), None, None);
    test.observe(&at(3.0, false, None), Some(tick(5, 0, 20, 0)), None);
    assert_eq!((test.figures(false).log_e, test.block.size()), (0.0, 25));
    test.observe(&at(4.0, true, Some(Change::Weight)), Some(tick(5, 0, 900, 0)), Some(0.1));
    assert_eq!((test.figures(false).log_e, test.block.size()), (0.0, 0));
    test.observe(&at(5.0, true, None), Some(tick(5, 0, 900, 0)), Some(f64::INFINITY));
    assert_eq!(test.figures(false).log_e, 0.0, "at 100 % there is nothing to compare with");
}

/// Totals and failures at one age are the same requests, at whatever weight they were assigned.
#[test]
fn without_affinity_a_change_of_weight_leaves_nothing_out() {
    let mut test = test_of(1.0, 0.05);
    test.observe(&at(1.0, false, None), Some(tick(5, 0, 20, 0)), None);
    test.observe(&at(2.0, false, Some(Change::Weight)), Some(tick(100, 0, 100, 0)), None);
    assert!(test.figures(false).log_e > 0.0);
    assert_eq!(test.block.size(), 0, "the block of both weights was judged");
}
