//! Failures, counted by client: what goes wrong when requests are counted instead, and that clients at
//! risk, windows and first requests put it right.

use canary_judge::observation::Observation;
use rand::RngExt;

use crate::clients::{Client, Population};
use crate::rig::{Rng, Run, decided, failures, judge, most, runs, until, until_abort};

/// One client in a hundred fails half of its requests, on either version.
fn some_broken(rng: &mut Rng) -> Client {
    let rate = if rng.random_bool(0.01) { 0.5 } else { 0.0001 };
    Client { stable: rate, canary: rate }
}

fn unkeyed(mut line: Observation) -> Observation {
    line.sticky = false;
    line
}

fn sticky(count: u64, weight: f64, as_seen: fn(Observation) -> Observation) -> Vec<Run> {
    let judge = judge(&failures("0%"));
    runs(count, |rng| {
        let mut all = Population::new(rng, 5_000, some_broken);
        let lines = (0..400).map(|t| as_seen(all.line(rng, t, weight, 1 + t / 100, 250)));
        until_abort(judge.clone(), lines)
    })
}

#[test]
fn sticky_clients_fool_a_count_of_requests_and_not_one_of_clients() {
    let fooled = decided(&sticky(60, 0.05, unkeyed));
    let clients = decided(&sticky(100, 0.05, |line| line));
    println!("false aborts: {fooled} of 60 by request, {clients} of 100 by client");
    assert!(fooled >= 5, "{fooled} of 60");
    assert!(clients <= most(100, 0.01), "{clients} of 100");
}

#[test]
fn a_canary_that_breaks_more_clients_is_found() {
    let judge = judge(&failures("0.5%"));
    let found = runs(40, |rng| {
        // Five clients in a hundred fail half of their requests on the canary alone.
        let mut all = Population::new(rng, 20_000, |rng| {
            let stable = if rng.random_bool(0.01) { 0.5 } else { 0.0001 };
            Client { stable, canary: if rng.random_bool(0.05) { 0.5 } else { stable } }
        });
        let lines = (0..400).map(|t| all.line(rng, t, 0.1, 1, 500));
        until_abort(judge.clone(), lines)
    });
    assert!(decided(&found) >= 39, "{} of 40", decided(&found));
}

#[test]
fn an_outage_does_not_blame_the_version_whose_clients_had_not_failed_yet() {
    // The canary is better: on stable a third of the clients is weak and soon has failed. Then an outage
    // makes everybody fail, and most who fail for the first time are the canary's.
    let judge = judge(&failures("0%"));
    let all = runs(40, |rng| {
        let mut all = Population::new(rng, 5_000, |rng| {
            let weak = rng.random_bool(0.33);
            Client { stable: if weak { 0.3 } else { 0.001 }, canary: 0.001 }
        });
        let mut lines: Vec<_> = (0..120).map(|t| all.line(rng, t, 0.2, 1, 500)).collect();
        all.break_everybody();
        lines.extend((120..150).map(|t| all.line(rng, t, 0.2, 1, 500)));
        until_abort(judge.clone(), lines.into_iter())
    });
    assert!(decided(&all) <= most(40, 0.01), "{} of 40", decided(&all));
}

#[test]
fn clients_first_requests_certify_a_good_canary_and_seldom_one_at_the_margin() {
    let judge = judge(&failures("2%"));
    let certify = |count, canary: f64| {
        runs(count, |rng| {
            let mut all = Population::new(rng, 20_000, |_| Client { stable: 0.001, canary });
            let lines = (0..300).map(|t| all.line(rng, t, 0.1, 1, 200));
            until(judge.clone(), lines, |judge| judge.uncertified().is_empty())
        })
    };
    let bad = decided(&certify(150, 0.021));
    println!("certified at the margin: {bad} of 150");
    assert!(bad <= most(150, 0.025), "{bad} of 150: half of 5 % in the first window");
    assert!(decided(&certify(30, 0.001)) >= 29);
}
