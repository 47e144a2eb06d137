//! Whether the planner's forecast is near what the simulation needs.

use canary_judge::forecast::{
    Rates, abort_growth, abort_nats, median_requests, non_inferiority_growth, requests_needed,
};
use canary_judge::{BETA, Tolerated};
use serde_json::json;

use super::figures::{canary_quantiles, ours};
use super::non_inferiority::certified;
use super::rig::{Race, SimulatedTraffic, aborts, failures, judge, race, runs};
use super::rivals::Rivals;
use super::{Extent, told};
use crate::bench::{Row, Sheet};

const NEAR: std::ops::RangeInclusive<f64> = 0.75..=1.3;

pub(super) fn tell(extent: Extent) -> Sheet {
    let mut sheet = Sheet::new(
        "The planner's forecast beside the simulated median",
        "in canary requests, baseline 0.1 %, the canary from its first request on",
        &["forecast", "median", "ratio", "target", "runs"],
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
        let growth = abort_growth(tolerated, Rates { weight, canary, stable: 0.001 });
        let forecast = median_requests(abort_nats(0.01, 1), growth);
        let [rate, margin_in, share] = [canary, margin, weight].map(|share| 100.0 * share);
        let name = format!("abort, 0.1 → {rate} %, margin {margin_in} %, weight {share} %");
        let races = found(extent.runs, margin, canary, weight);
        sheet.row(row(name, weight * forecast.expect("evidence grows"), &races));
    }
    for (margin, weight) in [(0.005, 0.05), (0.01, 0.05), (0.005, 0.5), (0.002, 0.05)] {
        let tolerated = Tolerated { ratio: 1.0, margin };
        let rates = Rates { weight, canary: 0.001, stable: 0.001 };
        let needed = requests_needed(-BETA.ln(), non_inferiority_growth(tolerated, rates));
        let [margin_in, share] = [margin, weight].map(|share| 100.0 * share);
        let name = format!("certificate, margin {margin_in} points, weight {share} %");
        let races = certified(extent.runs, margin, weight, [0.001; 2], Rivals::none());
        sheet.row(row(name, weight * needed.expect("evidence grows"), &races));
    }
    sheet
}

/// Runs without rivals, and for as long as it takes.
fn found(count: u64, margin: f64, canary: f64, weight: f64) -> Vec<Race> {
    let judge = judge(failures(margin), 3_600);
    let traffic = SimulatedTraffic { weight, requests: 30, canary, stable: 0.001 };
    runs(count, |rng| {
        let lines = (0..100_000).map(|t| traffic.line(rng, t));
        race(judge.clone(), Rivals::none(), aborts, lines)
    })
}

fn row(name: String, forecast: f64, races: &[Race]) -> Row {
    let [median, _] = canary_quantiles(&ours(races));
    let median = median.expect("half of the runs were decided");
    let ratio = forecast / median as f64;
    Row {
        name: told(name),
        cells: vec![
            format!("{forecast:.0}"),
            median.to_string(),
            format!("{ratio:.2}"),
            format!("{} – {}", NEAR.start(), NEAR.end()),
            races.len().to_string(),
        ],
        met: Some(NEAR.contains(&ratio)),
        figures: json!({
            "forecast": forecast, "median": median, "ratio": ratio, "runs": races.len(),
            "target": [NEAR.start(), NEAR.end()],
        }),
    }
}
