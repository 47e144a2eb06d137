//! A fleet whose proxies restart: their counters begin at zero again, and what happened since the last
//! reading is lost.

use canary_judge::observation::Observation;
use rand::RngExt;

use super::rig::{Race, Rng, SimulatedTraffic, aborts, blank, failures, judge, race, runs};
use super::rivals::Rivals;

const PROXIES: usize = 4;
/// Each proxy restarts every two minutes on average.
const RESTART: f64 = 1.0 / 120.0;
const SECONDS: u64 = 1_200;

/// A proxy's counters: total and failures of stable, then of the canary.
type SimulatedCounters = [u64; 4];

/// Runs of two identical versions behind four such proxies.
pub(super) fn races(count: u64, weight: f64) -> Vec<Race> {
    let judge = judge(failures(0.0), SECONDS);
    let traffic = SimulatedTraffic { weight, requests: 250, canary: 0.01, stable: 0.01 };
    runs(count, |rng| {
        let mut fleet = [(SimulatedCounters::default(), SimulatedCounters::default()); PROXIES];
        let lines = (0..SECONDS).map(|t| {
            let mut sum = SimulatedCounters::default();
            for (counters, read) in &mut fleet {
                pass(rng, counters, traffic, t);
                let news = since(*counters, *read);
                *read = *counters;
                sum = std::array::from_fn(|n| sum[n] + news[n]);
            }
            line(t, weight, sum)
        });
        race(judge.clone(), Rivals::of_failures(), aborts, lines)
    })
}

/// A second passes at one proxy; if it restarts in that second, only what came after counts.
fn pass(rng: &mut Rng, counters: &mut SimulatedCounters, traffic: SimulatedTraffic, t: u64) {
    let mut requests = traffic.requests;
    if rng.random_bool(RESTART) {
        *counters = SimulatedCounters::default();
        requests = (requests as f64 * rng.random::<f64>()) as u64;
    }
    let news = SimulatedTraffic { requests, ..traffic }.line(rng, t).roles;
    let news = [news.stable.total, news.stable.failure, news.canary.total, news.canary.failure];
    *counters = std::array::from_fn(|n| counters[n] + news[n].unwrap_or(0));
}

/// What is new. One counter that fell says that the proxy restarted: then all of them began at zero.
fn since(now: SimulatedCounters, read: SimulatedCounters) -> SimulatedCounters {
    if now.iter().zip(read).any(|(now, read)| *now < read) {
        return now;
    }
    std::array::from_fn(|n| now[n] - read[n])
}

fn line(
    t: u64,
    weight: f64,
    [stable, stable_failed, canary, canary_failed]: SimulatedCounters,
) -> Observation {
    let mut line = blank(t, weight);
    line.roles.stable.total = Some(stable);
    line.roles.stable.failure = Some(stable_failed);
    line.roles.canary.total = Some(canary);
    line.roles.canary.failure = Some(canary_failed);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_counter_that_fell_restarts_all() {
        assert_eq!(since([9, 3, 2, 0], [5, 1, 2, 0]), [4, 2, 0, 0]);
        assert_eq!(since([9, 0, 2, 0], [5, 1, 2, 0]), [9, 0, 2, 0]);
    }
}
