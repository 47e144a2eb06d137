use super::*;
use crate::laws::{ONE, mean};

fn tick(percent: u32, sticky: bool, change: Option<Change>, window: u64) -> TickContext {
    let in_force = Weight::from_ppm(percent * 10_000).unwrap();
    // What is counted at its age was assigned under another weight; that isn't the split's.
    TickContext { t: 1.0, weight: Weight::ZERO, in_force, sticky, change, window }
}

fn line(canary: u64, stable: u64) -> Observation {
    let mut line = Observation::default();
    line.roles.canary.assigned = Some(canary);
    line.roles.stable.assigned = Some(stable);
    line
}

/// A test past its first line, without the start mixture's cost.
fn started(percent: u32) -> SampleRatio {
    let mut test = SampleRatio::new(0.01, 1);
    test.observe(&tick(percent, false, None, 1), &line(0, 0));
    test
}

fn run(percent: u32, canary: u64, stable: u64, times: usize) -> SampleRatioVerdict {
    let mut test = started(percent);
    for _ in 0..times {
        test.observe(&tick(percent, false, None, 1), &line(canary, stable));
    }
    test.verdict()
}

#[test]
fn a_share_that_is_the_weight_or_near_it_is_none() {
    for (canary, stable) in [(500, 9_500), (495, 9_505), (505, 9_495)] {
        let verdict = run(5, canary, stable, 500);
        assert!(!verdict.mismatch, "{verdict:?}");
    }
    assert!(!run(50, 505, 495, 500).mismatch);
}

#[test]
fn a_share_beside_the_weight_is_a_mismatch_with_both_figures() {
    for (percent, canary, stable) in
        [(5, 65, 935), (5, 35, 965), (50, 530, 470), (50, 650, 350), (5, 0, 1_000)]
    {
        let verdict = run(percent, canary, stable, 10);
        assert!(verdict.mismatch, "{verdict:?}");
        assert_eq!(verdict.weight, f64::from(percent) / 100.0);
        assert_eq!(verdict.measured, Some(canary as f64 / 1_000.0));
    }
}

#[test]
fn the_formula_by_hand() {
    let mut sum = 0.0;
    for odds in [1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0] {
        for (bound, odds) in [(0.202, odds), (0.198, 1.0 / odds)] {
            let bet: f64 = odds * bound / (1.0 - bound + odds * bound);
            sum += (bet / bound).powi(12) * ((1.0 - bet) / (1.0 - bound)).powi(28);
        }
    }
    let found = run(20, 12, 28, 1).log_e;
    assert!((found - (sum / 14.0f64).ln()).abs() < 1e-9, "{found}");
}

#[test]
fn the_mean_factor_is_at_most_one_within_the_slack() {
    for percent in [5, 20, 50, 90] {
        let weight = f64::from(percent) / 100.0;
        let slack = 0.01 * weight.min(1.0 - weight);
        for share in [weight, weight + slack, weight - slack] {
            let fair = mean([(40, share), (0, 0.0)], |canary, _| {
                run(percent, canary, 40 - canary, 1).log_e.exp()
            });
            assert!(fair <= ONE, "{percent} {share}: {fair}");
        }
    }
}

#[test]
fn a_change_of_weight_goes_on_with_the_evidence_and_leaves_its_line_out() {
    let mut test = started(5);
    for _ in 0..3 {
        test.observe(&tick(5, false, None, 1), &line(65, 935));
    }
    test.observe(&tick(5, false, None, 1), &line(2, 18));
    let before = test.verdict();
    assert!(!before.mismatch && before.log_e > 1.0, "{before:?}");
    test.observe(&tick(20, false, Some(Change::Weight), 1), &line(500, 500));
    let changed = test.verdict();
    assert_eq!((changed.log_e, changed.log_limit), (before.log_e, before.log_limit));
    assert_eq!((changed.weight, changed.measured), (0.2, None), "the figures are the new weight's");
    for _ in 0..4 {
        test.observe(&tick(20, false, None, 1), &line(260, 740));
    }
    let verdict = test.verdict();
    assert!(verdict.mismatch && verdict.measured == Some(0.26), "{verdict:?}");
}

#[test]
fn the_first_line_and_lines_without_the_counts_do_not_enter() {
    let mut test = SampleRatio::new(0.01, 1);
    test.observe(&tick(5, false, None, 1), &line(900, 100));
    assert_eq!(test.verdict().counts, Trials::default(), "its first weight was set within it");
    let mut half = line(500, 0);
    half.roles.stable.assigned = None;
    half.roles.stable.total = Some(500);
    test.observe(&tick(5, false, None, 1), &half);
    assert_eq!(test.verdict().counts, Trials::default());
}

#[test]
fn nothing_and_everything_are_exact() {
    let untouched = started(5).verdict().log_e;
    assert_eq!(run(0, 3, 997, 10).log_e, untouched);
    assert_eq!(run(100, 997, 3, 10).log_e, untouched);
}

#[test]
fn the_limit_is_its_own_budget() {
    let limit = |share| SampleRatio::new(share, 1).verdict().log_limit;
    assert!((limit(0.01) - 100f64.ln()).abs() < 1e-9);
    assert!((limit(0.05) - 20f64.ln()).abs() < 1e-9);
}

#[test]
fn with_affinity_each_window_is_a_test_of_its_own() {
    let mut test = SampleRatio::new(0.01, 3_600);
    test.count_clients();
    test.observe(&tick(5, true, None, 1), &line(0, 0));
    assert_eq!(test.verdict().log_e, 0.0, "no start mixture");
    for _ in 0..10 {
        test.observe(&tick(5, true, None, 1), &line(65, 935));
    }
    let first = test.verdict();
    assert!(first.mismatch && (first.log_limit - 200f64.ln()).abs() < 1e-9, "{first:?}");
    let next = |test: &mut SampleRatio, window| {
        test.observe(&tick(5, true, Some(Change::Window), window), &line(65, 935));
        test.observe(&tick(5, true, None, window), &line(5, 95));
    };
    next(&mut test, 2);
    let second = test.verdict();
    assert!(second.mismatch, "what the window before ended with stays: {second:?}");
    assert!(second.log_e < 1.0 && (second.log_limit - 600f64.ln()).abs() < 1e-9, "{second:?}");
    next(&mut test, 3);
    assert!(!test.verdict().mismatch, "a whole window without a mismatch");
}
