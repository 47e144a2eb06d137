//! The judge's figures, simulated through the same code that judges rollouts: how often it is wrong about
//! a canary that is no worse, how soon it finds one that is, how soon it certifies, and how near the
//! planner's forecast comes.
//!
//! Every run has a seed of its own, and a line of counts each second. The decision rules of Flagger, Argo
//! Rollouts and Kayenta, re-implemented, watch the same streams.

mod clients;
mod conversions;
mod drift;
mod effects;
mod false_abort;
mod figures;
mod forecast;
mod latency;
mod non_inferiority;
mod outcome;
mod power;
mod restarts;
mod rig;
mod rivals;
mod split;
mod stream_rows;
mod streams;

use super::BenchReport;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// Runs of a cell with a target.
    runs: u64,
    /// Runs where they are long or only stand for comparison.
    few: u64,
    /// Runs of the rows of streams, each of which simulates every request.
    streams: u64,
}

const FULL: Extent = Extent { runs: 2_000, few: 1_000, streams: 400 };
const QUICK: Extent = Extent { runs: 300, few: 100, streams: 100 };

/// Runs all sheets of the benchmark.
pub(super) fn run(quick: bool) -> BenchReport {
    let extent = if quick { QUICK } else { FULL };
    let Extent { runs, few, streams } = extent;
    let mut report = BenchReport::new(
        "judge",
        &format!("; seed {}, {runs}, {few} or {streams} runs a cell", rig::SEED),
    );
    report.sheet(false_abort::tell(extent));
    report.sheet(stream_rows::tell(extent));
    report.sheet(split::tell_false(extent));
    report.sheet(split::tell_speed(extent));
    report.sheet(power::tell(extent));
    report.sheet(power::tell_compared(extent));
    report.sheet(latency::tell(extent));
    report.sheet(drift::tell(extent));
    report.sheet(non_inferiority::tell_good(extent));
    report.sheet(non_inferiority::tell_bad(extent));
    report.sheet(conversions::tell(extent));
    report.sheet(effects::tell(extent));
    report.sheet(forecast::tell(extent));
    eprintln!();
    for note in [
        "Intervals are Wilson's. A target of a share holds for the share measured, of quantiles for both.",
        "* Decision rules re-implemented from documented defaults, on the same streams; not the products. Flagger: \
         each minute success ≥ 99 % (p99 ≤ 500 ms), rolled back in the interval after 5 failed checks. Argo: each \
         minute success ≥ 95 %, rolled back with the 4th failed measurement. Kayenta: Mann-Whitney at 98 % on a value \
         a minute, judged each 10 minutes. Undecided streams count with all of their failures.",
    ] {
        report.note(note);
    }
    if quick {
        report.note("Quick: so few runs only show that everything runs; a share can miss its target by chance.");
    }
    report
}

/// Says on standard error what was just finished, and gives its name back.
fn told(name: String) -> String {
    eprint!("\r\x1b[Kjudge: {name}");
    name
}
