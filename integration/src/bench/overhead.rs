//! What the filter costs: processor time a request against Envoy's own weighted clusters, a filter
//! that does nothing and one in Lua; the module's size and memory; the poll; and how soon a weight
//! takes effect.
//!
//! The measured Envoys have one worker and one core, the upstream and the load share the others.

mod effect;
mod footprint;
mod proxy;
mod rounds;
mod upstream;
mod variant;
mod wrk;

use std::process::Command;

use tokio::runtime::Runtime;

use super::{BenchReport, process};
use proxy::{BenchProxy, ProxyFiles};
use rounds::{RoundPlan, Workload};

/// How much of everything.
struct OverheadExtent {
    small: RoundPlan,
    big: RoundPlan,
    starts: usize,
    idle_windows: usize,
    pushes: u32,
}

const FULL: OverheadExtent = OverheadExtent {
    small: RoundPlan { rounds: 16, seconds: 2 },
    big: RoundPlan { rounds: 16, seconds: 2 },
    starts: 5,
    idle_windows: 12,
    pushes: 60,
};
const QUICK: OverheadExtent = OverheadExtent {
    small: RoundPlan { rounds: 6, seconds: 1 },
    big: RoundPlan { rounds: 6, seconds: 1 },
    starts: 2,
    idle_windows: 4,
    pushes: 30,
};

/// Runs every variant of the benchmark.
pub(super) fn run(quick: bool) -> BenchReport {
    let extent = if quick { QUICK } else { FULL };
    let has_wrk = Command::new("wrk").arg("-v").output().is_ok();
    assert!(has_wrk, "the load comes from wrk: apt-get install wrk");
    let cores = process::cores();
    let [core, others @ ..] = cores.as_slice() else { panic!("no core at all") };
    assert!(
        !others.is_empty(),
        "Envoy needs a core and the load another one: this is a single core"
    );
    let mut report = BenchReport::new("overhead", &format!("; Envoy on core {core}"));
    process::keep_to(others);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(measure(&extent, *core, &mut report));
    report
}

async fn measure(extent: &OverheadExtent, core: usize, report: &mut BenchReport) {
    let upstream = upstream::start();
    a_request(extent, core, &upstream, report).await;
    footprint::module_sizes(report);
    footprint::memory(extent.starts, &upstream, report).await;
    footprint::idle(extent.idle_windows, &upstream, report).await;
    effect::measure(extent.pushes, report).await;
}

/// All variants run all the time; the load goes to one at a time.
async fn a_request(
    extent: &OverheadExtent,
    core: usize,
    upstream: &upstream::BenchUpstream,
    report: &mut BenchReport,
) {
    let place =
        ProxyFiles { upstream: upstream.at(), workers: 1, core: Some(core), foreign_keys: 0 };
    let variants = variant::all();
    let mut proxies = Vec::new();
    for variant in &variants {
        let proxy = BenchProxy::start(variant, place).await;
        proxy.check(variant).await;
        proxies.push(proxy);
    }
    let mut proxies: Vec<_> = variants.iter().zip(&proxies).collect();
    let small = rounds::measure(&proxies, upstream, Workload::Small, extent.small, core).await;
    small.tell(report);
    proxies.retain(|(variant, _)| variant.big.is_some());
    let big = rounds::measure(&proxies, upstream, Workload::Big, extent.big, core).await;
    big.tell(report);
}
