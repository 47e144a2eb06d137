//! What the filter costs when Envoy starts and when a configuration is pushed, and what memory that leaves.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::footprint::resident;
use super::proxy::{BenchProxy, ProxyFiles};
use super::upstream::BenchUpstream;
use super::variant::{OverheadVariant, rollout, with_and_without};
use crate::bench::{BenchReport, process};
use crate::{Rig, artifacts};

/// Rollouts before the one that matches, where memory a rollout is measured.
const OTHERS: u16 = 31;
const PUSHES: usize = 1_000;
/// How long an idle Envoy is watched before the pushes and after them.
const IDLE_SECONDS: usize = 10;
/// So long after the last push, Envoy has let go of what the one before had.
const SETTLED: Duration = Duration::from_secs(2);

/// The time from Envoy's start to the first answer, with the filter and without.
pub(super) async fn first_answers(
    repeats: usize,
    upstream: &BenchUpstream,
    report: &mut BenchReport,
) {
    let variants = with_and_without();
    let mut milliseconds = [Vec::new(), Vec::new()];
    for _ in 0..repeats {
        for (variant, milliseconds) in variants.iter().zip(&mut milliseconds) {
            let place = one_worker(upstream);
            let start = Instant::now();
            let proxy = BenchProxy::launch(variant, place).await;
            let tally = proxy.load(1).await;
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
            assert_eq!(tally.with_status(200), 1, "{}: {tally:?}", variant.name);
        }
    }
    for (variant, milliseconds) in variants.iter().zip(milliseconds) {
        let name = format!("start to the first answer, {}", variant.name);
        report.cell(name, "ms", milliseconds, None);
    }
}

/// The memory that one more rollout takes in a worker.
pub(super) async fn memory_a_rollout(
    repeats: usize,
    upstream: &BenchUpstream,
    report: &mut BenchReport,
) {
    let one = OverheadVariant::ours("one rollout", &artifacts::filter_headers(), rollout(5.0));
    let many = one.clone().behind(OTHERS.into());
    let mut kilobytes = Vec::new();
    for _ in 0..repeats {
        let [one, many] = [resident(&one, 1, upstream).await, resident(&many, 1, upstream).await];
        kilobytes.push((many - one) / f64::from(OTHERS) / 1e3);
    }
    report.cell("memory a rollout, one worker", "KB", kilobytes, None);
}

/// The time from a push to the last of two workers that has it, and what a thousand of them leave behind.
#[allow(clippy::cast_precision_loss)]
pub(super) async fn pushes(report: &mut BenchReport) {
    let mut rig = Rig::new().start().await;
    rig.load(1_000).await;
    let pid = rig.envoy_pid().expect("Envoy runs");
    let before = process::resident_bytes(pid);
    let idle_before = idle_share(pid).await;
    let mut milliseconds = Vec::new();
    for push in 1..=PUSHES {
        if push % 50 == 0 {
            eprint!("\rpushes: {push} of {PUSHES} ");
        }
        let start = Instant::now();
        rig.push_config(|config| config["rollouts"][0]["salt"] = format!("push-{push}").into());
        rig.configured(1 + push).await;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
    }
    eprintln!();
    sleep(SETTLED).await;
    let idle_after = idle_share(pid).await;
    rig.load(1_000).await;
    let grown = process::resident_bytes(pid) as f64 - before as f64;
    report.cell("push to every worker", "ms", milliseconds, None);
    report.cell(
        format!("memory after {PUSHES} pushes, more than before"),
        "MB",
        vec![grown / 1e6],
        None,
    );
    report.cell("idle before the pushes", "% of a core", idle_before, None);
    report.cell(format!("idle after {PUSHES} pushes"), "% of a core", idle_after, None);
}

/// What a process takes of a core without load, in percent, for each second of some.
#[allow(clippy::cast_precision_loss)]
async fn idle_share(pid: u32) -> Vec<f64> {
    let mut shares = Vec::new();
    for _ in 0..IDLE_SECONDS {
        let (cpu, begin) = (process::cpu_ns(pid), Instant::now());
        sleep(Duration::from_secs(1)).await;
        let used = process::cpu_ns(pid) - cpu;
        shares.push(used as f64 / begin.elapsed().as_nanos() as f64 * 100.0);
    }
    shares
}

fn one_worker(upstream: &BenchUpstream) -> ProxyFiles {
    ProxyFiles { upstream: upstream.at(), workers: 1, core: None, foreign_keys: 0 }
}
