use super::*;
use crate::failure_abort::{RATIOS, Tolerated};
use crate::laws::{ONE, mean};

fn trials(trials: u64, events: u64) -> Trials {
    Trials { trials, events }
}

fn center(trials: u64, events: u64) -> Center {
    Center(Trials { trials, events })
}

/// The exact mean of exp(S − d·X) over all outcomes of a block, for each ratio.
#[test]
fn no_bet_gains_where_the_difference_is_as_small_as_it_says() {
    for (nt, nc) in [(4, 9), (9, 4), (1, 20), (12, 12)] {
        for (control, difference) in [(0.02, 0.0), (0.3, 0.1), (0.5, -0.3), (0.9, -0.9), (0.1, 0.9)]
        {
            let treatment: f64 = control + difference;
            for z in [center(0, 0), center(900, 400), center(10_000, 9_900)] {
                for index in 0..CENTERED_RATIOS.len() {
                    let gain = mean([(nt, treatment), (nc, control)], |et, ec| {
                        let block = Sides { treatment: trials(nt, et), control: trials(nc, ec) };
                        let bets = CenteredBets::on(block, z).unwrap();
                        (bets.logs[index] - difference * bets.exposure[index]).exp()
                    });
                    assert!(gain <= ONE, "{nt} {nc} {control} {difference} {index}: {gain}");
                }
            }
        }
    }
}

#[test]
fn without_a_center_they_are_the_bets_of_the_failure_test() {
    let block = Sides { treatment: trials(40, 3), control: trials(160, 2) };
    let bets = CenteredBets::on(block, Center::default()).unwrap();
    let exposure = Sides { treatment: 40.0, control: 160.0 };
    let tolerated = Tolerated { ratio: 1.0, margin: 0.0 };
    for (ratio, (log, charge)) in
        RATIOS.into_iter().zip(bets.logs.into_iter().zip(bets.exposure).skip(2))
    {
        let factors = tolerated.factors(ratio, exposure);
        let expected = 3.0 * factors.treatment.ln() + 2.0 * factors.control.ln();
        // The largest ratios meet the cap on an event of the control; at four to one none does.
        assert!((log - expected).abs() < 1e-9, "{ratio}: {log} {expected}");
        assert!((charge - 40.0 * (factors.treatment - 1.0)).abs() < 1e-9, "{ratio}");
    }
}

#[test]
fn a_block_without_one_side_says_nothing() {
    let empty = Sides { treatment: trials(0, 0), control: trials(30, 1) };
    assert_eq!(CenteredBets::on(empty, Center::default()), None);
    let empty = Sides { treatment: trials(30, 1), control: trials(0, 0) };
    assert_eq!(CenteredBets::on(empty, Center::default()), None);
}

#[test]
fn no_logarithm_is_lost_however_lopsided_the_block() {
    for (nt, nc) in [(1, 1_000_000), (1_000_000, 1)] {
        for z in [center(0, 0), center(1_000_000, 1_000_000)] {
            let block = Sides { treatment: trials(nt, nt / 2), control: trials(nc, nc) };
            let bets = CenteredBets::on(block, z).unwrap();
            let sound = |values: [f64; 15]| values.iter().all(|value| value.is_finite());
            assert!(sound(bets.logs) && sound(bets.exposure), "{nt} {nc}: {bets:?}");
        }
    }
}
