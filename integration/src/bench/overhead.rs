//! What the filter costs: processor time a request against Envoy's own weighted clusters, a filter
//! that does nothing and one in Lua, as the work grows; the module's size and memory; the poll; and how
//! soon a weight takes effect.
//!
//! The measured Envoys have one worker and one core, the upstream and the load share the others.

mod cases;
mod counting;
mod effect;
mod footprint;
mod proxy;
mod rounds;
mod sender;
mod upstream;
mod variant;
mod workload;

use std::process::Command;

use tokio::runtime::Runtime;

use super::{BenchReport, BenchRun, process};
use cases::OverheadCase;
use proxy::{BenchProxy, ProxyFiles};
use rounds::RoundPlan;
use workload::SMALL;

/// How much of everything.
struct OverheadExtent {
    plan: RoundPlan,
    /// How often memory is measured.
    starts: usize,
    /// How many runtime keys of others there are when the poll is measured.
    foreign_keys: &'static [usize],
    idle_windows: usize,
    pushes: u32,
}

const FULL: OverheadExtent = OverheadExtent {
    plan: RoundPlan { rounds: 12, seconds: 2 },
    starts: 5,
    foreign_keys: &[10, 1_000, 10_000],
    idle_windows: 8,
    pushes: 60,
};
const QUICK: OverheadExtent = OverheadExtent {
    plan: RoundPlan { rounds: 4, seconds: 1 },
    starts: 0,
    foreign_keys: &[1_000],
    idle_windows: 3,
    pushes: 15,
};
/// What `--only` can name.
pub(super) const PARTS: [&str; 11] = [
    "plain",
    "weights",
    "realistic",
    "stream",
    "big",
    "growth",
    "http2",
    "grpc",
    "counting",
    "footprint",
    "effect",
];
/// What `--quick` leaves out.
const QUICK_SAYS: &str = "--quick: the cases plain, realistic and stream with fewer variants, counting, \
    the modules' size, the poll with 1,000 keys and the effect of a weight; without weights, big, growth, http2, grpc and \
    memory.";

/// Runs every variant of the benchmark, or the parts that `--only` names.
pub(super) fn run(run: &BenchRun) -> BenchReport {
    let extent = if run.quick { QUICK } else { FULL };
    for (program, package) in [("wrk", "wrk"), ("h2load", "nghttp2-client")] {
        let found = Command::new(program).arg("--version").output().is_ok();
        assert!(found, "the load comes from {program}: apt-get install {package}");
    }
    let cores = process::cores();
    let [core, others @ ..] = cores.as_slice() else { panic!("no core at all") };
    assert!(
        !others.is_empty(),
        "Envoy needs a core and the load another one: this is a single core"
    );
    let mut report = BenchReport::new("overhead", &format!("; Envoy on core {core}"));
    process::keep_to(others);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(measure(&extent, run, *core, &mut report));
    if run.quick {
        report.note(QUICK_SAYS);
    }
    report
}

async fn measure(extent: &OverheadExtent, run: &BenchRun, core: usize, report: &mut BenchReport) {
    let upstream = upstream::start();
    let against = run.against.as_deref();
    for case in cases::all(against, run.quick).iter().filter(|case| run.wants(case.name)) {
        measure_case(case, extent.plan, core, &upstream, report).await;
    }
    if let Some(module) = against {
        footprint::module_size("--against", module, report);
    }
    if run.wants("counting") {
        counting::measure(report);
    }
    if run.wants("footprint") {
        footprint::module_sizes(report);
        footprint::memory(extent.starts, &upstream, report).await;
        footprint::idle(extent.foreign_keys, extent.idle_windows, &upstream, report).await;
    }
    if run.wants("effect") {
        effect::measure(extent.pushes, report).await;
    }
}

/// All variants of a case run all the time; the load goes to one at a time.
async fn measure_case(
    case: &OverheadCase,
    plan: RoundPlan,
    core: usize,
    upstream: &upstream::BenchUpstream,
    report: &mut BenchReport,
) {
    let place =
        ProxyFiles { upstream: upstream.at(), workers: 1, core: Some(core), foreign_keys: 0 };
    let mut proxies = Vec::new();
    for (variant, workloads) in &case.variants {
        let proxy = BenchProxy::start(variant, place).await;
        if workloads.contains(&SMALL) {
            proxy.check(variant).await;
        }
        proxies.push(proxy);
    }
    let arms: Vec<_> = case
        .variants
        .iter()
        .zip(&proxies)
        .flat_map(|((variant, workloads), proxy)| {
            workloads.iter().map(move |workload| (variant.name.as_str(), *workload, proxy))
        })
        .collect();
    let result = rounds::measure(case.name, &arms, upstream, plan, core).await;
    for ((variant, _), proxy) in case.variants.iter().zip(&proxies) {
        proxy.check_counters(variant).await;
    }
    result.tell(&case.figures, report);
}
