//! How often an effect's interval misses the truth at any look, and how wide it is beside a fixed-sample one.

use canary_judge::observation::Observation;
use canary_judge::spec::MetricRule;
use canary_judge::timing::Timing;
use canary_judge::{EffectEstimate, EffectSince, Judge};
use serde_json::json;

use super::conversions::{SIGNAL, converting};
use super::figures::{Share, percent};
use super::latency::{LogNormalTimes, timed};
use super::rig::{Rng, SimulatedTraffic, binomial, failures, judge_with_effects, runs};
use super::{Extent, told};
use crate::bench::{Row, Sheet};

/// A run ends with the look at which the canary has had so many requests.
const CANARY_REQUESTS: u64 = 10_000;
/// Looks a run, one a second.
const LOOKS: u64 = 400;
/// What an interval may miss on a side.
const MISSES: f64 = 0.025;
/// The 97.5th percentile of the standard normal distribution.
const Z: f64 = 1.959_963_985;

/// One run of one effect: whether each side ever missed, and the interval at the end.
#[derive(Clone, Copy, Debug)]
struct Looks {
    missed: [bool; 2],
    last: Option<[f64; 2]>,
}

/// An effect's truth, and how wide its fixed-sample interval is; on the scale of `scaled`.
#[derive(Clone, Copy, Debug)]
struct Truth {
    value: f64,
    fixed_width: f64,
    /// How many times as wide the interval may be.
    limit: Option<f64>,
    /// Whether widths are those of logarithms.
    is_ratio: bool,
}

impl Truth {
    fn width(&self, [lower, upper]: [f64; 2]) -> f64 {
        if self.is_ratio { (upper / lower).ln() } else { upper - lower }
    }
}

pub(super) fn tell(extent: Extent) -> Sheet {
    let mut sheet = Sheet::new(
        "Effects: how often an interval misses the truth at any look",
        "95 % intervals since the start, looked at each second up to 10,000 canary requests (400 looks); width: that at \
         10,000, median, and divided by that of an interval that may be looked at once (Wald; of ratios the \
         logarithms'). Missed when a side is significantly above 2.5 % (exact binomial test, 0.1 %) or the width is \
         above its target",
        &["below", "above", "target", "width", "÷ fixed", "target", "runs"],
    );
    for (baseline, weight, more) in [
        (0.001, 0.05, 0.0),
        (0.001, 0.05, 0.01),
        (0.01, 0.05, 0.0),
        (0.01, 0.5, 0.01),
        (0.1, 0.05, 0.0),
    ] {
        let [base, share, points] = [baseline, weight, more].map(|share| 100.0 * share);
        let name = format!("failures, baseline {base} %, {points} points worse, weight {share} %");
        let (truth, looks) = of_failures(extent.few, baseline, weight, more);
        sheet.row(row(name, truth, &looks));
    }
    for (share, weight, fewer) in [(0.3, 0.05, 0.01), (0.5, 0.05, 0.0), (0.8, 0.5, 0.05)] {
        let [all, at, points] = [share, weight, fewer].map(|share| 100.0 * share);
        let name = format!("conversions, share {all} %, {points} points fewer, weight {at} %");
        let (truth, looks) = of_conversions(extent.few, share, weight, fewer);
        sheet.row(row(name, truth, &looks));
    }
    for (ratio, sigma, weight) in [(1.0, 0.5, 0.05), (1.105, 0.5, 0.05), (1.0, 1.0, 0.5)] {
        let at = 100.0 * weight;
        let quantiles = of_times(extent.streams, ratio, sigma, weight);
        for (quantile, truth, looks) in quantiles {
            let name = format!("times × {ratio}, σ {sigma}, {quantile}, weight {at} %");
            sheet.row(row(name, truth, &looks));
        }
    }
    sheet
}

/// Requests a second of which the canary's share comes to [`CANARY_REQUESTS`] in [`LOOKS`] seconds.
fn requests_a_second(weight: f64) -> u64 {
    (CANARY_REQUESTS as f64 / weight / LOOKS as f64).round() as u64
}

/// Takes lines until the canary has had its requests; gives each effect since the start at each look.
fn looks<const N: usize>(
    mut judge: Judge,
    lines: impl Iterator<Item = Observation>,
    truth: f64,
    is_wanted: impl Fn(&EffectEstimate) -> Option<usize>,
) -> [Looks; N] {
    let mut looks = [Looks { missed: [false; 2], last: None }; N];
    let mut canary = 0;
    for line in lines {
        canary += line.roles.canary.total.unwrap_or(0);
        judge.take(&line);
        for effect in judge.effects() {
            let wanted = is_wanted(&effect).filter(|_| effect.since == EffectSince::Start);
            let Some(look) = wanted.map(|place| &mut looks[place]) else { continue };
            look.missed[0] |= effect.lower.is_some_and(|lower| lower > truth);
            look.missed[1] |= effect.upper.is_some_and(|upper| upper < truth);
            look.last = effect.lower.zip(effect.upper).map(|(lower, upper)| [lower, upper]);
        }
        if canary >= CANARY_REQUESTS {
            break;
        }
    }
    looks
}

/// The truth about a difference of shares, in points.
fn difference(weight: f64, [canary, stable]: [f64; 2]) -> Truth {
    let n = CANARY_REQUESTS as f64;
    let of_stable = n * (1.0 - weight) / weight;
    let variance = canary * (1.0 - canary) / n + stable * (1.0 - stable) / of_stable;
    Truth {
        value: 100.0 * (canary - stable),
        fixed_width: 100.0 * 2.0 * Z * variance.sqrt(),
        limit: Some(2.0),
        is_ratio: false,
    }
}

fn of_failures(count: u64, baseline: f64, weight: f64, more: f64) -> (Truth, Vec<Looks>) {
    let rates = [baseline + more, baseline];
    let truth = difference(weight, rates);
    let [canary, stable] = rates;
    let traffic = SimulatedTraffic { weight, requests: requests_a_second(weight), canary, stable };
    let judge = judge_with_effects(failures(0.001), LOOKS);
    let looks = runs(count, |rng| {
        let lines = (0..2 * LOOKS).map(|t| traffic.line(rng, t));
        let [looks] = looks(judge.clone(), lines, truth.value, |_| Some(0));
        looks
    });
    (truth, looks)
}

fn of_conversions(count: u64, share: f64, weight: f64, fewer: f64) -> (Truth, Vec<Looks>) {
    let rates = [share - fewer, share];
    let truth = difference(weight, rates);
    let rule = MetricRule::Conversion { signal: SIGNAL.to_owned(), margin: 0.0 };
    let judge = judge_with_effects(rule, LOOKS);
    let requests = requests_a_second(weight);
    let looks = runs(count, |rng| {
        let lines = (0..2 * LOOKS).map(|t| converting(rng, t, weight, requests, rates));
        let [looks] = looks(judge.clone(), lines, truth.value, |_| Some(0));
        looks
    });
    (truth, looks)
}

/// The quantiles that have an effect: name, share, standard normal quantile, and how wide the interval may be.
/// Bins of a tenth limit that of the median.
const QUANTILES: [(&str, f64, f64, Option<f64>); 3] = [
    ("p50", 0.5, 0.0, None),
    ("p95", 0.95, 1.644_853_627, Some(3.0)),
    ("p99", 0.99, 2.326_347_874, Some(3.0)),
];

fn of_times(
    count: u64,
    ratio: f64,
    sigma: f64,
    weight: f64,
) -> Vec<(&'static str, Truth, Vec<Looks>)> {
    let n = CANARY_REQUESTS as f64;
    let both = 1.0 / n + weight / (n * (1.0 - weight));
    let truth = |(_, share, normal, limit): (_, f64, f64, _)| {
        let density = (-normal * normal / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let deviation = sigma * (share * (1.0 - share) * both).sqrt() / density;
        Truth { value: ratio, fixed_width: 2.0 * Z * deviation, limit, is_ratio: true }
    };
    let rule = MetricRule::Latency { timing: Timing::Total, tolerances: [1.1; 9] };
    let judge = judge_with_effects(rule, LOOKS);
    let (requests, times) = (requests_a_second(weight), LogNormalTimes::new(sigma));
    let place = |effect: &EffectEstimate| {
        QUANTILES.iter().position(|(name, ..)| effect.quantile.as_deref() == Some(*name))
    };
    let all = runs(count, |rng: &mut Rng| {
        let mut judge = judge.clone();
        // Stable's history, and the canary's cold start, which the comparison leaves out.
        judge.take(&timed(0, weight, times.draw(rng, 50, 1.0), times.draw(rng, 1_000, 1.0)));
        let lines = (1..2 * LOOKS).map(|t| {
            let canary = binomial(rng, requests, weight);
            timed(
                t,
                weight,
                times.draw(rng, canary, ratio),
                times.draw(rng, requests - canary, 1.0),
            )
        });
        looks::<3>(judge, lines, ratio, place)
    });
    let quantiles = QUANTILES.into_iter().enumerate();
    let of_each = quantiles.map(|(place, quantile)| {
        let looks = all.iter().map(|looks| looks[place]).collect();
        (quantile.0, truth(quantile), looks)
    });
    of_each.collect()
}

fn row(name: String, truth: Truth, looks: &[Looks]) -> Row {
    let sides = [0, 1].map(|side| Share::from_hits(looks.iter().map(|look| look.missed[side])));
    let mut widths: Vec<f64> = looks
        .iter()
        .map(|look| look.last.map_or(f64::INFINITY, |ends| truth.width(ends)))
        .collect();
    widths.sort_by(f64::total_cmp);
    let width = widths[widths.len() / 2];
    let times = width / truth.fixed_width;
    let rare = sides.iter().all(|side| !side.significantly_above(MISSES));
    let narrow = truth.limit.is_none_or(|limit| times <= limit);
    let shown = if truth.is_ratio {
        format!("× {:.3}", width.exp())
    } else {
        format!("{width:.2} points")
    };
    Row {
        name: told(name),
        cells: vec![
            percent(sides[0].fraction()),
            percent(sides[1].fraction()),
            format!("≤ {}", percent(MISSES)),
            shown,
            format!("{times:.2}"),
            truth.limit.map_or_else(String::new, |limit| format!("≤ {limit}")),
            looks.len().to_string(),
        ],
        met: Some(rare && narrow),
        figures: json!({
            "missed": sides.map(Share::fraction), "target": MISSES, "truth": truth.value,
            "width": width, "fixed_width": truth.fixed_width, "ratio": times,
            "ratio_target": truth.limit, "runs": looks.len(),
        }),
    }
}
