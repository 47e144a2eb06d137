//! How often an identical version is rolled back: at most as often as the file says, at any baseline and
//! weight, through incidents, with sticky clients, with proxies that restart.

use canary_judge::Judge;
use canary_judge::observation::Observation;
use rand::RngExt;

use super::clients::{Population, SimulatedClient};
use super::figures::{Share, share_row};
use super::rig::{Race, Rng, SimulatedTraffic, aborts, failures, judge, race, runs};
use super::rivals::{NAMES, Rivals};
use super::{Extent, drift, latency, restarts, told};
use crate::bench::Sheet;

const LIMIT: f64 = 0.01;
/// Twenty minutes at 1,000 requests a second: more than a million requests.
const SECONDS: u64 = 1_200;
const BUSY: u64 = 1_000;

pub(super) fn tell(extent: Extent) -> Sheet {
    let [flagger, argo, kayenta] = NAMES;
    let columns = ["rolled back", "95 % interval", "runs", "target", flagger, argo, kayenta];
    let mut sheet = Sheet::new(
        "False aborts: how often an identical version is rolled back",
        "falseAbort 1 %, margin 0, a look each second; a million requests (1,000 a second for 20 minutes) where nothing \
         else is said",
        &columns,
    );
    let mut add = |name: String, races: Vec<Race>, limit| {
        sheet.row(share_row(told(name), &races, limit, Share::fraction));
    };
    for baseline in [0.001, 0.01, 0.1] {
        for weight in [0.01, 0.05, 0.1, 0.25, 0.5] {
            let races = steady(extent.runs, 0.0, weight, [baseline, baseline], BUSY, SECONDS);
            let name = format!("baseline {} %, weight {} %", 100.0 * baseline, 100.0 * weight);
            add(name, races, Some(LIMIT));
        }
        let name = format!("baseline {} %, ladder 1/5/10/25/50 %", 100.0 * baseline);
        add(name, ladder(extent.runs, baseline), Some(LIMIT));
    }
    let races = steady(extent.runs, 0.0, 0.05, [0.01, 0.01], 20, 3_600);
    add(
        "baseline 1 %, weight 5 %, 20 requests a second for an hour".to_owned(),
        races,
        Some(LIMIT),
    );
    let races = steady(extent.runs, 0.001, 0.1, [0.011, 0.01], BUSY, SECONDS);
    add("canary 0.1 points worse and margin 0.1 %, weight 10 %".to_owned(), races, Some(LIMIT));
    for (rate, weight) in [(0.3, 0.05), (1.0, 0.05), (0.3, 0.5), (1.0, 0.5)] {
        let name = format!("shared incidents of {} %, weight {} %", 100.0 * rate, 100.0 * weight);
        add(name, incidents(extent.runs, rate, weight), Some(LIMIT));
    }
    for weight in [0.01, 0.05, 0.1, 0.25, 0.5] {
        let name = format!("sticky clients, 1 in 100 broken, weight {} %", 100.0 * weight);
        add(name, sticky(extent.runs, weight, |line| line), Some(LIMIT));
    }
    add("proxies restart, weight 5 %".to_owned(), restarts::races(extent.runs, 0.05), Some(LIMIT));
    add("proxies restart, weight 50 %".to_owned(), restarts::races(extent.runs, 0.5), Some(LIMIT));
    add(
        "latency, tolerance 1.0, weight 20 %".to_owned(),
        latency::identical(extent.runs),
        Some(LIMIT),
    );
    add(
        "distribution of 5 classes, weight 10 %".to_owned(),
        drift::identical(extent.runs),
        Some(LIMIT),
    );
    let by_request = sticky(extent.few, 0.05, |line| Observation { sticky: false, ..line });
    add(
        "what voids it: sticky clients, counted by request, weight 5 %".to_owned(),
        by_request,
        None,
    );
    sheet
}

/// A judge of failures for a plan of so many seconds.
fn judge_of(margin: f64, seconds: u64) -> Judge {
    judge(failures(margin), seconds)
}

fn steady(
    count: u64,
    margin: f64,
    weight: f64,
    [canary, stable]: [f64; 2],
    requests: u64,
    seconds: u64,
) -> Vec<Race> {
    let judge = judge_of(margin, seconds);
    let traffic = SimulatedTraffic { weight, requests, canary, stable };
    runs(count, |rng| {
        let lines = (0..seconds).map(|t| traffic.line(rng, t));
        race(judge.clone(), Rivals::of_failures(), aborts, lines)
    })
}

fn ladder(count: u64, baseline: f64) -> Vec<Race> {
    const WEIGHTS: [f64; 5] = [0.01, 0.05, 0.1, 0.25, 0.5];
    let judge = judge_of(0.0, SECONDS);
    runs(count, |rng| {
        let lines = (0..SECONDS).map(|t| {
            let weight = WEIGHTS[(t * WEIGHTS.len() as u64 / SECONDS) as usize];
            SimulatedTraffic { weight, requests: BUSY, canary: baseline, stable: baseline }
                .line(rng, t)
        });
        race(judge.clone(), Rivals::of_failures(), aborts, lines)
    })
}

/// 0.1 % of requests fail; in incidents of half a minute, which begin at any moment and about seven
/// times an hour, `rate` of both versions' do.
fn incidents(count: u64, rate: f64, weight: f64) -> Vec<Race> {
    const LASTS: f64 = 30.0;
    const PER_SECOND: f64 = 7.0 / 3_600.0;
    let judge = judge_of(0.0, SECONDS);
    runs(count, |rng| {
        let mut until = 0.0_f64;
        let lines = (0..SECONDS).map(|t| {
            let t_s = t as f64;
            if until <= t_s && rng.random_bool(PER_SECOND) {
                until = t_s + LASTS + rng.random::<f64>();
            }
            let within = (until - t_s).clamp(0.0, 1.0);
            let share = 0.001 + within * (rate - 0.001);
            SimulatedTraffic { weight, requests: BUSY, canary: share, stable: share }.line(rng, t)
        });
        race(judge.clone(), Rivals::of_failures(), aborts, lines)
    })
}

/// 5,000 clients of which one in a hundred fails half of its requests, on either version; 200,000 requests
/// in four windows.
fn sticky(count: u64, weight: f64, as_seen: fn(Observation) -> Observation) -> Vec<Race> {
    let judge = judge_of(0.0, 800);
    let broken = |rng: &mut Rng| {
        let rate = if rng.random_bool(0.01) { 0.5 } else { 0.0001 };
        SimulatedClient { stable: rate, canary: rate }
    };
    runs(count, |rng| {
        let mut all = Population::new(rng, 5_000, broken);
        let lines = (0..800).map(|t| as_seen(all.line(rng, t, weight, 1 + t / 200, 250)));
        race(judge.clone(), Rivals::of_failures(), aborts, lines)
    })
}
