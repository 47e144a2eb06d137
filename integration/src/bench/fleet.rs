//! One controller over a whole fleet: 10 to 1,000 admin interfaces, 8 of them of real Envoys, with none
//! or some of the others hanging, refusing connections and restarting.
//!
//! The others are simulated: a program of ours answers with what a real Envoy answered, and imagines a
//! filter that follows its runtime within an interval and 100 requests a second. It shares the machine
//! with the controller, so the controller's processor time is its own and the times are those of a
//! machine with one core for it.

mod controller;
mod recording;
mod simulated;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use self::controller::{FleetController, set_weight};
use self::recording::AdminRecording;
use self::simulated::{EnvoyFault, SimulatedEnvoy};
use super::BenchReport;
use super::BenchTarget::{AtLeast, AtMost};
use crate::{AdminOn, Rig, Running};

/// How many Envoys are real.
const REAL: usize = 8;
/// No look at an Envoy of one tick is followed by the next tick's within this time.
const BETWEEN_TICKS: Duration = Duration::from_millis(150);

/// How much of everything.
struct FleetExtent {
    sizes: &'static [usize],
    repeats: usize,
    observed: Duration,
}

const FULL: FleetExtent =
    FleetExtent { sizes: &[10, 100, 500, 1_000], repeats: 7, observed: Duration::from_secs(20) };
const QUICK: FleetExtent =
    FleetExtent { sizes: &[10, 1_000], repeats: 3, observed: Duration::from_secs(8) };

/// Runs every size without faults and with them.
pub(super) fn run(quick: bool) -> BenchReport {
    let extent = if quick { QUICK } else { FULL };
    let circumstances = format!("; {REAL} real Envoys, the others simulated");
    let mut report = BenchReport::new("fleet", &circumstances);
    Runtime::new().expect("a runtime").block_on(measure(&extent, &mut report));
    report.note(
        "With faults: of the simulated Envoys, 5 % hang, 5 % refuse connections, and 5 % restart every 5 s. Until \
         confirmed: from the command until the last Envoy without a fault has the weight in force.",
    );
    report
}

async fn measure(extent: &FleetExtent, report: &mut BenchReport) {
    let mut real = Vec::new();
    for _ in 0..REAL {
        real.push(Rig::new().admin(AdminOn::Tcp).workers(1).start().await);
    }
    // So that its statistics have both versions and histograms.
    real[0].runtime_modify(&[("canary.demo.weight", "50")]).await;
    real[0].weight_in_force(500_000).await;
    real[0].load(2_000).concurrency(8).await;
    let recording = Arc::new(AdminRecording::new(real[0].admin().address().clone()));
    for size in extent.sizes {
        for faults in [false, true] {
            eprint!("\rfleet: {size} Envoys{}        ", if faults { " with faults" } else { "" });
            let fleet = BenchFleet::start(*size, faults, &real, &recording).await;
            fleet.tell(extent, report).await;
        }
    }
    eprintln!();
}

/// A fleet of real and simulated Envoys.
struct BenchFleet<'a> {
    faults: bool,
    real: &'a [Running],
    simulated: Vec<Arc<SimulatedEnvoy>>,
    urls: Vec<String>,
}

impl<'a> BenchFleet<'a> {
    async fn start(
        size: usize,
        faults: bool,
        real: &'a [Running],
        recording: &Arc<AdminRecording>,
    ) -> Self {
        let fault = |number: usize| match number % 20 {
            _ if !faults => EnvoyFault::None,
            1 => EnvoyFault::Hangs,
            8 => EnvoyFault::Refuses,
            15 => EnvoyFault::Restarts,
            _ => EnvoyFault::None,
        };
        let all: Vec<EnvoyFault> = (0..size - REAL).map(fault).collect();
        let simulated = simulated::start(&all, recording).await;
        let urls = real.iter().map(|one| one.admin().address().to_string());
        let urls = urls.chain(simulated.iter().map(|one| one.url.clone())).collect();
        Self { faults, real, simulated, urls }
    }

    fn name(&self) -> String {
        format!("{} Envoys{}", self.urls.len(), if self.faults { " with faults" } else { "" })
    }

    fn well(&self) -> impl Iterator<Item = &Arc<SimulatedEnvoy>> {
        self.simulated.iter().filter(|one| one.fault == EnvoyFault::None)
    }

    async fn tell(&self, extent: &FleetExtent, report: &mut BenchReport) {
        let (name, largest) = (self.name(), self.urls.len() == 1_000);
        let target = |target| largest.then_some(target);
        if !self.faults {
            let mut seconds = Vec::new();
            for repeat in 0..extent.repeats {
                seconds.push(set_weight(&self.urls, 10 + repeat as u32).await.as_secs_f64());
            }
            report.cell(format!("{name}: set weight"), "s", seconds, target(AtMost(2.0)));
        }
        let (mut seconds, mut peaks) = (Vec::new(), Vec::new());
        let mut observed = None;
        for repeat in 0..extent.repeats {
            let controller = FleetController::start(&self.urls);
            controller.paused_at(5.0).await;
            if repeat == 0 {
                observed = Some(self.observe(&controller, extent.observed).await);
            }
            controller.judged().await;
            let asked = controller.promote().await;
            self.have(100_000, &controller).await;
            seconds.push(asked.elapsed().as_secs_f64());
            controller.paused_at(10.0).await;
            peaks.push(controller.peak_bytes() as f64 / 1e6);
            controller.end().await;
        }
        let name_of = |what: &str| format!("{name}, controller: {what}");
        report.cell(name_of("next weight until confirmed"), "s", seconds, target(AtMost(2.0)));
        let observed = observed.expect("observed at the first repeat");
        report.cell(name_of("one observation of all"), "s", observed.bursts, target(AtMost(1.0)));
        report.cell(
            name_of("looks at an Envoy without a fault"),
            "1/s",
            observed.per_second,
            target(AtLeast(0.95)),
        );
        report.cell(name_of("processor"), "cores", vec![observed.cores], target(AtMost(1.0)));
        report.cell(name_of("memory at most"), "MB", peaks, target(AtMost(200.0)));
    }

    /// Waits until every Envoy without a fault has this weight in force.
    async fn have(&self, ppm: u64, controller: &FleetController) {
        let begin = Instant::now();
        while self.well().any(|one| one.weight() != ppm) {
            if begin.elapsed() > Duration::from_secs(60) {
                panic!("{}: not all at {ppm} ppm: {:#}", self.name(), controller.status().await);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for one in self.real {
            one.weight_in_force(ppm).await;
        }
    }

    /// Watches the controller watch.
    async fn observe(&self, controller: &FleetController, time: Duration) -> ObservedLooks {
        self.well().for_each(|one| drop(one.take_looks()));
        let begin = Instant::now();
        let cores = controller.cores_over(time).await;
        let seconds = begin.elapsed().as_secs_f64();
        let looks: Vec<Vec<Instant>> = self.well().map(|one| one.take_looks()).collect();
        let per_second = looks.iter().map(|looks| looks.len() as f64 / seconds).collect();
        let mut all: Vec<Instant> = looks.into_iter().flatten().collect();
        all.sort();
        ObservedLooks { cores, per_second, bursts: bursts(&all) }
    }
}

/// How a controller looks at its fleet.
struct ObservedLooks {
    cores: f64,
    /// Looks a second, of each Envoy.
    per_second: Vec<f64>,
    /// From the first to the last look of a tick, in seconds.
    bursts: Vec<f64>,
}

/// How long each tick's looks take, from the moments of all looks in order.
fn bursts(looks: &[Instant]) -> Vec<f64> {
    let of_one_tick = |before: &Instant, after: &Instant| *after - *before < BETWEEN_TICKS;
    let bursts = looks.chunk_by(of_one_tick);
    bursts.map(|burst| (burst[burst.len() - 1] - burst[0]).as_secs_f64()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_a_ticks_looks() {
        let begin = Instant::now();
        let at = |millis: u64| begin + Duration::from_millis(millis);
        let looks = [0, 100, 200, 1_000, 1_050, 2_000].map(at);
        assert_eq!(bursts(&looks), [0.2, 0.05, 0.0]);
    }
}
