//! What it costs a request to be counted at an age: the data plane's own bookkeeping, which needs no
//! Envoy, compiled for this machine. In Wasm, such code takes about half as long again.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use canary_dataplane::cohort::KeyHash;
use canary_dataplane::judged::{JudgedRequests, NewRequest};
use canary_dataplane::versions::VersionPlaces;
use canary_model::role::Role;

use crate::bench::BenchReport;
use crate::bench::BenchTarget::AtMost;

const REPEATS: usize = 9;
/// So many requests, at this distance from each other, and each answered this many requests later.
const REQUESTS: u64 = 200_000;
const DISTANCE_NS: u64 = 100_000;
const IN_FLIGHT: u64 = 50;
const AGE: Duration = Duration::from_secs(1);
/// As many different clients as there are in a sticky rollout.
const CLIENTS: u64 = 10_000;

/// Adds the time that a request costs without and with affinity.
pub(super) fn measure(report: &mut BenchReport) {
    for (name, sticky) in [("random", false), ("sticky", true)] {
        let nanoseconds = (0..REPEATS).map(|_| repeat(sticky)).collect();
        let name = format!("counting at one age, {name}, native code");
        report.cell(name, "ns", nanoseconds, Some(AtMost(100.0)));
    }
}

/// Nanoseconds a request: assigned, answered, and counted at its age.
#[allow(clippy::cast_precision_loss)]
fn repeat(sticky: bool) -> f64 {
    let keys: Vec<_> = (0..CLIENTS).map(|n| KeyHash::new("demo", &n.to_be_bytes())).collect();
    let seen = sticky.then(|| Rc::new(RefCell::default()));
    let mut judged = JudgedRequests::new(AGE, seen);
    let mut open = std::collections::VecDeque::new();
    let start = Instant::now();
    for number in 0..REQUESTS {
        let now_ns = number * DISTANCE_NS;
        let new = NewRequest {
            role: if number % 20 == 0 { Role::Canary } else { Role::Stable },
            versions: VersionPlaces::default(),
            window: 0,
            client: keys.get((number % CLIENTS) as usize).copied().filter(|_| sticky),
            conversions: 0,
        };
        open.push_back(judged.assigned(new, now_ns));
        if number >= IN_FLIGHT
            && let Some(mut request) = open.pop_front()
        {
            judged.began(&mut request);
        }
        if number % 2_500 == 0 {
            while let Some(slot) = judged.take_due(now_ns) {
                black_box(slot.counts_of(Role::Canary, sticky).judged());
            }
        }
    }
    start.elapsed().as_nanos() as f64 / REQUESTS as f64
}
