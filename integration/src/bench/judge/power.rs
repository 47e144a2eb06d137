//! How soon a canary that fails more is found: requests of it until the rollback.

use super::figures::{Beside, speed_row};
use super::rig::{Race, SimulatedTraffic, aborts, failures, judge, race, runs};
use super::rivals::Rivals;
use super::{Extent, told};
use crate::bench::Sheet;

/// An hour, as planned.
const SECONDS: u64 = 3_600;
/// So many requests a second that each second is a block.
const A_BLOCK: u64 = 30;

/// At the lowest traffic whose every second is a block.
pub(super) fn tell(extent: Extent) -> Sheet {
    let mut sheet = Sheet::new(
        "Failures found: canary requests until the rollback",
        "baseline 0.1 %, weight 5 %, an hour of 30 requests a second; failed: the canary's failed requests until then \
         (median); the others: failed / rolled back; 0.1 → 0.1 % is an identical version",
        &Beside::Failed.columns(),
    );
    for (margin, canary, limits) in [
        (0.0, 1.0, None),
        (0.0, 0.05, Some([70, 180])),
        (0.0, 0.01, Some([580, 1_600])),
        (0.001, 0.05, None),
        (0.001, 0.01, Some([900, 2_300])),
        (0.001, 0.005, None),
        (0.0, 0.001, None),
        (0.001, 0.001, None),
    ] {
        let name = format!("margin {} %, 0.1 → {} %", 100.0 * margin, 100.0 * canary);
        let races = steady(extent.runs, margin, 0.05, canary, A_BLOCK);
        let limits = limits.map_or([None; 2], |both| both.map(Some));
        sheet.row(speed_row(told(name), &races, limits, Beside::Failed));
    }
    sheet
}

/// At the traffic that the others are made for, with the margin that a file has by default.
pub(super) fn tell_compared(extent: Extent) -> Sheet {
    let mut sheet = Sheet::new(
        "Failures found in busier services: canary requests until the rollback",
        "baseline 0.1 %, margin 0.1 % (the default), an hour; the columns as above",
        &Beside::Failed.columns(),
    );
    for (weight, canary, requests) in [
        (0.05, 1.0, 100),
        (0.05, 0.5, 100),
        (0.05, 0.1, 100),
        (0.05, 0.05, 100),
        (0.05, 0.01, 100),
        (0.05, 0.005, 100),
        (0.05, 1.0, 1_000),
        (0.05, 0.01, 1_000),
        (0.05, 0.005, 1_000),
        (0.5, 1.0, 1_000),
        (0.5, 0.05, 1_000),
        (0.05, 0.001, 100),
        (0.05, 0.001, 1_000),
    ] {
        let [weight_in, rate] = [weight, canary].map(|share| 100.0 * share);
        let name = format!("{requests} requests a second, weight {weight_in} %, 0.1 → {rate} %");
        let races = steady(extent.few, 0.001, weight, canary, requests);
        sheet.row(speed_row(told(name), &races, [None; 2], Beside::Failed));
    }
    sheet
}

/// Constant rates from the first request on.
pub(super) fn steady(
    count: u64,
    margin: f64,
    weight: f64,
    canary: f64,
    requests: u64,
) -> Vec<Race> {
    let judge = judge(failures(margin), SECONDS);
    let traffic = SimulatedTraffic { weight, requests, canary, stable: 0.001 };
    runs(count, |rng| {
        let lines = (0..SECONDS).map(|t| traffic.line(rng, t));
        race(judge.clone(), Rivals::of_failures(), aborts, lines)
    })
}
