use super::*;
use crate::failure_abort::{RequestAbort, Tolerated};
use crate::laws::{ONE, mean};

fn sides([nt, et, nc, ec]: [u64; 4]) -> Sides<Trials> {
    Sides {
        treatment: Trials { trials: nt, events: et },
        control: Trials { trials: nc, events: ec },
    }
}

/// One block after a thousand, exactly: its mean factor is at most one at the margin.
#[test]
fn a_canary_at_the_margin_gains_nothing_on_average() {
    let margin = 0.1;
    let mut test = ConversionAbort::new(margin, 10);
    for _ in 0..3 {
        test.observe(sides([300, 150, 30, 12]), false);
    }
    let before = test.log_e();
    let gain = mean([(20, 0.5), (15, 0.4)], |et, ec| {
        let mut next = test.clone();
        next.observe(sides([20, et, 15, ec]), false);
        next.log_e().exp()
    });
    // A part of the stake comes in before the factor.
    assert!(gain <= (before.exp() + 0.05) * ONE, "{gain} {}", before.exp());
}

#[test]
fn fewer_conversions_at_a_large_share_are_found_sooner_than_by_the_failure_test() {
    let steady = sides([950, 475, 50, 22]);
    let mut centered = ConversionAbort::new(0.0, 3_600);
    let mut plain = RequestAbort::new(Tolerated { ratio: 1.0, margin: 0.0 }, 3_600);
    let limit = 100f64.ln();
    let blocks = |observe: &mut dyn FnMut() -> f64| (1..1_000).find(|_| observe() >= limit);
    let soon = blocks(&mut || {
        centered.observe(steady, false);
        centered.log_e()
    });
    let late = blocks(&mut || {
        plain.observe(steady, false);
        plain.log_e()
    });
    assert!(soon.unwrap() * 10 <= late.unwrap() * 7, "{soon:?} {late:?}");
}

#[test]
fn a_block_without_the_canary_still_brings_its_stake() {
    let mut test = ConversionAbort::new(0.0, 2);
    let (update, block) = test.observe(sides([40, 20, 0, 0]), false);
    assert_eq!((update, block), (BlockUpdate::Closed { both: false }, Some(sides([40, 20, 0, 0]))));
    assert!((test.log_e() - 0.75f64.ln()).abs() < 1e-12);
    assert_eq!(test.observe(sides([0, 0, 9, 9]), true), (BlockUpdate::LeftOut, None));
    assert_eq!(test.open(), 0);
}
