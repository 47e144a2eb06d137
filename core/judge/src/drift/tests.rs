use super::*;
use crate::blocks::STILL;
use crate::laws::ONE;

fn classes(names: &[&str], canary: &[u64], stable: &[u64]) -> ClassPairs {
    let counts = canary.iter().zip(stable).map(|(c, s)| Pair { canary: *c, stable: *s });
    names.iter().map(ToString::to_string).zip(counts).collect()
}

fn line(names: &[&str], canary: &[u64], stable: &[u64]) -> Observation {
    let mut line = Observation::default();
    let part = |counts: &[u64]| {
        Some(names.iter().map(ToString::to_string).zip(counts.iter().copied()).collect())
    };
    line.signals.insert("label".to_owned(), Pair { canary: part(canary), stable: part(stable) });
    line
}

const ABC: [&str; 3] = ["a", "b", "c"];

/// A test that knows its classes and a past of both versions.
fn knowing(tolerance: f64) -> Drift {
    let mut test = Drift::new("label", tolerance, Some(1));
    let past = line(&ABC, &[5, 3, 2], &[50, 30, 20]);
    assert_eq!(test.observe(&STILL, &past), BlockUpdate::Closed { both: true });
    assert!((test.log_e() - 0.5f64.ln()).abs() < 1e-12, "a block with new classes is learnt from");
    test
}

#[test]
fn the_formula_by_hand() {
    let mut test = knowing(0.0);
    test.observe(&STILL, &line(&ABC, &[10, 5, 5], &[40, 20, 20]));
    let stable = [50.5 / 101.5, 30.5 / 101.5, 20.5 / 101.5f64];
    let (c, s) = ([10.0, 5.0, 5.0], [40.0, 20.0, 20.0]);
    let mut multinomial = 0.0;
    for kappa in [10.0, 100.0, 1e3, 1e4] {
        let mut log: f64 = 0.0;
        for j in 0..3 {
            let canary = ([5.0, 3.0, 2.0][j] + kappa * stable[j]) / (10.0 + kappa);
            let p0 = (20.0 * canary + 80.0 * stable[j]) / 100.0;
            log += c[j] * (canary / p0).ln() + s[j] * (stable[j] / p0).ln();
        }
        multinomial += log.exp() / 4.0;
    }
    let mut rest = 0.0;
    for j in 0..3 {
        for odds in ODDS {
            let p = stable[j];
            let pk = odds * p / (1.0 - p + odds * p);
            let p0 = (20.0 * pk + 80.0 * p) / 100.0;
            rest += (c[j] * (pk / p0).ln()
                + (20.0 - c[j]) * ((1.0 - pk) / (1.0 - p0)).ln()
                + s[j] * (p / p0).ln()
                + (80.0 - s[j]) * ((1.0 - p) / (1.0 - p0)).ln())
            .exp()
                / 30.0;
        }
    }
    assert!((test.log_e() - (0.5 * multinomial + 0.5 * rest).ln()).abs() < 1e-9);
    assert_eq!(test.history["a"], Pair { canary: 15, stable: 90 });
}

/// The mean of the e-value after one block of 3 canary and 4 stable values in three classes.
fn mean_after(test: &Drift, canary: [f64; 3], stable: [f64; 3]) -> f64 {
    let outcomes = |n: u64, p: [f64; 3]| {
        let mut all = Vec::new();
        for i in 0..=n {
            for j in 0..=n - i {
                let k = n - i - j;
                let factorial = |n: u64| (1..=n).product::<u64>() as f64;
                let ways = factorial(n) / (factorial(i) * factorial(j) * factorial(k));
                let chance = p[0].powi(i as i32) * p[1].powi(j as i32) * p[2].powi(k as i32);
                all.push(([i, j, k], ways * chance));
            }
        }
        all
    };
    let mut sum = 0.0;
    for (c, chance) in outcomes(3, canary) {
        for (s, other) in outcomes(4, stable) {
            let mut after = test.clone();
            after.update(&classes(&ABC, &c, &s));
            sum += chance * other * after.log_e().exp();
        }
    }
    sum
}

#[test]
fn the_mean_is_at_most_one_for_equal_distributions() {
    for truth in [[0.5, 0.3, 0.2], [0.9, 0.05, 0.05], [0.1, 0.2, 0.7], [0.0, 1.0, 0.0]] {
        let fair = mean_after(&knowing(0.0), truth, truth);
        assert!(fair <= ONE, "{truth:?}: {fair}");
    }
}

#[test]
fn the_mean_is_at_most_one_within_the_tolerance() {
    for (canary, stable) in [
        ([0.5, 0.3, 0.2], [0.5, 0.3, 0.2]),
        ([0.6, 0.2, 0.2], [0.5, 0.3, 0.2]),
        ([0.0, 0.1, 0.9], [0.1, 0.0, 0.9]),
        ([0.75, 0.15, 0.1], [0.65, 0.15, 0.2]),
    ] {
        let fair = mean_after(&knowing(0.1), canary, stable);
        assert!(fair <= ONE, "{canary:?} {stable:?}: {fair}");
    }
}

#[test]
fn drift_is_found_and_named() {
    // Class c lies 40 points higher.
    for (tolerance, found) in [(0.0, true), (0.05, true), (0.3, true), (0.45, false)] {
        let mut test = knowing(tolerance);
        for _ in 0..40 {
            test.observe(&STILL, &line(&ABC, &[5, 3, 12], &[50, 30, 20]));
        }
        assert_eq!(test.log_e() > 4.6, found, "{tolerance}: {}", test.log_e());
        let Findings::Class { class, counts, .. } = test.findings() else { panic!("class") };
        if found {
            assert_eq!((class.as_deref(), counts.canary.events), (Some("c"), 480));
        }
    }
    let mut same = knowing(0.0);
    for _ in 0..40 {
        same.observe(&STILL, &line(&ABC, &[10, 6, 4], &[50, 30, 20]));
    }
    assert!(same.log_e() < 0.0);
}

#[test]
fn a_class_that_comes_late_is_learnt_then_tested() {
    let mut test = knowing(0.0);
    let four = ["a", "b", "c", "d"];
    let before = test.log_e();
    test.observe(&STILL, &line(&four, &[1, 1, 1, 10], &[50, 30, 20, 0]));
    assert!((test.log_e() - before).abs() < 1e-12);
    assert_eq!(test.classes.len(), 4);
    test.observe(&STILL, &line(&four, &[1, 1, 1, 10], &[50, 30, 20, 0]));
    assert!(test.log_e() > 5.0);
}

#[test]
fn what_is_left_out_dropped_and_forgotten() {
    let mut test = knowing(0.0);
    assert_eq!(test.observe(&STILL, &line(&ABC, &[9, 9, 9], &[0, 0, 0])), BlockUpdate::LeftOut);
    assert_eq!(test.history["a"].canary, 5);
    assert_eq!(test.observe(&STILL, &line(&ABC, &[1, 1, 1], &[5, 5, 5])), BlockUpdate::Open);
    let changed = TickContext { change: Some(Change::Weight), ..STILL };
    assert_eq!(test.observe(&changed, &line(&ABC, &[1, 1, 1], &[5, 5, 5])), BlockUpdate::LeftOut);
    assert_eq!((test.block.size(), test.history["a"].stable), (0, 60), "both are history");
    test.count_clients();
    let sticky = TickContext { sticky: true, ..STILL };
    assert_eq!(test.observe(&sticky, &line(&ABC, &[1, 1, 1], &[5, 5, 5])), BlockUpdate::Dropped);
    let mut first = line(&ABC, &[1, 1, 1], &[50, 50, 50]);
    first.signals_first = std::mem::take(&mut first.signals);
    assert_eq!(test.observe(&sticky, &first), BlockUpdate::Closed { both: true });
    let window = TickContext { change: Some(Change::Window), sticky: true, ..STILL };
    test.observe(&window, &first);
    assert_eq!((test.log_e(), test.history["a"].stable), (0.0, 160));
}

#[test]
fn one_class_alone_can_not_drift() {
    let mut test = Drift::new("label", 0.0, Some(1));
    for _ in 0..3 {
        test.observe(&STILL, &line(&["a"], &[10], &[50]));
    }
    assert!((test.log_e() - 0.5f64.ln()).abs() < 1e-12);
}

const READ: [&str; 2] = ["cat", "unreadable"];

#[test]
fn what_neither_version_lets_it_read_is_no_data() {
    let mut test = Drift::new("label", 0.0, Some(1));
    assert_eq!(test.unreadable(), None, "nothing came yet");
    for _ in 0..9 {
        test.observe(&STILL, &line(&READ, &[0, 10], &[0, 90]));
    }
    let unreadable = |unreadable| {
        Some(InsufficientData::ReadableValues { signal: "label".to_owned(), unreadable })
    };
    assert_eq!(test.unreadable(), unreadable(900));
    test.observe(&STILL, &line(&READ, &[0, 10], &[1, 89]));
    assert_eq!(test.unreadable(), None, "one value of one version can be read");
    test.begin_step();
    test.observe(&STILL, &line(&READ, &[0, 10], &[0, 90]));
    assert_eq!(test.unreadable(), unreadable(100), "each step wants values of its own");
}

#[test]
fn what_one_version_leaves_unreadable_is_evidence() {
    let mut test = Drift::new("label", 0.0, Some(1));
    for _ in 0..9 {
        test.observe(&STILL, &line(&READ, &[0, 10], &[90, 0]));
    }
    assert_eq!(test.unreadable(), None);
    assert!(test.log_e() > 100f64.ln(), "{}", test.log_e());
    let Findings::Class { counts, .. } = test.findings() else { panic!("class") };
    assert_eq!(counts.canary.trials, 80);
}
