//! The arms of a case in turn, over and over: each round measures all of them within seconds, so that
//! whatever else happens on the machine happens to all, and ratios and differences are taken within a
//! round.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::cases::{Arm, CaseFigure};
use super::proxy::BenchProxy;
use super::sender::LoadSender;
use super::upstream::BenchUpstream;
use super::variant::NATIVE;
use super::workload::{SMALL, Workload};
use crate::bench::{BenchReport, process, report::quantile};

/// How often and how long.
#[derive(Clone, Copy)]
pub(super) struct RoundPlan {
    pub(super) rounds: usize,
    /// The length of one arm's turn.
    pub(super) seconds: u32,
}

/// What was measured of one arm in one round.
#[derive(Clone, Copy)]
struct RoundMeasurement {
    cpu_us: f64,
    per_second: f64,
    /// The share of the core that others had.
    foreign: f64,
}

/// All turns, by arm and round.
pub(super) struct RoundResult {
    case: &'static str,
    arms: Vec<(String, Workload)>,
    turns: Vec<Vec<RoundMeasurement>>,
}

/// The turn's beginning that isn't measured: connections are made, caches fill.
const WARM_UP: Duration = Duration::from_millis(300);
/// The turn's end that isn't measured.
const MARGIN: Duration = Duration::from_millis(100);

/// Measures the arms. The order moves on by one with each round.
pub(super) async fn measure(
    case: &'static str,
    arms: &[(&str, Workload, &BenchProxy)],
    upstream: &BenchUpstream,
    plan: RoundPlan,
    core: usize,
) -> RoundResult {
    let sender = LoadSender::new();
    let mut turns = vec![Vec::new(); arms.len()];
    for round in 0..plan.rounds {
        eprint!("\r{case}: round {} of {} ", round + 1, plan.rounds);
        for place in 0..arms.len() {
            let number = (round + place) % arms.len();
            let (_, workload, proxy) = arms[number];
            let turn = turn(&sender, proxy, upstream, workload, plan.seconds, core).await;
            turns[number].push(turn);
        }
    }
    eprintln!();
    let arms = arms.iter().map(|(name, workload, _)| ((*name).to_owned(), *workload)).collect();
    RoundResult { case, arms, turns }
}

/// Measures one arm in one round.
#[allow(clippy::cast_precision_loss)]
async fn turn(
    sender: &LoadSender,
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
    let sending = sender.send(proxy.address(), workload, seconds);
    sleep(WARM_UP).await;
    let (start, cpu_before, busy_before, before) = look();
    sleep(Duration::from_secs(u64::from(seconds)) - WARM_UP - MARGIN).await;
    let (end, cpu_after, busy_after, after) = look();
    sending.finish().await;
    let (elapsed, answers) = ((end - start).as_secs_f64(), (after - before) as f64);
    assert!(answers > 0.0, "no request got through");
    let cpu_ns = (cpu_after - cpu_before) as f64;
    let foreign = (busy_after - busy_before) as f64 - cpu_ns;
    RoundMeasurement {
        cpu_us: cpu_ns / 1e3 / answers,
        per_second: answers / elapsed,
        foreign: (foreign / 1e9 / elapsed).max(0.0),
    }
}

impl RoundResult {
    /// Adds the figures and the ratios to the report.
    pub(super) fn tell(&self, figures: &[CaseFigure], report: &mut BenchReport) {
        for ((name, workload), turns) in self.arms.iter().zip(&self.turns) {
            let cpu = turns.iter().map(|turn| turn.cpu_us).collect();
            report.cell(
                self.title(workload, &format!("CPU an {}", workload.unit), name),
                "µs",
                cpu,
                None,
            );
        }
        for (number, (name, workload)) in self.arms.iter().enumerate() {
            if name != NATIVE[0] {
                let ratios = self.ratios(number, |turn| turn.cpu_us);
                let title = self.title(workload, "CPU ratio", &format!("{name} / native"));
                report.cell(title, "", ratios, None);
            }
        }
        self.tell_rates(report);
        for figure in figures {
            self.tell_figure(figure, report);
        }
        let mut foreign: Vec<f64> = self.turns.iter().flatten().map(|turn| turn.foreign).collect();
        foreign.sort_by(f64::total_cmp);
        let [median, most] = [0.5, 1.0].map(|share| 100.0 * quantile(&foreign, share));
        let case = self.case;
        report.note(format!(
            "{case}: others had {median:.0} % of Envoy's core (at most {most:.0} %)."
        ));
    }

    fn title(&self, workload: &Workload, what: &str, name: &str) -> String {
        let what = what.replace("an request", "a request");
        format!("{} {}, {what}: {name}", self.case, workload.name)
    }

    /// Requests a second at a worker that has no more to give.
    fn tell_rates(&self, report: &mut BenchReport) {
        let small = |(_, workload): &(String, Workload)| *workload == SMALL;
        for (number, arm) in self.arms.iter().enumerate().filter(|(_, arm)| small(arm)) {
            let rates = self.turns[number].iter().map(|turn| turn.per_second).collect();
            report.cell(self.title(&arm.1, "requests a second", &arm.0), "1/s", rates, None);
        }
    }

    /// A quotient is that of two medians: a quotient of small differences has no mean.
    fn tell_figure(&self, figure: &CaseFigure, report: &mut BenchReport) {
        let name = format!("{}: {}", self.case, figure.name);
        let over = self.sums(&figure.over);
        if figure.under.is_empty() {
            report.cell(name, "µs", over, figure.target);
            return;
        }
        let under = self.sums(&figure.under);
        if figure.over.len() == 1 && figure.under.len() == 1 {
            let ratios = over.iter().zip(&under).map(|(over, under)| over / under).collect();
            report.cell(name, "", ratios, figure.target);
            return;
        }
        let [over, under] = [over, under].map(|mut sums| {
            sums.sort_by(f64::total_cmp);
            quantile(&sums, 0.5)
        });
        report.cell(name, "", vec![over / under], figure.target);
    }

    /// A sum of arms' processor times, by round.
    fn sums(&self, terms: &[(f64, Arm)]) -> Vec<f64> {
        let rounds = 0..self.turns.first().map_or(0, Vec::len);
        let at = |round: usize| {
            terms.iter().map(|(sign, arm)| sign * self.turns_of(*arm)[round].cpu_us).sum()
        };
        rounds.map(at).collect()
    }

    /// An arm's figures against native's in the same round. The control is held against the one
    /// other native; all others against the mean of both, which halves that side's noise.
    fn ratios(&self, number: usize, figure: impl Fn(&RoundMeasurement) -> f64) -> Vec<f64> {
        let (name, workload) = &self.arms[number];
        let first = self.turns_of((NATIVE[0], *workload));
        let again = self.find((NATIVE[1], *workload)).filter(|_| name != NATIVE[1]);
        let reference = |round: usize| {
            let first = figure(&first[round]);
            again.map_or(first, |again| f64::midpoint(first, figure(&again[round])))
        };
        let turns = self.turns[number].iter().enumerate();
        turns.map(|(round, turn)| figure(turn) / reference(round)).collect()
    }

    fn find(&self, (name, workload): Arm) -> Option<&[RoundMeasurement]> {
        let is = |arm: &(String, Workload)| arm.0 == name && arm.1 == workload;
        self.arms.iter().position(is).map(|number| self.turns[number].as_slice())
    }

    fn turns_of(&self, arm: Arm) -> &[RoundMeasurement] {
        self.find(arm).unwrap_or_else(|| panic!("{} isn't measured in this case", arm.0))
    }
}
