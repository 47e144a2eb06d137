//! How soon a slower canary is found, as a whole or in its tail, and how seldom one that isn't.

use canary_judge::Judge;
use canary_judge::observation::Observation;
use canary_judge::spec::MetricRule;
use canary_judge::timing::Timing;
use canary_model::histogram::{Bin, Histogram};
use rand::RngExt;
use rand_distr::{Distribution, LogNormal};

use super::figures::{Beside, speed_row};
use super::rig::{Race, Rng, aborts, binomial, blank, judge, race, runs};
use super::rivals::Rivals;
use super::{Extent, told};
use crate::bench::Sheet;

/// Requests a second, of both versions.
const REQUESTS: u64 = 40;
/// The canary's cold start, which the test leaves out.
const COLD: u64 = 50;
const SIGMA: f64 = 0.5;
const MEDIAN_US: f64 = 100_000.0;
/// So that Flagger has its six intervals and Kayenta two verdicts.
const SECONDS: u64 = 1_200;

pub(super) fn tell(extent: Extent) -> Sheet {
    let mut sheet = Sheet::new(
        "Slowness found: canary requests beyond the first 50 until the rollback",
        "log-normal around 100 ms (σ 0.5), weight 5 %, 20 minutes of 40 requests a second; the others watch the 99th \
         percentile: canary requests / rolled back",
        &Beside::Requests.columns(),
    );
    // The slowest twentieth of a log-normal lies beyond exp(1.645 σ) times its median.
    let p95 = MEDIAN_US * (1.645 * SIGMA).exp();
    let tail = move |_: &mut Rng, value: f64| if value >= p95 { value * 2.0 } else { value };
    let all = |_: &mut Rng, value: f64| value * 1.5;
    let some = |rng: &mut Rng, value: f64| if rng.random_bool(0.02) { value * 10.0 } else { value };
    let mut add = |name: &str, races: Vec<Race>, limit| {
        let name = told(name.to_owned());
        sheet.row(speed_row(name, &races, [limit, None], Beside::Requests));
    };
    let Extent { runs, few, .. } = extent;
    add("all × 1.5, tolerance 1.0", slowed(runs, 1.0, 0.05, SECONDS, all), Some(45));
    add(
        "slowest 5 % × 2 (p99 × 2), tolerance 1.0",
        slowed(runs, 1.0, 0.05, SECONDS, tail),
        Some(130),
    );
    add("all × 1.5, tolerance 1.1 (the default)", slowed(few, 1.1, 0.05, SECONDS, all), None);
    add("slowest 5 % × 2, tolerance 1.1", slowed(few, 1.1, 0.05, SECONDS, tail), None);
    add("2 % of requests × 10, tolerance 1.1", slowed(few, 1.1, 0.05, SECONDS, some), None);
    sheet
}

/// Runs of a canary that isn't slower.
pub(super) fn identical(count: u64) -> Vec<Race> {
    slowed(count, 1.0, 0.2, 600, same)
}

/// 10,000 stable requests before the canary's first, then the canary's cold start, then a stream.
fn slowed(
    count: u64,
    tolerance: f64,
    weight: f64,
    seconds: u64,
    slower: impl Fn(&mut Rng, f64) -> f64 + Sync,
) -> Vec<Race> {
    let judge =
        judge(MetricRule::Latency { timing: Timing::Total, tolerances: [tolerance; 9] }, SECONDS);
    runs(count, |rng| {
        let judge = warmed(rng, judge.clone(), weight);
        let lines = (2..2 + seconds).map(|t| {
            let nc = binomial(rng, REQUESTS, weight);
            timed(t, weight, times(rng, nc, &slower), times(rng, REQUESTS - nc, same))
        });
        race(judge, Rivals::of_p99(), aborts, lines)
    })
}

/// The judge when the stream begins.
fn warmed(rng: &mut Rng, mut judge: Judge, weight: f64) -> Judge {
    let cold = |_: &mut Rng, value: f64| value * 30.0;
    judge.observe(&timed(0, weight, Histogram::new(), times(rng, 10_000, same)));
    judge.observe(&timed(1, weight, times(rng, COLD, cold), times(rng, 950, same)));
    judge
}

fn same(_: &mut Rng, value: f64) -> f64 {
    value
}

/// Times whose logarithms are normally distributed around that of 100 ms, in Envoy's bins.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogNormalTimes(LogNormal<f64>);

impl LogNormalTimes {
    pub(super) fn new(sigma: f64) -> Self {
        Self(LogNormal::new(MEDIAN_US.ln(), sigma).expect("a distribution"))
    }

    /// So many times, each so many times as long.
    pub(super) fn draw(&self, rng: &mut Rng, n: u64, ratio: f64) -> Histogram {
        (0..n).map(|_| (bin(self.0.sample(rng) * ratio), 1)).collect()
    }
}

fn times(rng: &mut Rng, n: u64, slower: impl Fn(&mut Rng, f64) -> f64) -> Histogram {
    let normal = LogNormal::new(MEDIAN_US.ln(), SIGMA).expect("a distribution");
    let one = |_| {
        let value = normal.sample(rng);
        (bin(slower(rng, value)), 1)
    };
    (0..n).map(one).collect()
}

/// The bin of Envoy's histograms: two significant digits.
fn bin(value: f64) -> Bin {
    let width = 10f64.powi(value.log10().floor() as i32 - 1);
    Bin::new((value / width).floor() * width, width).expect("a bin")
}

pub(super) fn timed(t: u64, weight: f64, canary: Histogram, stable: Histogram) -> Observation {
    let mut line = blank(t, weight);
    line.roles.canary.total = Some(canary.count());
    line.roles.canary.rq_time_us = Some(canary);
    line.roles.stable.total = Some(stable.count());
    line.roles.stable.rq_time_us = Some(stable);
    line
}
