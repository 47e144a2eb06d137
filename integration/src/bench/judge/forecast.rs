//! Whether the planner's forecast is near what the simulation needs.

use canary_judge::forecast::{
    AbortTest, Percentile, PlannedStep, Rates, non_inferiority_growth, requests_needed,
};
use canary_judge::{BETA, Tolerated};
use serde_json::json;

use super::figures::ours;
use super::non_inferiority::certified;
use super::rig::{Race, SimulatedTraffic, aborts, failures, judge, race, runs};
use super::rivals::Rivals;
use super::{Extent, told};
use crate::bench::{Row, Sheet};

const NEAR: std::ops::RangeInclusive<f64> = 0.75..=1.3;

pub(super) fn tell(extent: Extent) -> Sheet {
    let mut sheet = Sheet::new(
        "The planner's forecast beside the simulation",
        "in canary requests, baseline 0.1 %, the canary from its first request on; ratio: simulated ÷ forecast",
        &["forecast", "simulated", "ratio", "target", "runs"],
    );
    for (margin, canary, weight) in [
        (0.0, 0.05, 0.05),
        (0.0, 0.02, 0.01),
        (0.0, 0.01, 0.01),
        (0.0, 0.01, 0.05),
        (0.0, 0.01, 0.1),
        (0.0, 0.01, 0.5),
        (0.0, 0.005, 0.05),
        (0.001, 0.01, 0.05),
        (0.001, 0.05, 0.25),
    ] {
        let tolerated = Tolerated { ratio: 1.0, margin };
        let (rps, false_abort, metrics) = (A_BLOCK as f64, 0.01, 1);
        let test = AbortTest { tolerated, stable: 0.001, rps, false_abort, metrics };
        let steps = [PlannedStep { weight, canary_requests: 1e9 }];
        let [rate, margin_in, share] = [canary, margin, weight].map(|share| 100.0 * share);
        let races = found(extent.runs, margin, canary, weight);
        for (percentile, name) in [(Percentile::Median, "median"), (Percentile::P90, "90 %")] {
            let until = test.requests_until_abort(&steps, canary, percentile);
            let forecast = until.expect("evidence grows").canary_requests;
            let name =
                format!("abort ({name}), 0.1 → {rate} %, margin {margin_in} %, weight {share} %");
            sheet.row(row(name, forecast, simulated(&races, percentile)));
        }
    }
    for (margin, weight) in [(0.005, 0.05), (0.01, 0.05), (0.005, 0.5), (0.002, 0.05)] {
        let tolerated = Tolerated { ratio: 1.0, margin };
        let rates = Rates { weight, canary: 0.001, stable: 0.001 };
        let needed = requests_needed(-BETA.ln(), non_inferiority_growth(tolerated, rates));
        let [margin_in, share] = [margin, weight].map(|share| 100.0 * share);
        let name = format!("certificate, margin {margin_in} points, weight {share} %");
        let races = certified(extent.runs, margin, weight, [0.001; 2], Rivals::none());
        let median = simulated(&races, Percentile::Median);
        sheet.row(row(name, weight * needed.expect("evidence grows"), median));
    }
    sheet
}

/// So many requests a second that each second is a block.
const A_BLOCK: u64 = 30;

/// How many canary requests half or nine of ten runs took, and how many runs there were.
fn simulated(races: &[Race], percentile: Percentile) -> (u64, usize) {
    let mut taken: Vec<u64> =
        ours(races).iter().map(|run| if run.decided { run.canary } else { u64::MAX }).collect();
    taken.sort_unstable();
    let place = match percentile {
        Percentile::Median => taken.len() / 2,
        Percentile::P90 => taken.len() * 9 / 10,
    };
    (taken[place], taken.len())
}

/// Runs without rivals, and for as long as it takes.
fn found(count: u64, margin: f64, canary: f64, weight: f64) -> Vec<Race> {
    let judge = judge(failures(margin), 3_600);
    let traffic = SimulatedTraffic { weight, requests: A_BLOCK, canary, stable: 0.001 };
    runs(count, |rng| {
        let lines = (0..100_000).map(|t| traffic.line(rng, t));
        race(judge.clone(), Rivals::none(), aborts, lines)
    })
}

fn row(name: String, forecast: f64, (simulated, runs): (u64, usize)) -> Row {
    let ratio = simulated as f64 / forecast;
    Row {
        name: told(name),
        cells: vec![
            format!("{forecast:.0}"),
            simulated.to_string(),
            format!("{ratio:.2}"),
            format!("{} – {}", NEAR.start(), NEAR.end()),
            runs.to_string(),
        ],
        met: Some(NEAR.contains(&ratio)),
        figures: json!({
            "forecast": forecast, "simulated": simulated, "ratio": ratio, "runs": runs,
            "target": [NEAR.start(), NEAR.end()],
        }),
    }
}
