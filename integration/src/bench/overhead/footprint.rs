//! What the filter takes without a request: bytes on disk, memory a worker, processor time for the
//! poll.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::proxy::{BenchProxy, ProxyFiles};
use super::upstream::BenchUpstream;
use super::variant::with_and_without;
use crate::bench::BenchTarget::AtMost;
use crate::bench::{BenchReport, process};
use crate::harness::artifacts;

/// Enough connections and requests that every worker has run the filter.
const REQUESTS: u64 = 5_000;
const MANY: u32 = 5;
const WINDOW: Duration = Duration::from_secs(3);

/// The most that a module may take, in KB.
const LARGEST_MODULE: f64 = 260.0;

/// The sizes of both built modules.
pub(super) fn module_sizes(report: &mut BenchReport) {
    module_size("headers", &artifacts::filter_headers(), report);
    module_size("full", &artifacts::filter(), report);
}

/// The size of one module.
#[allow(clippy::cast_precision_loss)]
pub(super) fn module_size(name: &str, file: &Path, report: &mut BenchReport) {
    let bytes = std::fs::metadata(file).expect("the module is there").len();
    let target = Some(AtMost(LARGEST_MODULE));
    report.cell(format!("module, {name}"), "KB", vec![bytes as f64 / 1e3], target);
}

/// What one more worker takes with the filter beyond what it takes without.
pub(super) async fn memory(repeats: usize, upstream: &BenchUpstream, report: &mut BenchReport) {
    if repeats == 0 {
        return;
    }
    let mut megabytes = Vec::new();
    for repeat in 0..repeats {
        eprint!("\rmemory: {} of {repeats} ", repeat + 1);
        let [with, without] = with_and_without();
        let mut a_worker = [0.0; 2];
        for (variant, a_worker) in [with, without].iter().zip(&mut a_worker) {
            let one = resident(variant, 1, upstream).await;
            let many = resident(variant, MANY, upstream).await;
            *a_worker = (many - one) / f64::from(MANY - 1);
        }
        megabytes.push((a_worker[0] - a_worker[1]) / 1e6);
    }
    eprintln!();
    report.cell("memory a worker", "MB", megabytes, Some(AtMost(2.0)));
}

/// Envoy's resident memory with this many workers, all of which have served, in bytes.
#[allow(clippy::cast_precision_loss)]
pub(super) async fn resident(
    variant: &super::variant::OverheadVariant,
    workers: u32,
    upstream: &BenchUpstream,
) -> f64 {
    let place = ProxyFiles { upstream: upstream.at(), workers, core: None, foreign_keys: 0 };
    let proxy = BenchProxy::start(variant, place).await;
    let tally = proxy.load(REQUESTS).await;
    assert_eq!(tally.with_status(200), REQUESTS, "{tally:?}");
    process::resident_bytes(proxy.pid()) as f64
}

/// What an idle Envoy with the filter takes beyond an idle one without, both at the same time, with
/// these numbers of runtime keys of other users.
pub(super) async fn idle(
    foreign_keys: &[usize],
    windows: usize,
    upstream: &BenchUpstream,
    report: &mut BenchReport,
) {
    for keys in foreign_keys {
        let percent = idle_with(*keys, windows, upstream).await;
        let target = (*keys == 1_000).then_some(AtMost(0.5));
        let name = format!("poll at 250 ms with {keys} foreign keys");
        report.cell(name, "% of a core", percent, target);
    }
}

#[allow(clippy::cast_precision_loss)]
async fn idle_with(foreign_keys: usize, windows: usize, upstream: &BenchUpstream) -> Vec<f64> {
    let place = ProxyFiles { upstream: upstream.at(), workers: 2, core: None, foreign_keys };
    let [with, without] = with_and_without();
    let proxies = [BenchProxy::start(&with, place).await, BenchProxy::start(&without, place).await];
    let mut percent = Vec::new();
    for window in 0..windows {
        eprint!("\ridle: {} of {windows} ", window + 1);
        let (start, before) = (Instant::now(), proxies.each_ref().map(cpu));
        sleep(WINDOW).await;
        let (elapsed, after) = (start.elapsed().as_nanos() as f64, proxies.each_ref().map(cpu));
        let [with, without] = [0, 1].map(|number| after[number] - before[number]);
        percent.push(100.0 * (with - without) / elapsed);
    }
    eprintln!();
    percent
}

#[allow(clippy::cast_precision_loss)]
fn cpu(proxy: &BenchProxy) -> f64 {
    process::cpu_ns(proxy.pid()) as f64
}
