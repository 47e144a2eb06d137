//! The blast radius: how many failed answers users see when a canary breaks, with nothing but the
//! guard in the filter to stop it, no controller.
//!
//! A real Envoy with two workers takes 1,000 requests a second, sent on time whatever the answers
//! do (64 connections, of which a handful are ever busy). The canary fails from its first request,
//! or after a phase in which it was healthy. Failures are counted where they hurt, at the client.

mod others;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::{BenchReport, BenchTarget};
use trial::{BlastTrial, Healthy, Site};

/// This many Envoys are measured at the same time; each takes a sixth of a core.
const AT_ONCE: usize = 6;

/// One thing to measure, repeatedly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CanaryKind {
    rescue: bool,
    /// The canary's weight in percent.
    weight: u32,
    /// How many percent of the canary's requests fail.
    failing: u32,
}

/// Both cells of a kind: the canary fails from the start, or after a healthy phase.
struct Series {
    from_start: Vec<BlastTrial>,
    after_healthy: Vec<BlastTrial>,
    /// How many requests a second were sent.
    per_second: f64,
}

/// How much of everything.
#[derive(Clone, Copy)]
struct BlastExtent {
    /// Repeats where the weight is 5 %, and elsewhere.
    repeats: [usize; 2],
    healthy: Healthy,
}

const FULL: BlastExtent = BlastExtent {
    repeats: [20, 4],
    healthy: Healthy { at_least: Duration::from_secs(60), canary_requests: 300 },
};
const QUICK: BlastExtent = BlastExtent {
    repeats: [6, 3],
    healthy: Healthy { at_least: Duration::from_secs(3), canary_requests: 200 },
};

/// Runs every cell of the benchmark.
pub(super) fn run(quick: bool) -> BenchReport {
    let extent = if quick { QUICK } else { FULL };
    let circumstances = format!("; {} requests a second, 2 workers", trial::PER_SECOND);
    let mut report = BenchReport::new("blast", &circumstances);
    let runtime = Runtime::new().expect("a runtime");
    let measured = runtime.block_on(LocalSet::new().run_until(measure(extent)));
    for (kind, series) in &measured {
        tell(*kind, series, &mut report);
    }
    let rates = measured.values().map(|series| series.per_second).collect();
    report.cell(
        "requests sent",
        "1/s",
        rates,
        Some(BenchTarget::AtLeast(0.97 * trial::PER_SECOND)),
    );
    report.note(
        "In flight: already sent to the canary when the guard tripped, that is failures at the client beyond \
         those that the guard's log line counts.",
    );
    others::tell(&mut report);
    report
}

/// Each kind has an Envoy of its own, so that several can be measured at a time.
async fn measure(extent: BlastExtent) -> BTreeMap<CanaryKind, Series> {
    let weights = [(false, 5), (true, 5), (false, 1), (false, 10), (false, 50)];
    let kinds = weights.into_iter().flat_map(|(rescue, weight)| {
        [100, 50].map(|failing| CanaryKind { rescue, weight, failing })
    });
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut sites = JoinSet::new();
    for kind in kinds {
        let permits = Arc::clone(&permits);
        sites.spawn_local(async move {
            let _permit = permits.acquire().await.expect("the semaphore stays open");
            (kind, series(kind, extent).await)
        });
    }
    let (all, mut measured) = (sites.len(), BTreeMap::new());
    while let Some(site) = sites.join_next().await {
        measured.extend([site.expect("no trial fails")]);
        eprint!("\rblast: {} of {all} kinds ", measured.len());
    }
    eprintln!();
    measured
}

async fn series(kind: CanaryKind, extent: BlastExtent) -> Series {
    let mut site = Site::start(kind).await;
    let (mut from_start, mut after_healthy) = (Vec::new(), Vec::new());
    for _ in 0..extent.repeats[usize::from(kind.weight != 5)] {
        from_start.push(site.trial(None).await);
        after_healthy.push(site.trial(Some(extent.healthy)).await);
    }
    Series { from_start, after_healthy, per_second: site.per_second() }
}

/// The targets are for 5 %, where everything fails.
fn tell(kind: CanaryKind, series: &Series, report: &mut BenchReport) {
    let rescue = if kind.rescue { "with rescue, " } else { "" };
    let [start, healthy] = if kind.rescue { [0.0, 0.0] } else { [6.0, 11.0] };
    let target =
        |limit| (kind.weight == 5 && kind.failing == 100).then_some(BenchTarget::AtMost(limit));
    let name = format!("{rescue}{} %, {} % failing", kind.weight, kind.failing);
    tell_cell(&format!("{name} from the start"), &series.from_start, target(start), report);
    let name = format!("{name} after a healthy phase");
    tell_cell(&name, &series.after_healthy, target(healthy), report);
}

#[allow(clippy::cast_precision_loss)]
fn tell_cell(
    name: &str,
    trials: &[BlastTrial],
    target: Option<BenchTarget>,
    report: &mut BenchReport,
) {
    let of =
        |figure: fn(&BlastTrial) -> u64| trials.iter().map(|trial| figure(trial) as f64).collect();
    let unit = "failed answers";
    report.cell(name, unit, of(|trial| trial.failures - trial.in_flight), target);
    report.cell(format!("{name}, in flight"), unit, of(|trial| trial.in_flight), None);
    let seconds = trials.iter().map(|trial| trial.took.as_secs_f64()).collect();
    report.cell(format!("{name}, until the trip"), "s", seconds, None);
}
