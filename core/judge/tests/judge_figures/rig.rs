//! What the simulations share: rollout files, streams of lines, and statistics over runs.

use canary_judge::Judge;
use canary_judge::observation::Observation;
use canary_judge::spec::Analysis;
use canary_model::document::{ConfigErrors, Node};
use canary_model::histogram::{Bin, Histogram};
use canary_model::weight::Weight;
use rand::SeedableRng;
use rand_distr::{Binomial, Distribution};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};

pub(crate) type Rng = Xoshiro256PlusPlus;

/// How long the simulated files plan to take, in seconds.
pub(crate) const PLANNED: u64 = 3_600;

/// A judge of these metrics, at a false-abort rate of 1 %.
pub(crate) fn judge(metrics: &Value) -> Judge {
    let value = json!({"falseAbort": "1%", "metrics": metrics});
    let mut problems = ConfigErrors::default();
    let analysis = Analysis::read(&Node::root(&value), &mut problems);
    Judge::new(&problems.finish(analysis).unwrap(), PLANNED).without_effects()
}

/// One metric: failures with a margin.
pub(crate) fn failures(margin: &str) -> Value {
    json!([{"name": "failures", "kind": "failureRate", "margin": margin}])
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    /// Whether it was rolled back (or certified, where that is awaited).
    pub(crate) decided: bool,
    /// Canary requests, or observations, until then.
    pub(crate) canary: u64,
    /// Failed ones among them.
    pub(crate) failed: u64,
}

/// Feeds a judge until it rolls back or the lines end.
pub(crate) fn until_abort(judge: Judge, lines: impl Iterator<Item = Observation>) -> Run {
    until(judge, lines, aborts)
}

/// Feeds a judge until something holds or the lines end.
pub(crate) fn until(
    mut judge: Judge,
    lines: impl Iterator<Item = Observation>,
    decided: impl Fn(&Judge) -> bool,
) -> Run {
    let mut run = Run::default();
    for line in lines {
        run.canary += line.roles.canary.total.unwrap_or(0);
        run.failed += line.roles.canary.failure.unwrap_or(0);
        judge.observe(&line);
        if decided(&judge) {
            run.decided = true;
            break;
        }
    }
    run
}

/// Runs of the same simulation, each with a seed of its own.
pub(crate) fn runs(count: u64, mut run: impl FnMut(&mut Rng) -> Run) -> Vec<Run> {
    (0..count).map(|seed| run(&mut Rng::seed_from_u64(seed))).collect()
}

/// How many of the runs were decided.
pub(crate) fn decided(runs: &[Run]) -> usize {
    runs.iter().filter(|run| run.decided).count()
}

/// The median and the 95th percentile of canary requests until the decision; undecided runs never were.
pub(crate) fn canary_quantiles(runs: &[Run]) -> (u64, u64) {
    let mut counts: Vec<u64> =
        runs.iter().map(|run| if run.decided { run.canary } else { u64::MAX }).collect();
    counts.sort_unstable();
    (counts[counts.len() / 2], counts[counts.len() * 95 / 100])
}

/// The median of failed canary requests until the decision.
pub(crate) fn median_failed(runs: &[Run]) -> u64 {
    let mut counts: Vec<u64> = runs.iter().map(|run| run.failed).collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

/// The most decisions among so many runs that a true rate of `rate` gives with 99.9 %: what exceeds it
/// is no accident.
pub(crate) fn most(runs: usize, rate: f64) -> usize {
    let (mut sum, mut probability) = (0.0, (1.0 - rate).powi(runs as i32));
    for k in 0..runs {
        sum += probability;
        if sum > 0.999 {
            return k;
        }
        probability *= (runs - k) as f64 / (k + 1) as f64 * rate / (1.0 - rate);
    }
    runs
}

/// How many of `n` trials succeed, each with probability `p`.
pub(crate) fn binomial(rng: &mut Rng, n: u64, p: f64) -> u64 {
    Binomial::new(n, p).unwrap().sample(rng)
}

/// A line with totals and failures; each request goes to the canary with the weight's probability.
pub(crate) fn line(
    rng: &mut Rng,
    t: u64,
    weight: f64,
    requests: u64,
    canary: f64,
    stable: f64,
) -> Observation {
    let nc = binomial(rng, requests, weight);
    let mut line = Observation {
        t: t as f64,
        weight: Weight::from_ppm((weight * 1e6).round() as u32).unwrap(),
        ..Observation::default()
    };
    line.roles.canary.total = Some(nc);
    line.roles.canary.failure = Some(binomial(rng, nc, canary));
    line.roles.stable.total = Some(requests - nc);
    line.roles.stable.failure = Some(binomial(rng, requests - nc, stable));
    line
}

/// A weight, what fails on either version, and how many requests a line has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    pub(crate) weight: f64,
    pub(crate) canary: f64,
    pub(crate) stable: f64,
    pub(crate) per_line: u64,
    pub(crate) lines: u64,
}

/// Runs of constant rates, with a margin, until something holds.
pub(crate) fn steady(
    count: u64,
    margin: &str,
    steady: Steady,
    decided: fn(&Judge) -> bool,
) -> Vec<Run> {
    let judge = judge(&failures(margin));
    let Steady { weight, canary, stable, per_line, lines } = steady;
    runs(count, |rng| {
        let lines = (0..lines).map(|t| line(rng, t, weight, per_line, canary, stable));
        until(judge.clone(), lines, decided)
    })
}

/// The judge rolls back.
pub(crate) fn aborts(judge: &Judge) -> bool {
    judge.abort().is_some()
}

/// Values in Envoy's bins of two significant digits.
pub(crate) fn histogram(values: impl Iterator<Item = f64>) -> Histogram {
    let bin = |value: f64| {
        let width = 10f64.powi(value.log10().floor() as i32 - 1);
        (Bin::new((value / width).floor() * width, width).unwrap(), 1)
    };
    values.map(bin).collect()
}
