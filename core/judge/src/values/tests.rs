use super::*;
use crate::blocks::STILL;
use crate::laws::{ONE, mean};
use crate::verdict::Findings;
use canary_model::histogram::Bin;

/// Values in bins of a width of 10.
fn bins(bins: &[(f64, u64)]) -> Histogram {
    bins.iter().map(|(lower, count)| (Bin::new(*lower, 10.0).unwrap(), *count)).collect()
}

fn line(requests: u64, canary: &[(f64, u64)], stable: &[(f64, u64)]) -> Observation {
    let mut line = Observation::default();
    line.roles.canary.total = Some(requests);
    let values = Pair { stable: Some(bins(stable)), canary: Some(bins(canary)) };
    line.values.insert("tokens".to_owned(), values);
    line
}

const STABLE: [(f64, u64); 3] = [(100.0, 300), (200.0, 400), (300.0, 300)];

fn warm(worse: Worse, tolerance: f64) -> ValuesTest {
    let mut test = ValuesTest::new("tokens", worse, tolerance, Some(1));
    assert_eq!(test.observe(&STILL, &line(50, &[], &STABLE)), BlockUpdate::LeftOut);
    test
}

fn after(worse: Worse, tolerance: f64, canary: &[(f64, u64)]) -> ValuesTest {
    let mut test = warm(worse, tolerance);
    for _ in 0..20 {
        test.observe(&STILL, &line(100, canary, &STABLE));
    }
    test
}

#[test]
fn the_formula_downwards_by_hand() {
    let mut test = warm(Worse::Lower, 1.0);
    let closed =
        test.observe(&STILL, &line(30, &[(100.0, 20), (300.0, 10)], &[(100.0, 30), (200.0, 40)]));
    assert_eq!(closed, BlockUpdate::Closed { both: true });
    let mut sum = 0.0;
    // Shares below the lower bounds of stable's past: 0 (100), .3 (200), .7 (300). Nearest .5: both, so
    // the upper, with 70 stable and 20 canary values below it; .25: the middle one; .1 and less: none.
    for (tail, yc, ys) in
        [(700.0, 20.0, 70.0), (300.0, 20.0, 30.0)].into_iter().chain([(0.0, 0.0, 0.0); 7])
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
    assert!((test.log_e() - (sum / 54.0f64).ln()).abs() < 1e-9, "{}", test.log_e());
}

#[test]
fn each_direction_finds_its_own_and_both_find_either() {
    let low = [(100.0, 60), (200.0, 40)];
    let high = [(200.0, 20), (300.0, 80)];
    let evidence = |worse, canary: &[(f64, u64)]| after(worse, 1.0, canary).log_e();
    for (worse, lower, higher) in
        [(Worse::Lower, true, false), (Worse::Higher, false, true), (Worse::Both, true, true)]
    {
        assert_eq!(evidence(worse, &low) > 10.0, lower, "{worse:?}");
        assert_eq!(evidence(worse, &high) > 10.0, higher, "{worse:?}");
    }
    let one = evidence(Worse::Lower, &low);
    let both = evidence(Worse::Both, &low);
    assert!((one - both - std::f64::consts::LN_2).abs() < 1e-6, "108 bets cost ln 2");
    let Findings::Value { signal, lower, quantile, edge, counts, .. } =
        after(Worse::Both, 1.0, &low).findings()
    else {
        panic!("a value")
    };
    assert_eq!(
        (signal.as_str(), lower, quantile.as_ref(), edge),
        ("tokens", true, "p50", Some(300.0))
    );
    assert_eq!(counts.canary.share(), Some(1.0));
}

#[test]
fn a_change_within_the_tolerance_is_no_evidence() {
    let shifted = |factor: f64| STABLE.map(|(lower, count)| (lower * factor, count));
    assert!(after(Worse::Both, 1.2, &shifted(1.2)).log_e() < 1.0);
    assert!(after(Worse::Both, 1.25, &shifted(1.0 / 1.25)).log_e() < 1.0);
    assert!(after(Worse::Both, 1.2, &shifted(1.6)).log_e() > 10.0);
    assert!(after(Worse::Both, 1.2, &shifted(0.5)).log_e() > 10.0);
}

#[test]
fn the_mean_is_at_most_one_for_identical_versions() {
    for worse in Worse::ALL {
        let fair = mean([(6, 0.3), (26, 0.3)], |yc, ys| {
            let mut test = warm(worse, 1.0);
            let canary = [(100.0, 6 - yc), (300.0, yc)];
            test.observe(&STILL, &line(6, &canary, &[(100.0, 26 - ys), (300.0, ys)]));
            test.log_e().exp()
        });
        assert!(fair <= ONE, "{worse:?}: {fair}");
    }
}

#[test]
fn more_zeros_are_found_downwards() {
    let with_zeros = |zeros: u64| {
        let mut values = bins(&[(100.0, 100 - zeros)]);
        values.add(Bin::new(0.0, 0.0).unwrap(), zeros);
        values
    };
    let mut test = ValuesTest::new("tokens", Worse::Lower, 2.0, Some(1));
    for _ in 0..40 {
        let mut line = line(100, &[], &[]);
        let values = Pair { stable: Some(with_zeros(10)), canary: Some(with_zeros(30)) };
        line.values.insert("tokens".to_owned(), values);
        test.observe(&STILL, &line);
    }
    assert!(test.log_e() > 10.0, "a factor tolerates nothing at zero: {}", test.log_e());
}

#[test]
fn with_affinity_first_values_are_read_and_halves_dropped() {
    let mut test = warm(Worse::Higher, 1.0);
    test.count_clients();
    let sticky = TickContext { sticky: true, ..STILL };
    let mut half = line(9, &[(900.0, 9)], &STABLE);
    let values = Pair { stable: Some(bins(&STABLE)), canary: None };
    half.values_first.insert("tokens".to_owned(), values);
    assert_eq!(test.observe(&sticky, &half), BlockUpdate::Dropped);
    half.values_first.get_mut("tokens").unwrap().canary = Some(bins(&[(900.0, 40)]));
    assert_eq!(test.observe(&sticky, &half), BlockUpdate::Closed { both: true });
    assert!(test.log_e() > 5.0);
}
