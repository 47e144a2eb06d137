//! What the simulations share: seeds, threads, judges, lines of counts, and how runs end.

use std::thread;

use canary_judge::Judge;
use canary_judge::observation::Observation;
use canary_judge::spec::{
    Analysis, FALSE_PAUSE, FALSE_SPLIT, MetricRule, MetricSpec, OnFailure, SplitMismatch,
};
use canary_model::weight::Weight;
use rand::SeedableRng;
use rand_distr::{Binomial, Distribution};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::outcome::RunOutcome;
use super::rivals::Rivals;
use crate::bench::process;

pub(super) type Rng = Xoshiro256PlusPlus;

/// Run k of any cell begins with this seed plus k, so that figures are the same on every machine.
pub(super) const SEED: u64 = 20_260_000;

/// The tolerated probability of a false abort.
const FALSE_ABORT: f64 = 0.01;

/// A judge of one metric, for a rollout planned to take so many seconds.
pub(super) fn judge(rule: MetricRule, planned_seconds: u64) -> Judge {
    judge_with_effects(rule, planned_seconds).without_effects()
}

/// The same, which also knows how far the canary differs from stable.
pub(super) fn judge_with_effects(rule: MetricRule, planned_seconds: u64) -> Judge {
    let metric = MetricSpec { name: "metric".to_owned(), rule, on_failure: OnFailure::default() };
    let analysis = Analysis {
        false_abort: FALSE_ABORT,
        false_split: FALSE_SPLIT,
        false_pause: FALSE_PAUSE,
        split_mismatch: SplitMismatch::default(),
        metrics: vec![metric],
    };
    Judge::new(&analysis, planned_seconds)
}

/// Failures with a tolerated difference.
pub(super) const fn failures(margin: f64) -> MetricRule {
    MetricRule::FailureRate { ratio: 1.0, margin }
}

/// How one stream ended for the judge and for each of the [`Rivals`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Race {
    pub(super) ours: RunOutcome,
    pub(super) rivals: [Option<RunOutcome>; 3],
}

/// Runs of the same simulation on at most two threads; the order is that of the seeds.
pub(super) fn runs<T: Send>(count: u64, run: impl Fn(&mut Rng) -> T + Sync) -> Vec<T> {
    let threads = process::cores().len().clamp(1, 2) as u64;
    let part = |first: u64| {
        let run = &run;
        move || {
            let seeds = (first..count).step_by(threads as usize);
            seeds.map(|k| (k, run(&mut Rng::seed_from_u64(SEED + k)))).collect::<Vec<_>>()
        }
    };
    let mut all: Vec<(u64, T)> = thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|first| scope.spawn(part(first))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no run fails")).collect()
    });
    all.sort_by_key(|(k, _)| *k);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Lets the judge and its rivals watch the same stream, each until it decides; one line is a second.
pub(super) fn race(
    mut judge: Judge,
    mut rivals: Rivals,
    decided: fn(&Judge) -> bool,
    lines: impl Iterator<Item = Observation>,
) -> Race {
    let (mut now, mut ours) = (RunOutcome::default(), None);
    for line in lines {
        now.canary += line.roles.canary.total.unwrap_or(0);
        now.failed += line.roles.canary.failure.unwrap_or(0);
        if ours.is_none() {
            judge.observe(&line);
            ours = decided(&judge).then_some(RunOutcome { decided: true, ..now });
        }
        rivals.second(&line, now);
        if ours.is_some() && rivals.all_decided() {
            break;
        }
    }
    Race { ours: ours.unwrap_or(now), rivals: rivals.outcomes(now) }
}

/// The judge rolls back.
pub(super) fn aborts(judge: &Judge) -> bool {
    judge.abort().is_some()
}

/// The judge has the step's certificate.
pub(super) fn certifies(judge: &Judge) -> bool {
    judge.uncertified().is_empty()
}

/// How many of `n` trials succeed, each with probability `p`.
pub(super) fn binomial(rng: &mut Rng, n: u64, p: f64) -> u64 {
    Binomial::new(n, p).expect("a probability").sample(rng)
}

/// What a second of traffic is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimulatedTraffic {
    /// The canary's share: each request goes to it with this probability.
    pub(super) weight: f64,
    /// Requests a second, of both versions.
    pub(super) requests: u64,
    /// The share of the canary's requests that fail.
    pub(super) canary: f64,
    /// The share of stable's.
    pub(super) stable: f64,
}

impl SimulatedTraffic {
    /// One second as a line of counts.
    pub(super) fn line(&self, rng: &mut Rng, t: u64) -> Observation {
        let nc = binomial(rng, self.requests, self.weight);
        let mut line = blank(t, self.weight);
        line.roles.canary.total = Some(nc);
        line.roles.canary.failure = Some(binomial(rng, nc, self.canary));
        line.roles.stable.total = Some(self.requests - nc);
        line.roles.stable.failure = Some(binomial(rng, self.requests - nc, self.stable));
        line
    }
}

/// A line without counts.
pub(super) fn blank(t: u64, weight: f64) -> Observation {
    let weight = Weight::from_ppm((weight * 1e6).round() as u32).expect("a weight");
    Observation { t: t as f64, weight, ..Observation::default() }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn runs_are_those_of_their_seeds_in_order() {
        let drawn = runs(7, |rng| rng.random::<u64>());
        let one_by_one = |k| Rng::seed_from_u64(SEED + k).random::<u64>();
        assert_eq!(drawn, (0..7).map(one_by_one).collect::<Vec<_>>());
    }

    #[test]
    fn a_race_goes_on_until_everybody_has_decided() {
        let broken = SimulatedTraffic { weight: 0.5, requests: 100, canary: 1.0, stable: 0.0 };
        let mut rng = Rng::seed_from_u64(1);
        let lines = (0..3_600).map(|t| broken.line(&mut rng, t));
        let race = race(judge(failures(0.0), 3_600), Rivals::of_failures(), aborts, lines);
        assert!(race.ours.decided && race.ours.failed < 100, "{race:?}");
        let minutes = race.rivals.map(|outcome| outcome.unwrap().failed as f64 / 3_000.0);
        for (measured, expected) in minutes.into_iter().zip([6.0, 4.0, 10.0]) {
            assert!((measured - expected).abs() < 0.2, "{minutes:?}");
        }
    }
}
