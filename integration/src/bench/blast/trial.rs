//! One Envoy under load whose canary can be broken, and one trial of it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::time::{Instant, sleep};

use super::CanaryKind;
use crate::{Load, LoadTally, Rig, Running, RunningLoad, Script, TestUpstream};

/// Requests that the clients send.
pub(super) const PER_SECOND: f64 = 1_000.0;
/// Far more connections than are busy at a time: requests leave on time.
const CONNECTIONS: u64 = 64;
/// How long both versions take to answer.
const LATENCY_MS: u64 = 5;
/// Between two looks at the admin, each of which costs the main thread some milliseconds.
const LOOK: Duration = Duration::from_millis(50);
/// After this what was in flight has been answered.
const SETTLED: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(120);

/// A canary's healthy phase: at least this long, and this many requests. The guard's score, which begins half way
/// up, is zero after some thirty.
#[derive(Clone, Copy)]
pub(super) struct Healthy {
    pub(super) at_least: Duration,
    pub(super) canary_requests: u64,
}

/// What one trial showed.
pub(super) struct BlastTrial {
    /// Failed answers that the client saw.
    pub(super) failures: u64,
    /// Those of them that had been sent to the canary before the guard tripped and were answered
    /// after it.
    pub(super) in_flight: u64,
    /// From the fault to when the trip was seen.
    pub(super) took: Duration,
}

/// An Envoy under load.
pub(super) struct Site {
    kind: CanaryKind,
    rig: Running,
    traffic: RunningLoad,
    /// How many percent of the canary's requests fail now.
    failing: Arc<AtomicU32>,
    epoch: u64,
    requests: Cell<u64>,
}

impl Site {
    /// Starts Envoy and the load, at weight 0.
    pub(super) async fn start(kind: CanaryKind) -> Self {
        let failing = Arc::new(AtomicU32::new(0));
        let script = script(Arc::clone(&failing), u64::from(kind.weight + kind.failing));
        let healthy = TestUpstream::ok().latency_ms(LATENCY_MS);
        let canary = healthy.clone().with(|behavior| behavior.script = Some(script));
        let rig = Rig::new().stable(healthy).canary(canary);
        let rig = if kind.rescue { rig.rescue() } else { rig };
        let rig = rig.start().await;
        let load = rig.load(Load::ENDLESS).concurrency(CONNECTIONS).rate(PER_SECOND);
        let traffic = load.spawn();
        Self { kind, rig, traffic, failing, epoch: 0, requests: Cell::new(0) }
    }

    /// Gives the canary its weight in a new epoch, in which the guard has not tripped, breaks it at
    /// once or after a healthy phase, and counts until everything goes to stable.
    pub(super) async fn trial(&mut self, healthy: Option<Healthy>) -> BlastTrial {
        self.rig.runtime_modify(&[("canary.demo.weight", "0")]).await;
        self.rig.weight_in_force(0).await;
        self.epoch += 1;
        let (weight, epoch) = (self.kind.weight.to_string(), self.epoch.to_string());
        let settings = [("canary.demo.weight", weight.as_str()), ("canary.demo.epoch", &epoch)];
        self.break_canary(healthy.is_none());
        let (mut begin, _before) = (Instant::now(), self.take());
        self.rig.runtime_modify(&settings).await;
        if let Some(healthy) = healthy {
            self.stay(healthy).await;
            (begin, _) = (Instant::now(), self.take());
            self.break_canary(true);
        }
        self.until_tripped().await;
        let took = begin.elapsed();
        sleep(SETTLED).await;
        self.trial_of(&self.take(), took)
    }

    /// How many requests a second were sent, over all trials.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn per_second(&self) -> f64 {
        let _counted = self.take();
        self.requests.get() as f64 / self.traffic.elapsed().as_secs_f64()
    }

    /// What the client saw since the last call.
    fn take(&self) -> LoadTally {
        let tally = self.traffic.take();
        self.requests.set(self.requests.get() + tally.requests());
        tally
    }

    fn trial_of(&self, tally: &LoadTally, took: Duration) -> BlastTrial {
        assert!(tally.broken.is_empty(), "requests without an answer: {tally:?}");
        let failures = tally.count(|outcome| outcome.status >= 500);
        let last = tally.outcomes.iter().rfind(|outcome| outcome.status >= 500);
        let quiet = last.is_none_or(|last| self.traffic.elapsed() - last.at > SETTLED / 2);
        assert!(quiet, "failures go on after the trip: {tally:?}");
        let counted = counted_by_guard(&self.rig.logs());
        BlastTrial { failures, in_flight: failures.saturating_sub(counted), took }
    }

    fn break_canary(&self, broken: bool) {
        let percent = if broken { self.kind.failing } else { 0 };
        self.failing.store(percent, Ordering::Relaxed);
    }

    async fn stay(&self, healthy: Healthy) {
        let (start, mut canary) = (Instant::now(), 0);
        while start.elapsed() < healthy.at_least || canary < healthy.canary_requests {
            assert!(start.elapsed() < healthy.at_least + DEADLINE, "only {canary} canary requests");
            sleep(SETTLED).await;
            let tally = self.take();
            canary += tally.of_version(self.rig.canary().version());
            assert_eq!(tally.count(|outcome| outcome.status != 200), 0, "{tally:?}");
        }
    }

    async fn until_tripped(&self) {
        let start = Instant::now();
        loop {
            let stats = self.rig.stats().await;
            if stats.value("demo.guard_tripped") == 1 && stats.value("demo.epoch") == self.epoch {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "the guard doesn't trip: {:?}", self.kind);
            sleep(LOOK).await;
        }
    }
}

/// Fails a share of the requests, each by a roll of its own; 503 as a broken service would.
fn script(percent: Arc<AtomicU32>, seed: u64) -> Script {
    let dice = Mutex::new(fastrand::Rng::with_seed(seed));
    Arc::new(move |_| {
        let roll = dice.lock().unwrap_or_else(PoisonError::into_inner).u32(0..100);
        let fails = roll < percent.load(Ordering::Relaxed);
        fails.then(|| (503, Bytes::from_static(b"broken")))
    })
}

/// How many canary failures the guard had counted when it last tripped, as it says in the log:
/// "guard tripped for rollout demo: canary 1.1.0 failed 5 of 5 requests".
fn counted_by_guard(log: &str) -> u64 {
    let line = log.lines().rfind(|line| line.contains("guard tripped for rollout demo: "));
    let count =
        line.and_then(|line| line.split(" failed ").nth(1)?.split(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("no line about the trip in Envoy's log: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guards_own_count() {
        let log = "x\n[w] canary: guard tripped for rollout demo: canary 1.1.0 failed 3 of 4 requests, stable\n\
                   [w] canary: guard tripped for rollout demo: canary 1.1.0 failed 17 of 40 requests, stable 1 failed\n\
                   y";
        assert_eq!(counted_by_guard(log), 17);
    }

    #[test]
    fn the_share_that_fails() {
        let percent = Arc::new(AtomicU32::new(50));
        let script = script(Arc::clone(&percent), 1);
        let seen = crate::RecordedRequest {
            method: hyper::Method::GET,
            path: "/".to_owned(),
            version: hyper::Version::HTTP_11,
            headers: hyper::HeaderMap::new(),
            body: Bytes::new(),
        };
        let failed = (0..1_000).filter(|_| script(&seen).is_some()).count();
        assert!((430..570).contains(&failed), "{failed}");
        percent.store(0, Ordering::Relaxed);
        assert!((0..1_000).all(|_| script(&seen).is_none()));
        percent.store(100, Ordering::Relaxed);
        assert!((0..1_000).all(|_| script(&seen).is_some()));
    }
}
