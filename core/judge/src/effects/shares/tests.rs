use super::*;
use crate::effects::EffectSince;

fn counts([nc, ec, ns, es]: [u64; 4]) -> Pair<Trials> {
    Pair { stable: Trials { trials: ns, events: es }, canary: Trials { trials: nc, events: ec } }
}

fn observe(effect: &mut ShareEffect, line: [u64; 4]) {
    let counts = counts(line);
    effect.observe(Some(counts), counts.map(|role| role.trials).sum(), None);
}

fn start(effect: &ShareEffect) -> super::super::EffectEstimate {
    effect.effects("m", None).into_iter().find(|one| one.since == EffectSince::Start).unwrap()
}

#[test]
fn there_is_no_bound_before_the_evidence_suffices() {
    let mut effect = ShareEffect::default();
    let none = start(&effect);
    assert_eq!((none.estimate, none.lower, none.upper), (None, None, None));
    observe(&mut effect, [1, 0, 40, 0]);
    let early = start(&effect);
    // Forty healthy requests of stable's bound the difference from below already.
    assert_eq!((early.estimate, early.upper), (Some(0.0), None));
    assert_eq!((early.unit, early.level), (EffectUnit::Points, 0.95));
}

/// The widths of table F at 10,000 canary requests: 1 %, w = 5 %, no difference.
#[test]
fn the_interval_is_as_wide_as_the_study_found() {
    let mut effect = ShareEffect::default();
    for _ in 0..100 {
        observe(&mut effect, [100, 1, 1_900, 19]);
    }
    let even = start(&effect);
    assert!(even.estimate.unwrap().abs() < 1e-9);
    let (lower, upper) = (even.lower.unwrap(), even.upper.unwrap());
    assert!((-0.45..-0.25).contains(&lower), "{lower}");
    assert!((0.3..0.5).contains(&upper), "{upper}");
}

#[test]
fn it_lies_around_a_difference_of_either_sign() {
    for (canary, expected) in [(6, 5.0), (1, 0.0)] {
        let mut effect = ShareEffect::default();
        for _ in 0..200 {
            observe(&mut effect, [100, canary, 900, 9]);
        }
        let one = start(&effect);
        assert!((one.estimate.unwrap() - expected).abs() < 1e-9);
        assert!(one.lower.unwrap() < expected && expected < one.upper.unwrap(), "{one:?}");
    }
    let mut effect = ShareEffect::default();
    for _ in 0..200 {
        observe(&mut effect, [100, 20, 900, 270]);
    }
    let fewer = start(&effect);
    assert!((fewer.estimate.unwrap() + 10.0).abs() < 1e-9);
    assert!(fewer.upper.unwrap() < -5.0 && fewer.lower.unwrap() > -15.0, "{fewer:?}");
}

/// A canary that gets its traffic while the baseline is high doesn't look worse for it.
#[test]
fn the_estimate_mixes_no_drifting_baseline_with_a_changing_weight() {
    let mut effect = ShareEffect::default();
    observe(&mut effect, [10, 0, 990, 0]);
    observe(&mut effect, [500, 50, 500, 50]);
    assert!(start(&effect).estimate.unwrap().abs() < 1e-9);
}

#[test]
fn a_window_starts_again_and_a_resumed_state_goes_on() {
    let mut effect = ShareEffect::default();
    effect.count_clients();
    for _ in 0..20 {
        observe(&mut effect, [30, 1, 70, 0]);
    }
    let text = serde_json::to_string(&effect).unwrap();
    assert_eq!(serde_json::from_str::<ShareEffect>(&text).unwrap(), effect);
    effect.observe(None, 0, Some(Change::Window));
    let step = effect.effects("m", None).pop().unwrap();
    assert_eq!((step.since, step.estimate), (EffectSince::Step, None));
    assert!(start(&effect).estimate.is_some(), "the first window still stands");
}
