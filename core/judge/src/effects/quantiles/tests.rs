use super::*;
use crate::effects::{EffectEstimate, EffectSince};
use crate::laws::{ONE, mean};
use crate::two_by_two::equal_shares;
use canary_model::histogram::Bin;

fn values(bins: &[(f64, f64, u64)]) -> Histogram {
    bins.iter().map(|(lower, width, n)| (Bin::new(*lower, *width).unwrap(), *n)).collect()
}

fn observe(effect: &mut QuantileEffect, history: &Histogram, block: &Pair<Histogram>) {
    let tails = Pair { stable: Tails::new(&block.stable), canary: Tails::new(&block.canary) };
    effect.observe(history, block, &tails);
}

fn at(effect: &QuantileEffect, quantile: &str) -> EffectEstimate {
    let of = |one: &EffectEstimate| {
        one.since == EffectSince::Start && one.quantile.as_deref() == Some(quantile)
    };
    effect.effects("m", [1.1; 9]).into_iter().find(of).unwrap()
}

/// A hundred values spread evenly over bins of 1 % from `from` on.
fn spread(from: f64, each: u64) -> Histogram {
    (0..100)
        .map(|k| (Bin::new(from * (1.0 + f64::from(k) / 100.0), from / 100.0).unwrap(), each))
        .collect()
}

#[test]
fn the_grid_goes_from_a_tenth_to_ten() {
    let grid = grid();
    assert!(grid.is_sorted() && grid[ONE_SIDE] == 1.0);
    assert!((grid[ONE_SIDE + 1] - 1.02).abs() < 1e-12);
    assert!((9.0..=10.0).contains(&grid[RATIOS - 1]) && (0.1..0.112).contains(&grid[0]));
    for pair in grid.windows(2) {
        assert!(pair[1] / pair[0] < 1.1 + 1e-9);
    }
}

/// At the true ratio neither direction gains on average: exact over all outcomes of a block of 12 values
/// that lie below or beyond the edge.
#[test]
fn no_bet_gains_at_the_true_ratio() {
    let history = values(&[(100.0, 10.0, 50), (200.0, 10.0, 50)]);
    // The canary is exactly twice as slow, and its bins are aligned with the doubled edge.
    let mut worst: f64 = 0.0;
    for share in [0.2, 0.5, 0.9] {
        for odds in ODDS {
            let ratio = 2.0;
            let gain = |above: bool| {
                mean([(5, share), (7, share)], |yc, ys| {
                    let block = Pair {
                        stable: values(&[(100.0, 10.0, 7 - ys), (200.0, 10.0, ys)]),
                        canary: values(&[(200.0, 20.0, 5 - yc), (400.0, 20.0, yc)]),
                    };
                    let edges = edges(&history).1;
                    let edge = edges[0];
                    let tails = Tails::new(&block.stable);
                    let share = (edge.tail as f64 + 0.5) / 101.0;
                    let canary = Tails::new(&block.canary).at_or_above(ratio * edge.from);
                    let odds = if above { odds } else { 1.0 / odds };
                    let counts = Pair { stable: tails.at_or_above(edge.from), canary };
                    equal_shares(counts, tilt(share, odds), share).exp()
                })
            };
            worst = worst.max(gain(true)).max(gain(false));
        }
    }
    assert!(worst <= ONE, "{worst}");
}

#[test]
fn a_block_brings_what_the_two_by_two_bets_say() {
    let history = spread(100.0, 10);
    let block = Pair { stable: spread(100.0, 1), canary: spread(150.0, 1) };
    let tails = Pair { stable: Tails::new(&block.stable), canary: Tails::new(&block.canary) };
    let all = QuantileBlock::new(&history, &block, &tails);
    assert_eq!((all.above.len(), all.below.len()), (BETS, BETS));
    let edge = edges(&history).1[0];
    let share = (edge.tail as f64 + 0.5) / 1_001.0;
    for (ratio, logs) in grid().into_iter().zip(all.above.chunks_exact(ODDS.len())) {
        let counts = Pair {
            stable: tails.stable.at_or_above(edge.from),
            canary: tails.canary.at_or_above(ratio * edge.from),
        };
        for (log, odds) in logs.iter().zip(ODDS) {
            let expected = equal_shares(counts, tilt(share, odds), share);
            assert!((log - expected).abs() < 1e-9, "{ratio} {odds}");
        }
    }
}

#[test]
fn the_interval_lies_around_the_ratio_of_both_versions() {
    let mut effect = QuantileEffect::default();
    let history = spread(100.0, 100);
    let block = Pair { stable: spread(100.0, 9), canary: spread(150.0, 1) };
    assert!(
        effect
            .effects("m", [1.1; 9])
            .iter()
            .all(|one| one.estimate.is_none() && one.lower.is_none())
    );
    for _ in 0..60 {
        observe(&mut effect, &history, &block);
    }
    for quantile in ["p50", "p95", "p99"] {
        let one = at(&effect, quantile);
        assert!((one.estimate.unwrap() - 1.5).abs() < 0.01, "{one:?}");
        assert!(one.lower.unwrap() < 1.5 && one.upper.unwrap() > 1.5, "{one:?}");
        assert_eq!((one.unit, one.level), (EffectUnit::Ratio, 0.95));
    }
    let median = at(&effect, "p50");
    assert!(median.lower.unwrap() > 1.3 && median.upper.unwrap() < 1.7, "{median:?}");
}

#[test]
fn several_weights_are_averaged_and_not_pooled() {
    let mut effect = QuantileEffect::default();
    let history = spread(100.0, 100);
    observe(&mut effect, &history, &Pair { stable: spread(100.0, 9), canary: spread(100.0, 1) });
    effect.change(Some(Change::Weight));
    observe(&mut effect, &history, &Pair { stable: spread(400.0, 5), canary: spread(400.0, 5) });
    let one = at(&effect, "p50");
    assert!((one.estimate.unwrap() - 1.0).abs() < 1e-9, "pooled it would be far from 1: {one:?}");
}

#[test]
fn a_resumed_state_goes_on_to_the_last_bit() {
    let mut effect = QuantileEffect::default();
    let block = Pair { stable: spread(100.0, 9), canary: spread(130.0, 1) };
    for _ in 0..7 {
        observe(&mut effect, &spread(100.0, 10), &block);
    }
    let text = serde_json::to_string(&effect).unwrap();
    assert_eq!(serde_json::from_str::<QuantileEffect>(&text).unwrap(), effect);
    assert!(serde_json::from_str::<QuantileEffect>(&text.replacen("A", "?", 1)).is_err());
}
