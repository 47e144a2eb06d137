//! The split check: how soon a wrong split is found, and how seldom a right one is (STATISTICS 1.14).

use canary_judge::observation::Observation;
use canary_model::weight::Weight;
use serde_json::json;

use crate::rig::{Rng, Run, binomial, canary_quantiles, decided, judge, most, runs};

/// Requests in a line.
const REQUESTS: u64 = 100;

fn assigned(t: u64, weight: f64, window: u64, canary: u64, stable: u64) -> Observation {
    let weight = Weight::from_ppm((weight * 1e6).round() as u32).unwrap();
    let mut line =
        Observation { t: t as f64, weight, window: Some(window), ..Observation::default() };
    line.roles.canary.assigned = Some(canary);
    line.roles.stable.assigned = Some(stable);
    line
}

/// What runs count here are requests of both versions until the alarm.
fn alarms(count: u64, mut lines: impl FnMut(&mut Rng) -> Vec<Observation>) -> Vec<Run> {
    let judge = judge(&json!([{"name": "f", "kind": "failureRate"}]));
    runs(count, |rng| {
        let (mut judge, mut run) = (judge.clone(), Run::default());
        for line in lines(rng) {
            run.canary += line.roles.canary.assigned.unwrap_or(0);
            run.canary += line.roles.stable.assigned.unwrap_or(0);
            judge.take(&line);
            if judge.split().mismatch {
                run.decided = true;
                break;
            }
        }
        run
    })
}

/// Runs of a weight and a true share that holds from some line on.
fn steady(count: u64, weight: f64, share: f64, from: u64, lines: u64) -> Vec<Run> {
    let mut all = alarms(count, |rng| {
        let one = |t| {
            let nc = binomial(rng, REQUESTS, if t < from { weight } else { share });
            assigned(t, weight, 1, nc, REQUESTS - nc)
        };
        (0..lines).map(one).collect()
    });
    for run in &mut all {
        run.canary = run.canary.saturating_sub(from * REQUESTS);
    }
    all
}

#[test]
fn a_wrong_split_is_found_as_soon_as_it_should_be() {
    for (weight, share, from, lines, [median, p95]) in [
        (0.05, 0.065, 0, 600, [3_850, 7_600]),
        (0.05, 0.065, 1_800, 2_400, [6_700, 11_000]),
        (0.05, 0.055, 0, 2_000, [33_000, 68_000]),
    ] {
        let measured = canary_quantiles(&steady(150, weight, share, from, lines));
        println!("{weight} is {share} from {from}: {measured:?}, study {median}/{p95}");
        assert!(measured.0 <= median * 125 / 100 && measured.1 <= p95 * 135 / 100, "{measured:?}");
        assert!(measured.0 >= median * 75 / 100, "too good to be true: {measured:?}");
    }
}

#[test]
fn a_right_split_is_left_alone_at_one_weight_and_on_a_ladder() {
    let constant = decided(&steady(200, 0.05, 0.05, 0, 3_600));
    let within = decided(&steady(200, 0.05, 0.0505, 0, 3_600));
    let ladder = decided(&alarms(200, |rng| {
        let one = |t| {
            let weight = [0.01, 0.05, 0.25, 0.5][t as usize / 900];
            let nc = binomial(rng, REQUESTS, weight);
            assigned(t, weight, 1, nc, REQUESTS - nc)
        };
        (0..3_600).map(one).collect()
    }));
    println!("false alarms: {constant}, within the slack {within}, ladder {ladder} of 200");
    for alarms in [constant, within, ladder] {
        assert!(alarms <= most(200, 0.01), "{alarms} of 200");
    }
}

/// 5,000 clients that come in each of 24 windows: their split is one draw, which all windows repeat.
#[test]
fn clients_that_return_in_each_window_are_not_fresh_evidence() {
    let windows = |sticky: bool| {
        decided(&alarms(100, |rng| {
            let canary = binomial(rng, 5_000, 0.05);
            let mut lines = Vec::new();
            for window in 1..=24 {
                let (mut clients, mut left) = (5_000, canary);
                for t in 0..=50 {
                    let nc = if t == 0 { 0 } else { drawn(rng, left, clients, 100) };
                    let ns = if t == 0 { 0 } else { 100 - nc };
                    let mut line = assigned(window * 60 + t, 0.05, window, nc, ns);
                    line.sticky = sticky;
                    lines.push(line);
                    left -= nc;
                    clients -= nc + ns;
                }
            }
            lines
        }))
    };
    let (by_window, as_one) = (windows(true), windows(false));
    println!("false alarms: {by_window} of 100 by window, {as_one} of 100 as one test");
    assert!(by_window <= most(100, 0.01), "{by_window} of 100");
    assert!(as_one >= 10, "{as_one} of 100");
}

/// How many of the first `n` of `clients` in random order are among the canary's `left`.
fn drawn(rng: &mut Rng, mut left: u64, mut clients: u64, n: u64) -> u64 {
    let before = left;
    for _ in 0..n {
        left -= binomial(rng, 1, left as f64 / clients as f64);
        clients -= 1;
    }
    before - left
}
