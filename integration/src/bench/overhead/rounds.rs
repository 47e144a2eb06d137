//! The variants in turn, over and over: each round measures all of them within seconds, so that
//! whatever else happens on the machine happens to all, and the ratios are taken within a round.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::proxy::BenchProxy;
use super::upstream::{BIG_PATH, BenchUpstream};
use super::variant::{NATIVE, OverheadVariant};
use super::wrk::Wrk;
use crate::bench::{BenchReport, process, report::quantile};

/// How often and how long.
#[derive(Clone, Copy)]
pub(super) struct RoundPlan {
    pub(super) rounds: usize,
    /// The length of one variant's turn.
    pub(super) seconds: u32,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Workload {
    Small,
    Big,
}

/// What was measured of one variant in one round.
#[derive(Clone, Copy)]
struct RoundMeasurement {
    cpu_us: f64,
    per_second: f64,
    /// The share of the core that others had.
    foreign: f64,
}

/// All turns, by variant and round.
pub(super) struct RoundResult<'a> {
    workload: Workload,
    variants: Vec<&'a OverheadVariant>,
    turns: Vec<Vec<RoundMeasurement>>,
}

/// The turn's beginning that isn't measured: connections are made, caches fill.
const WARM_UP: Duration = Duration::from_millis(300);
/// The turn's end that isn't measured.
const MARGIN: Duration = Duration::from_millis(100);

/// Measures the variants. The order moves on by one with each round.
pub(super) async fn measure<'a>(
    proxies: &[(&'a OverheadVariant, &BenchProxy)],
    upstream: &BenchUpstream,
    workload: Workload,
    plan: RoundPlan,
    core: usize,
) -> RoundResult<'a> {
    let wrk = Wrk::new();
    let mut turns = vec![Vec::new(); proxies.len()];
    for round in 0..plan.rounds {
        eprint!("\r{}: round {} of {} ", workload.name(), round + 1, plan.rounds);
        for place in 0..proxies.len() {
            let number = (round + place) % proxies.len();
            let turn = turn(&wrk, proxies[number].1, upstream, workload, plan.seconds, core).await;
            turns[number].push(turn);
        }
    }
    eprintln!();
    let variants = proxies.iter().map(|(variant, _)| *variant).collect();
    RoundResult { workload, variants, turns }
}

/// Measures one variant in one round.
#[allow(clippy::cast_precision_loss)]
async fn turn(
    wrk: &Wrk,
    proxy: &BenchProxy,
    upstream: &BenchUpstream,
    workload: Workload,
    seconds: u32,
    core: usize,
) -> RoundMeasurement {
    let look = || {
        let (cpu, busy) = (process::cpu_ns(proxy.pid()), process::core_busy_ns(core));
        (Instant::now(), cpu, busy, upstream.answered())
    };
    let sending = wrk.send(proxy.address(), workload.path(), seconds);
    sleep(WARM_UP).await;
    let (start, cpu_before, busy_before, before) = look();
    sleep(Duration::from_secs(u64::from(seconds)) - WARM_UP - MARGIN).await;
    let (end, cpu_after, busy_after, after) = look();
    sending.finish().await;
    let (elapsed, requests) = ((end - start).as_secs_f64(), (after - before) as f64);
    assert!(requests > 0.0, "no request got through");
    let cpu_ns = (cpu_after - cpu_before) as f64;
    let foreign = (busy_after - busy_before) as f64 - cpu_ns;
    RoundMeasurement {
        cpu_us: cpu_ns / 1e3 / requests,
        per_second: requests / elapsed,
        foreign: (foreign / 1e9 / elapsed).max(0.0),
    }
}

impl Workload {
    fn path(self) -> &'static str {
        match self {
            Self::Small => "/",
            Self::Big => BIG_PATH,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Small => "small answers",
            Self::Big => "300 KB answers",
        }
    }
}

impl RoundResult<'_> {
    /// Adds the figures and the ratios to the report.
    pub(super) fn tell(&self, report: &mut BenchReport) {
        let what = self.workload.name();
        for (variant, turns) in self.variants.iter().zip(&self.turns) {
            let cpu = turns.iter().map(|turn| turn.cpu_us).collect();
            report.cell(format!("{what}, CPU a request: {}", variant.name), "µs", cpu, None);
        }
        for (number, variant) in self.variants.iter().enumerate().filter(|(_, v)| !v.is_reference())
        {
            let target = match self.workload {
                Workload::Small => variant.cpu,
                Workload::Big => variant.big.flatten(),
            };
            let ratios = self.ratios(number, |turn| turn.cpu_us);
            report.cell(
                format!("{what}, CPU ratio: {} / native", variant.name),
                "",
                ratios,
                target,
            );
        }
        if self.workload == Workload::Small {
            self.tell_rates(report);
        }
        let mut foreign: Vec<f64> = self.turns.iter().flatten().map(|turn| turn.foreign).collect();
        foreign.sort_by(f64::total_cmp);
        let [median, most] = [0.5, 1.0].map(|share| 100.0 * quantile(&foreign, share));
        report.note(format!(
            "{what}: others had {median:.0} % of Envoy's core (at most {most:.0} %)."
        ));
    }

    fn tell_rates(&self, report: &mut BenchReport) {
        for (variant, turns) in self.variants.iter().zip(&self.turns) {
            let rates = turns.iter().map(|turn| turn.per_second).collect();
            report.cell(format!("requests a second: {}", variant.name), "1/s", rates, None);
        }
        for (number, variant) in self.variants.iter().enumerate().filter(|(_, v)| !v.is_reference())
        {
            let ratios = self.ratios(number, |turn| turn.per_second);
            let name = format!("requests a second, ratio: {} / native", variant.name);
            report.cell(name, "", ratios, variant.rate);
        }
    }

    /// A variant's figures against native's in the same round. The control is held against the one
    /// other native; all others against the mean of both, which halves that side's noise.
    fn ratios(&self, number: usize, figure: impl Fn(&RoundMeasurement) -> f64) -> Vec<f64> {
        let natives = NATIVE.map(|name| self.turns_of(name));
        let is_control = self.variants[number].name == NATIVE[1];
        let reference = |round: usize| {
            let [first, second] = natives.map(|turns| figure(&turns[round]));
            if is_control { first } else { f64::midpoint(first, second) }
        };
        let turns = self.turns[number].iter().enumerate();
        turns.map(|(round, turn)| figure(turn) / reference(round)).collect()
    }

    fn turns_of(&self, name: &str) -> &[RoundMeasurement] {
        let number = self.variants.iter().position(|variant| variant.name == name);
        &self.turns[number.expect("both native ones are measured")]
    }
}
