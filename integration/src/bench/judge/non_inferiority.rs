//! How soon a good canary is certified, and how seldom a bad one.

use super::clients::{Population, SimulatedClient};
use super::figures::{Beside, share_row, speed_row};
use super::rig::{Race, SimulatedTraffic, certifies, failures, judge, race, runs};
use super::rivals::{NAMES, Rivals};
use super::{Extent, told};
use crate::bench::Sheet;

const BETA: f64 = 0.05;

/// How soon a canary that is as good as stable is certified.
pub(super) fn tell_good(extent: Extent) -> Sheet {
    let mut sheet = Sheet::new(
        "Certificates: canary requests until an identical version is certified",
        "β = 5 %, up to 50 minutes of 100 requests a second",
        &Beside::Nothing.columns(),
    );
    for (baseline, margin, weight, limit) in [
        (0.001, 0.005, 0.05, Some(1_100)),
        (0.001, 0.005, 0.5, None),
        (0.001, 0.01, 0.05, None),
        (0.001, 0.002, 0.05, None),
        (0.01, 0.01, 0.25, None),
    ] {
        let [base, plus, share] = [baseline, margin, weight].map(|share| 100.0 * share);
        let name = format!("baseline {base} %, margin {plus} points, weight {share} %");
        let races = certified(extent.runs, margin, weight, [baseline; 2], Rivals::none());
        sheet.row(speed_row(told(name), &races, [limit, None], Beside::Nothing));
    }
    sheet
}

/// A canary exactly as bad as the margin says: the rivals promote it when they do not roll back.
pub(super) fn tell_bad(extent: Extent) -> Sheet {
    let [flagger, argo, kayenta] = NAMES;
    let mut sheet = Sheet::new(
        "False certificates: a canary exactly at the margin",
        "a look each second for up to 50 minutes of 100 requests a second; the others: promoted, that is not rolled \
         back in that time",
        &["certified", "95 % interval", "runs", "target", flagger, argo, kayenta],
    );
    for (baseline, margin, weight) in [(0.001, 0.005, 0.05), (0.001, 0.005, 0.5), (0.01, 0.01, 0.1)]
    {
        let [base, plus, share] = [baseline, margin, weight].map(|share| 100.0 * share);
        let name = format!("baseline {base} %, {plus} points worse, weight {share} %");
        let rates = [baseline + margin, baseline];
        let races = certified(extent.runs, margin, weight, rates, Rivals::of_failures());
        sheet.row(share_row(told(name), &races, Some(BETA), |share| 1.0 - share.fraction()));
    }
    let name = "sticky clients: 2 in 100 more fail their first request, weight 10 %";
    let races = clients(extent.runs);
    sheet.row(share_row(told(name.to_owned()), &races, Some(BETA), |share| 1.0 - share.fraction()));
    sheet
}

/// Certificates of a canary and a stable version that fail so often.
pub(super) fn certified(
    count: u64,
    margin: f64,
    weight: f64,
    [canary, stable]: [f64; 2],
    rivals: Rivals,
) -> Vec<Race> {
    const SECONDS: u64 = 3_000;
    let judge = judge(failures(margin), SECONDS);
    let traffic = SimulatedTraffic { weight, requests: 100, canary, stable };
    runs(count, |rng| {
        let lines = (0..SECONDS).map(|t| traffic.line(rng, t));
        race(judge.clone(), rivals.clone(), certifies, lines)
    })
}

/// 20,000 clients in one window, 60,000 requests, a canary at the margin of two points.
fn clients(count: u64) -> Vec<Race> {
    let judge = judge(failures(0.02), 300);
    runs(count, |rng| {
        let mut all =
            Population::new(rng, 20_000, |_| SimulatedClient { stable: 0.001, canary: 0.021 });
        let lines = (0..300).map(|t| all.line(rng, t, 0.1, 1, 200));
        race(judge.clone(), Rivals::none(), certifies, lines)
    })
}
