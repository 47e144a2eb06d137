use super::*;
use crate::blocks::Change;
use crate::laws::{ONE, mean};
use crate::observation::ClientCounts;

fn tick(percent: u32, sticky: bool, change: Option<Change>) -> TickContext {
    let weight = Weight::from_ppm(percent * 10_000).unwrap();
    TickContext { t: 1.0, weight, in_force: weight, sticky, change, window: 1 }
}

fn line(canary: u64, stable: u64) -> Observation {
    let mut line = Observation::default();
    line.roles.canary.total = Some(canary);
    line.roles.stable.total = Some(stable);
    line
}

fn run(percent: u32, canary: u64, stable: u64, times: usize) -> SampleRatioVerdict {
    let mut test = SampleRatio::default();
    for _ in 0..times {
        test.observe(&tick(percent, false, None), &line(canary, stable));
    }
    test.verdict(0.01)
}

#[test]
fn a_share_that_is_the_weight_or_near_it_is_none() {
    for (canary, stable) in [(50, 950), (48, 952), (52, 948)] {
        let verdict = run(5, canary, stable, 500);
        assert!(!verdict.mismatch, "{verdict:?}");
    }
    assert!(!run(50, 505, 495, 500).mismatch);
}

#[test]
fn a_share_beside_the_weight_is_a_mismatch_with_both_figures() {
    for (percent, canary, stable) in [(5, 65, 935), (5, 35, 965), (50, 650, 350), (5, 0, 1_000)] {
        let verdict = run(percent, canary, stable, 10);
        assert!(verdict.mismatch, "{verdict:?}");
        assert_eq!(verdict.weight, f64::from(percent) / 100.0);
        assert_eq!(verdict.measured, Some(canary as f64 / 1_000.0));
    }
}

#[test]
fn the_mean_factor_is_at_most_one_within_the_slack() {
    for percent in [5, 20, 50] {
        let weight = f64::from(percent) / 100.0;
        for share in [weight, weight * 1.05, weight * 0.95] {
            let fair = mean([(40, share), (0, 0.0)], |canary, _| {
                run(percent, canary, 40 - canary, 1).log_e.exp()
            });
            assert!(fair <= ONE, "{percent} {share}: {fair}");
        }
    }
}

#[test]
fn each_stretch_of_one_weight_is_a_test_of_its_own() {
    let mut test = SampleRatio::default();
    for _ in 0..10 {
        test.observe(&tick(5, false, None), &line(200, 800));
    }
    assert!(test.verdict(0.01).mismatch);
    test.observe(&tick(20, false, Some(Change::Weight)), &line(50, 950));
    let verdict = test.verdict(0.01);
    assert_eq!((verdict.mismatch, verdict.log_e, verdict.measured), (false, 0.0, None));
    assert!((verdict.log_limit - 600f64.ln()).abs() < 1e-9, "the second stretch's share: 1/6");
}

#[test]
fn nothing_and_everything_are_exact_and_halves_are_dropped() {
    assert_eq!(run(0, 3, 997, 10).log_e, 0.0);
    assert_eq!(run(100, 997, 3, 10).log_e, 0.0);
    let mut test = SampleRatio::default();
    let mut half = line(500, 0);
    half.roles.stable.total = None;
    test.observe(&tick(5, false, None), &half);
    assert_eq!(test.verdict(0.01).counts, Trials::default());
}

#[test]
fn with_affinity_clients_are_counted_and_repeats_allowed_for() {
    let mut sticky = line(500, 500);
    let clients = |total| Some(ClientCounts { total: Some(total), ..ClientCounts::default() });
    sticky.roles.canary.clients = clients(50);
    sticky.roles.stable.clients = clients(950);
    let mut test = SampleRatio::default();
    test.observe(&tick(5, true, None), &sticky);
    assert_eq!(test.verdict(0.01).measured, Some(0.05));
    sticky.roles.canary.clients = clients(80);
    let mut by_clients = SampleRatio::default();
    by_clients.observe(&tick(5, true, None), &sticky);
    assert!(by_clients.verdict(0.01).log_e < run(5, 80, 950, 1).log_e);
}
