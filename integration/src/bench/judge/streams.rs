//! Long requests and streams: equally failing versions whose outcomes take their time, through changes of
//! weight, bursts of traffic and outages.
//!
//! Each request has a moment at which it is assigned, an end, and perhaps a moment at which it is known to
//! have failed. The same requests are counted in two ways: each at the same age H, as the filter does
//! (`judged_total`, `judged_failure`), and each when it ends, which is biased wherever the split or the
//! traffic changed in between.

use canary_judge::Judge;
use canary_judge::counts::{Pair, Trials};
use canary_judge::observation::Observation;
use rand::RngExt;

use super::outcome::RunOutcome;
use super::rig::{Rng, aborts, binomial, blank, failures, judge, runs};

/// Half an hour, with changes of weight at ten and twenty minutes.
pub(super) const SECONDS: u64 = 1_800;
const STEP: u64 = 600;
/// How long before the start the oldest stream can begin that is still running.
const BEFORE: u64 = 360;
/// Requests a second, of both versions; five times as many in bursts.
const REQUESTS: u64 = 100;
const BURST: u64 = 500;
/// How long a short request takes, in seconds.
const SHORT: f64 = 0.1;
/// The share of what is in flight that an outage kills, and how long after a change of weight it comes.
const KILLED: f64 = 0.3;
const OUTAGE_AFTER: u64 = 30;

/// When a request that fails is known to have failed.
#[derive(Clone, Copy, Debug)]
pub(super) enum FailureTime {
    /// At this age, in seconds: a deadline, a timeout, a refusal.
    Age(f64),
    /// At any moment of the stream.
    Within,
}

/// How long requests take that don't fail.
#[derive(Clone, Copy, Debug)]
pub(super) enum RequestLength {
    /// Streams of 1 to 120 s, times a factor.
    Stream(f64),
    /// A tenth of a second.
    Short,
}

/// How one version answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamVersion {
    pub(super) length: RequestLength,
    /// The share of its requests that fail.
    pub(super) failing: f64,
    pub(super) known: FailureTime,
}

/// Traffic, weights and versions of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamScenario {
    /// The weight of each ten minutes, as a fraction.
    pub(super) weights: [f64; 3],
    pub(super) stable: StreamVersion,
    pub(super) canary: StreamVersion,
    /// The age H, in seconds.
    pub(super) age: u64,
    /// Five times the traffic for half a minute of every five.
    pub(super) bursts: bool,
    /// Half a minute after each change of weight a part of what is in flight fails.
    pub(super) outages: bool,
}

/// A recording of one run: for each second what was assigned, what ended, and what reached the age.
pub(super) struct Recording {
    pub(super) assigned: Vec<Pair<u64>>,
    pub(super) ended: Vec<Pair<Trials>>,
    aged: Vec<Pair<Trials>>,
}

impl StreamVersion {
    /// When the request ends, and whether that is a failure, as an age in seconds.
    fn draw(&self, rng: &mut Rng) -> (f64, bool) {
        let length = match self.length {
            RequestLength::Stream(factor) => factor * (1.0 + 119.0 * rng.random::<f64>()),
            RequestLength::Short => SHORT,
        };
        if !rng.random_bool(self.failing) {
            return (length, false);
        }
        match self.known {
            FailureTime::Age(age) => (age, true),
            FailureTime::Within => (length * rng.random::<f64>(), true),
        }
    }
}

impl StreamScenario {
    pub(super) fn weight(&self, second: u64) -> f64 {
        self.weights[((second / STEP) as usize).min(2)]
    }

    fn requests(&self, second: i64) -> u64 {
        let in_burst = (60..90).contains(&second.rem_euclid(300));
        if self.bursts && in_burst { BURST } else { REQUESTS }
    }

    /// All of a run's requests, those that were in flight at its start too.
    pub(super) fn record(&self, rng: &mut Rng) -> Recording {
        let seconds = SECONDS as usize;
        let mut recording = Recording {
            assigned: vec![Pair::default(); seconds],
            ended: vec![Pair::default(); seconds],
            aged: vec![Pair::default(); seconds],
        };
        for second in -(BEFORE as i64)..SECONDS as i64 {
            let requests = self.requests(second);
            let weight = u64::try_from(second).map_or(0.0, |second| self.weight(second));
            let canary = binomial(rng, requests, weight);
            if let Some(assigned) = at(&mut recording.assigned, second) {
                *assigned = Pair { stable: requests - canary, canary };
            }
            for _ in 0..canary {
                self.request(rng, second, self.canary, &mut recording, |pair| &mut pair.canary);
            }
            for _ in canary..requests {
                self.request(rng, second, self.stable, &mut recording, |pair| &mut pair.stable);
            }
        }
        recording
    }

    fn request(
        &self,
        rng: &mut Rng,
        second: i64,
        version: StreamVersion,
        recording: &mut Recording,
        role: fn(&mut Pair<Trials>) -> &mut Trials,
    ) {
        let start = second as f64 + rng.random::<f64>();
        let (mut age, mut failed) = version.draw(rng);
        for change in [STEP, 2 * STEP] {
            let outage = (change + OUTAGE_AFTER) as f64 - start;
            if self.outages && (0.0..age).contains(&outage) && rng.random_bool(KILLED) {
                (age, failed) = (outage, true);
            }
        }
        if let Some(ended) = at(&mut recording.ended, (start + age).floor() as i64) {
            count(role(ended), failed);
        }
        // Requests from before the rollout aren't the rollout's.
        if second >= 0
            && let Some(aged) = at(&mut recording.aged, second + self.age as i64)
        {
            count(role(aged), failed && age <= self.age as f64);
        }
    }
}

impl Recording {
    /// Lines of outcomes at the age.
    fn by_age(&self, scenario: StreamScenario) -> impl Iterator<Item = Observation> + '_ {
        let age = scenario.age;
        let seconds = age..SECONDS;
        seconds.map(move |t| line(t, scenario.weight(t - age), self.aged[t as usize]))
    }

    /// Lines of outcomes when they end; those in which the weight changed are left out.
    fn by_end(&self, scenario: StreamScenario) -> impl Iterator<Item = Observation> + '_ {
        let compared = (0..SECONDS).filter(|t| *t == 0 || t % STEP != 0);
        compared.map(move |t| line(t, scenario.weight(t), self.ended[t as usize]))
    }
}

fn at<T>(seconds: &mut [T], second: i64) -> Option<&mut T> {
    usize::try_from(second).ok().and_then(|second| seconds.get_mut(second))
}

const fn count(trials: &mut Trials, failed: bool) {
    trials.trials += 1;
    trials.events += failed as u64;
}

fn line(t: u64, weight: f64, counts: Pair<Trials>) -> Observation {
    let mut line = blank(t, weight);
    line.roles.stable.total = Some(counts.stable.trials);
    line.roles.stable.failure = Some(counts.stable.events);
    line.roles.canary.total = Some(counts.canary.trials);
    line.roles.canary.failure = Some(counts.canary.events);
    line
}

/// How the two ways of counting ended in one run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TwoCounts {
    pub(super) by_age: RunOutcome,
    pub(super) by_end: RunOutcome,
    /// The second at which the canary was rolled back by age.
    pub(super) at: u64,
}

/// Runs of one scenario, judged with margin 0.
pub(super) fn both(count: u64, scenario: StreamScenario) -> Vec<TwoCounts> {
    let judge = judge(failures(0.0), SECONDS);
    runs(count, |rng| {
        let recording = scenario.record(rng);
        let (by_age, at) = until_abort(judge.clone(), recording.by_age(scenario));
        let (by_end, _) = until_abort(judge.clone(), recording.by_end(scenario));
        TwoCounts { by_age, by_end, at }
    })
}

fn until_abort(mut judge: Judge, lines: impl Iterator<Item = Observation>) -> (RunOutcome, u64) {
    let mut now = RunOutcome::default();
    for line in lines {
        now.canary += line.roles.canary.total.unwrap_or(0);
        now.failed += line.roles.canary.failure.unwrap_or(0);
        judge.take(&line);
        if aborts(&judge) {
            return (RunOutcome { decided: true, ..now }, line.t as u64);
        }
    }
    (now, SECONDS)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn scenario(outages: bool) -> StreamScenario {
        let version = StreamVersion {
            length: RequestLength::Stream(1.0),
            failing: 0.02,
            known: FailureTime::Age(10.0),
        };
        StreamScenario {
            weights: [0.05, 0.25, 0.5],
            stable: version,
            canary: version,
            age: 10,
            bursts: false,
            outages,
        }
    }

    #[test]
    fn each_request_counts_once_in_every_way_that_is_over() {
        let mut rng = Rng::seed_from_u64(7);
        let recording = scenario(false).record(&mut rng);
        let assigned: u64 = recording.assigned.iter().map(|pair| pair.stable + pair.canary).sum();
        assert_eq!(assigned, SECONDS * REQUESTS);
        let aged = recording.aged.iter().map(|pair| pair.stable.trials + pair.canary.trials);
        assert_eq!(aged.sum::<u64>(), (SECONDS - 10) * REQUESTS);
        let share = |role: fn(&Pair<Trials>) -> Trials| {
            let (mut all, mut failed) = (0, 0);
            for Trials { trials, events } in recording.aged.iter().map(role) {
                all += trials;
                failed += events;
            }
            failed as f64 / all as f64
        };
        for share in [share(|pair| pair.stable), share(|pair| pair.canary)] {
            assert!((share - 0.02).abs() < 0.003, "{share}");
        }
    }

    /// Sixty requests a second in flight on average; three in ten of them fail in one second.
    #[test]
    fn an_outage_kills_a_part_of_what_is_in_flight() {
        let mut rng = Rng::seed_from_u64(7);
        let recording = scenario(true).record(&mut rng);
        let failed = |t: usize| recording.ended[t].stable.events + recording.ended[t].canary.events;
        assert!(failed(629) < 20, "{}", failed(629));
        let in_flight = 100.0 * 60.0;
        let killed = failed(630) as f64 / in_flight;
        assert!((killed - KILLED).abs() < 0.05, "{killed}");
    }
}
