use super::*;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_same_seed_gives_the_same_plan_and_another_one_another() {
    assert_eq!(ChaosPlan::draw(7, MINUTE), ChaosPlan::draw(7, MINUTE));
    assert_ne!(ChaosPlan::draw(7, MINUTE).faults, ChaosPlan::draw(8, MINUTE).faults);
    assert_ne!(ChaosPlan::draw(7, MINUTE).weights, ChaosPlan::draw(8, MINUTE).weights);
}

/// What begins with a fault and ends with another one, by the index of what it is done to.
fn lasting(fault: ChaosFault) -> Option<(usize, bool)> {
    match fault {
        ChaosFault::KillController => Some((0, true)),
        ChaosFault::StartController => Some((0, false)),
        ChaosFault::BlockAdmin(_) => Some((1, true)),
        ChaosFault::FreeAdmin => Some((1, false)),
        ChaosFault::FillDisk => Some((2, true)),
        ChaosFault::FreeDisk => Some((2, false)),
        ChaosFault::Break(..) => Some((3, true)),
        ChaosFault::Mend(_) => Some((3, false)),
        ChaosFault::KillEnvoy | ChaosFault::Push => None,
    }
}

#[test]
fn every_round_has_every_kind_and_nothing_overlaps_itself() {
    for seed in 0..200 {
        let plan = ChaosPlan::draw(seed, MINUTE);
        assert_eq!(plan.length, MINUTE);
        assert!(plan.faults.is_sorted_by_key(|planned| planned.at));
        let mut going_on = [false; 4];
        for PlannedFault { at, fault } in &plan.faults {
            assert!(*at < plan.length, "{fault:?} at {at:?}");
            if let Some((what, begins)) = lasting(*fault) {
                assert_ne!(going_on[what], begins, "seed {seed}: {fault:?} at {at:?}");
                going_on[what] = begins;
            }
        }
        assert_eq!(going_on, [false; 4], "seed {seed}: all is well at the end");
        let of = |round: u32, kind: fn(&ChaosFault) -> bool| {
            let in_round = |planned: &&PlannedFault| planned.at.as_secs() / 20 == u64::from(round);
            plan.faults.iter().filter(in_round).filter(|planned| kind(&planned.fault)).count()
        };
        for round in 0..3 {
            assert_eq!(of(round, |fault| *fault == ChaosFault::KillEnvoy), 1);
            assert_eq!(of(round, |fault| *fault == ChaosFault::KillController), 1);
            assert_eq!(of(round, |fault| *fault == ChaosFault::FillDisk), 1);
            assert_eq!(of(round, |fault| matches!(fault, ChaosFault::BlockAdmin(_))), 1);
            assert_eq!(of(round, |fault| matches!(fault, ChaosFault::Break(..))), 3);
            assert!(of(round, |fault| *fault == ChaosFault::Push) >= 19);
        }
    }
}

#[test]
fn an_envoy_lives_for_some_seconds() {
    for seed in 0..200 {
        let plan = ChaosPlan::draw(seed, MINUTE * 10);
        let kills = plan.faults.iter().filter(|planned| planned.fault == ChaosFault::KillEnvoy);
        let kills: Vec<Duration> = kills.map(|planned| planned.at).collect();
        assert_eq!(kills.len(), 30);
        assert!(kills.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(8)));
    }
}

#[test]
fn weights_change_ten_times_a_second_and_labels_among_four() {
    let plan = ChaosPlan::draw(3, MINUTE);
    assert_eq!(plan.weights.len(), 599);
    for label in LABELS {
        assert!(plan.weights.iter().any(|planned| planned.label == label), "{label}");
    }
    let changes = plan.weights.windows(2).filter(|pair| pair[0].label != pair[1].label).count();
    assert!((20..60).contains(&changes), "{changes}");
    assert!(plan.weights.iter().any(|planned| planned.percent > 90));
    assert!(plan.weights.iter().any(|planned| planned.percent < 10));
}

#[test]
fn a_short_run_is_one_round() {
    let plan = ChaosPlan::draw(1, Duration::from_secs(1));
    assert_eq!(plan.length, ROUND);
}
