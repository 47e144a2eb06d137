use super::*;
use crate::blocks::{Change, STILL};
use crate::laws::{ONE, mean};
use canary_model::histogram::{Bin, Histogram};

fn bins(bins: &[(f64, u64)]) -> Histogram {
    bins.iter().map(|(lower, count)| (Bin::new(*lower, 100.0).unwrap(), *count)).collect()
}

fn line(requests: u64, canary: &[(f64, u64)], stable: &[(f64, u64)]) -> Observation {
    let mut line = Observation::default();
    line.roles.canary.total = Some(requests);
    line.roles.canary.rq_time_us = Some(bins(canary));
    line.roles.stable.rq_time_us = Some(bins(stable));
    line
}

fn tick(change: Option<Change>) -> TickContext {
    TickContext { change, ..STILL }
}

/// 1,000 stable requests: 500 of 1 to 1.1 ms, 400 of 2, 90 of 3, 9 of 4, one of 5.
const STABLE: [(f64, u64); 5] =
    [(1_000.0, 500), (2_000.0, 400), (3_000.0, 90), (4_000.0, 9), (5_000.0, 1)];

/// A test that is past its cold start, with the history of [`STABLE`].
fn warm(tolerance: f64) -> Latency {
    let mut test = Latency::new(Timing::Total, [tolerance; 9], Some(1));
    assert_eq!(test.observe(&STILL, &line(50, &[], &STABLE)), BlockUpdate::LeftOut);
    test
}

#[test]
fn the_formula_by_hand() {
    let mut test = warm(1.0);
    let canary = [(2_000.0, 20), (4_000.0, 10)];
    let closed = test.observe(&STILL, &line(30, &canary, &[(1_000.0, 40), (3_000.0, 30)]));
    assert_eq!(closed, BlockUpdate::Closed { both: true });
    let mut sum = 0.0;
    // Tails of stable's past, and of the block's canary and stable observations, at each quantile.
    for (tail, yc, ys) in [(500.0, 30.0, 30.0), (100.0, 10.0, 30.0), (100.0, 10.0, 30.0)]
        .into_iter()
        .chain([(10.0, 10.0, 0.0); 3])
        .chain([(1.0, 0.0, 0.0); 3])
    {
        let p1: f64 = (tail + 0.5) / 1_001.0;
        for psi in [1.15, 1.3, 1.6, 2.0, 4.0, 10.0] {
            let pk = psi * p1 / (1.0 - p1 + psi * p1);
            let p0 = (30.0 * pk + 70.0 * p1) / 100.0;
            sum += (yc * (pk / p0).ln()
                + (30.0 - yc) * ((1.0 - pk) / (1.0 - p0)).ln()
                + ys * (p1 / p0).ln()
                + (70.0 - ys) * ((1.0 - p1) / (1.0 - p0)).ln())
            .exp();
        }
    }
    assert!((test.log_e() - (sum / 54.0f64).ln()).abs() < 1e-9);
    assert_eq!(test.test.history.count(), 1_070, "the block is history only after its test");
}

#[test]
fn the_test_waits_for_the_cold_start_and_the_history() {
    let mut test = Latency::new(Timing::Total, [1.0; 9], Some(1));
    let slow: [(f64, u64); 1] = [(9_000.0, 20)];
    for seen in [20, 40] {
        assert_eq!(test.observe(&STILL, &line(20, &slow, &STABLE)), BlockUpdate::LeftOut);
        let lack = InsufficientData::ColdStart { have: seen, need: 50 };
        assert_eq!(test.missing(), Some(lack));
    }
    assert_eq!(
        test.observe(&STILL, &line(20, &slow, &STABLE)),
        BlockUpdate::LeftOut,
        "holds the 50th"
    );
    assert!((test.log_e() - 0.5f64.ln()).abs() < 1e-12, "no bet was placed");
    assert_eq!(test.test.history.count(), 3_000, "stable's observations are history all the same");
    assert_eq!(test.observe(&STILL, &line(20, &slow, &STABLE)), BlockUpdate::Closed { both: true });

    let mut test = Latency::new(Timing::Total, [1.0; 9], Some(1));
    test.observe(&STILL, &line(99, &[], &[(1_000.0, 99)]));
    assert_eq!(test.missing(), Some(InsufficientData::History { have: 99, need: 100 }));
    assert_eq!(test.observe(&STILL, &line(9, &slow, &STABLE)), BlockUpdate::LeftOut);
    assert_eq!(test.observe(&STILL, &line(9, &slow, &[(1_000.0, 2)])), BlockUpdate::Open);
    assert_eq!(test.missing(), Some(InsufficientData::Block { have: 22, need: 30 }));
}

#[test]
fn a_change_discards_the_open_block_but_keeps_stables_observations() {
    let mut test = warm(1.0);
    test.observe(&STILL, &line(9, &[(9_000.0, 9)], &[(1_000.0, 9)]));
    let changed = tick(Some(Change::Weight));
    let fast: [(f64, u64); 1] = [(1_000.0, 50)];
    assert_eq!(test.observe(&changed, &line(9, &[(9_000.0, 9)], &fast)), BlockUpdate::LeftOut);
    assert_eq!((test.test.block.size(), test.test.history.count()), (0, 1_059));
    assert!((test.log_e() - 0.5f64.ln()).abs() < 1e-12);
    assert_eq!(test.observe(&STILL, &line(9, &[(9_000.0, 99)], &[])), BlockUpdate::LeftOut);
}

#[test]
fn with_affinity_first_observations_are_read_and_halves_dropped() {
    let mut test = warm(1.0);
    test.count_clients();
    let sticky = TickContext { sticky: true, ..STILL };
    let mut half = line(9, &[], &STABLE);
    half.roles.stable.rq_time_first_us = half.roles.stable.rq_time_us.clone();
    assert_eq!(test.observe(&sticky, &half), BlockUpdate::Dropped);
    half.roles.canary.rq_time_first_us = Some(bins(&[(5_000.0, 40)]));
    assert_eq!(test.observe(&sticky, &half), BlockUpdate::Closed { both: true });
    assert!(test.log_e() > 5.0);
    let window = TickContext { sticky: true, ..tick(Some(Change::Window)) };
    test.observe(&window, &half);
    assert_eq!(test.log_e(), 0.0, "a new window starts again, and without a start mixture");
    assert_eq!(test.test.history.count(), 3_000, "but knows what stable did");
}

#[test]
fn the_mean_is_at_most_one_for_identical_versions() {
    // Two bins, shares 0.7 and 0.3; the history says something else.
    let fair = mean([(6, 0.3), (26, 0.3)], |yc, ys| {
        let mut test = warm(1.0);
        let canary = [(1_000.0, 6 - yc), (3_000.0, yc)];
        test.observe(&STILL, &line(6, &canary, &[(1_000.0, 26 - ys), (3_000.0, ys)]));
        test.log_e().exp()
    });
    assert!(fair <= ONE, "{fair}");
}

#[test]
fn a_tolerated_slowdown_is_no_evidence_and_a_larger_one_is_named() {
    let slower = |factor: f64, tolerance: f64| {
        let mut test = warm(tolerance);
        let canary = STABLE.map(|(lower, count)| (lower * factor, count));
        for _ in 0..10 {
            test.observe(&STILL, &line(1_000, &canary, &STABLE));
        }
        (test.log_e(), test.findings())
    };
    assert!(slower(1.1, 1.1).0 < 1.0);
    let (log_e, findings) = slower(1.1, 1.0);
    assert!(log_e < 1.0, "within the bins' width nothing can be seen: {log_e} {findings:?}");
    let (log_e, findings) = slower(2.0, 1.1);
    assert!(log_e > 50.0);
    let Findings::Quantile { quantile, counts, tolerance, .. } = findings else {
        panic!("quantile")
    };
    assert_eq!((&*quantile, tolerance, counts.canary.trials), ("p75", 1.1, 10_000));
}

/// Both versions' durations in one bin each, at the default tolerance; whether that is evidence enough
/// for a rollback at 1 %.
fn in_one_bin(stable: (f64, f64), canary: (f64, f64)) -> (bool, Findings) {
    let one = |(lower, width): (f64, f64), count| {
        Some([(Bin::new(lower, width).unwrap(), count)].into_iter().collect())
    };
    let mut test = Latency::new(Timing::Total, [1.1; 9], Some(3_600));
    for _ in 0..30 {
        let mut line = Observation::default();
        line.roles.canary.total = Some(10);
        line.roles.canary.rq_time_us = one(canary, 10);
        line.roles.stable.rq_time_us = one(stable, 90);
        test.observe(&STILL, &line);
    }
    (test.log_e() > 100f64.ln(), test.findings())
}

#[test]
fn a_slower_canary_is_found_though_stable_fills_one_bin() {
    // 0.52 s against 1.55 s, 52 ms against 15 s, and the smallest step that clears 1.1 × 530 ms.
    for (stable, canary) in [
        ((520_000.0, 10_000.0), (1_500_000.0, 100_000.0)),
        ((52_000.0, 1_000.0), (15_000_000.0, 1_000_000.0)),
        ((520_000.0, 10_000.0), (590_000.0, 10_000.0)),
        ((99_000.0, 1_000.0), (110_000.0, 10_000.0)),
    ] {
        let (found, findings) = in_one_bin(stable, canary);
        assert!(found, "{stable:?} {canary:?} {findings:?}");
        let Findings::Quantile { edge_us, counts, .. } = findings else { panic!("quantile") };
        assert_eq!(edge_us, Some(stable.0 + stable.1), "the upper bound tells them apart");
        assert_eq!((counts.stable.events, counts.canary.share()), (0, Some(1.0)));
    }
}

#[test]
fn a_tolerated_canary_is_left_alone_though_stable_fills_one_bin() {
    // The same bin; up to 1.1 times its end; faster.
    for canary in [520_000.0, 580_000.0, 570_000.0, 51_000.0, 0.0] {
        let (found, findings) = in_one_bin((520_000.0, 10_000.0), (canary, 10_000.0));
        assert!(!found, "{canary} {findings:?}");
    }
}

/// A factor tolerates nothing at zero, and a bin without width holds its bound.
#[test]
fn a_bin_without_width_has_an_edge_above_it() {
    let zero = (0.0, 0.0);
    assert!(in_one_bin(zero, (1.0, 0.1)).0);
    assert!(!in_one_bin(zero, zero).0);
    let exact = (500.0, 0.0);
    assert!(in_one_bin(exact, (560.0, 10.0)).0);
    assert!(!in_one_bin(exact, exact).0);
    assert!(!in_one_bin(exact, (550.0, 0.0)).0, "1.1 times, exactly");
    assert!(in_one_bin(zero, (1.0, 0.1)).1 != in_one_bin(zero, zero).1);
}

#[test]
fn each_metric_reads_the_timing_that_it_names() {
    let observe = |timing| {
        let mut test = Latency::new(timing, [1.1; 9], Some(1));
        for _ in 0..20 {
            let mut line = line(50, &[(1_000.0, 50)], &[(1_000.0, 450)]);
            line.roles.canary.rq_ttfb_us = Some(bins(&[(500.0, 50)]));
            line.roles.stable.rq_ttfb_us = Some(bins(&[(100.0, 450)]));
            test.observe(&STILL, &line);
        }
        test
    };
    assert!(observe(Timing::Total).log_e() < 1.0);
    let slower = observe(Timing::Ttfb);
    assert!(slower.log_e() > 20.0);
    let Findings::Quantile { timing, edge_us, .. } = slower.findings() else { panic!("quantile") };
    assert_eq!((timing, edge_us), (Timing::Ttfb, Some(200.0)));
    let gap = observe(Timing::Gap);
    assert_eq!(gap.missing(), Some(InsufficientData::History { have: 0, need: 100 }));
}

/// Streams end long before their requests reach the age at which outcomes are counted, or have no answer
/// at that age: the cold start goes by whichever there is more of.
#[test]
fn answers_end_the_cold_start_as_requests_do() {
    let mut test = Latency::new(Timing::Total, [1.0; 9], Some(1));
    test.observe(&STILL, &line(0, &[(1_000.0, 50)], &STABLE));
    assert!(matches!(test.missing(), Some(InsufficientData::Block { .. })));
}
