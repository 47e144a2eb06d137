//! How soon other answers are noticed, and how seldom the same answers are taken for others.

use canary_judge::counts::Pair;
use canary_judge::observation::ClassCounts;
use canary_judge::spec::MetricRule;

use super::figures::{Beside, speed_row};
use super::rig::{Race, Rng, aborts, binomial, blank, judge, race, runs};
use super::rivals::Rivals;
use super::{Extent, told};
use crate::bench::Sheet;

const SIGNAL: &str = "label";
const REQUESTS: u64 = 100;
const WEIGHT: f64 = 0.1;
/// How long a rollout is planned to take.
const SECONDS: u64 = 1_200;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

pub(super) fn tell(extent: Extent) -> Sheet {
    let mut sheet = Sheet::new(
        "Other answers found: canary answers until the rollback",
        "weight 10 %, 20 minutes of 100 answers a second; Kayenta watches the share of the first class: canary answers \
         / rolled back",
        &Beside::Requests.columns(),
    );
    for (tolerance, stable, canary, limit) in [
        (0.0, &[0.5, 0.5][..], &[0.55, 0.45][..], Some(1_700)),
        (0.0, &[0.05, 0.95], &[0.1, 0.9], None),
        (0.0, &[0.4, 0.3, 0.2, 0.07, 0.03], &[0.45, 0.25, 0.2, 0.07, 0.03], None),
        (0.02, &[0.5, 0.5], &[0.6, 0.4], None),
    ] {
        let shares = |shares: &[f64]| {
            let shares: Vec<String> = shares.iter().map(|s| format!("{:.0}", 100.0 * s)).collect();
            shares.join("/")
        };
        let [from, to] = [stable, canary].map(shares);
        let name = format!("{from} → {to} %, tolerance {} %", 100.0 * tolerance);
        let runs = if limit.is_some() { extent.runs } else { extent.few };
        let races = shifted(runs, tolerance, stable, canary, SECONDS);
        sheet.row(speed_row(told(name), &races, [limit, None], Beside::Requests));
    }
    sheet
}

/// Runs of a canary that answers as stable does.
pub(super) fn identical(count: u64) -> Vec<Race> {
    let shares = [0.4, 0.3, 0.2, 0.07, 0.03];
    shifted(count, 0.0, &shares, &shares, SECONDS / 2)
}

fn shifted(count: u64, tolerance: f64, stable: &[f64], canary: &[f64], seconds: u64) -> Vec<Race> {
    let rule = MetricRule::Distribution { signal: SIGNAL.to_owned(), tolerance };
    let judge = judge(rule, SECONDS);
    runs(count, |rng| {
        let lines = (0..seconds).map(|t| {
            let nc = binomial(rng, REQUESTS, WEIGHT);
            let mut line = blank(t, WEIGHT);
            line.roles.canary.total = Some(nc);
            line.roles.stable.total = Some(REQUESTS - nc);
            let stable = Some(classes(rng, REQUESTS - nc, stable));
            let signal = Pair { stable, canary: Some(classes(rng, nc, canary)) };
            line.signals.insert(SIGNAL.to_owned(), signal);
            line
        });
        race(judge.clone(), Rivals::of_class(SIGNAL, NAMES[0]), aborts, lines)
    })
}

/// Draws `n` values over classes of these shares.
fn classes(rng: &mut Rng, n: u64, shares: &[f64]) -> ClassCounts {
    let (mut left, mut rest) = (n, 1.0);
    let mut counts = ClassCounts::new();
    for (class, share) in NAMES.iter().zip(shares) {
        let drawn = binomial(rng, left, (share / rest).clamp(0.0, 1.0));
        counts.insert((*class).to_owned(), drawn);
        left -= drawn;
        rest = (rest - share).max(1e-12);
    }
    counts
}
