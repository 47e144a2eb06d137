//! How soon fewer conversions are found: the centered bets beside the plain ones.

use canary_judge::observation::Observation;
use canary_judge::spec::MetricRule;
use serde_json::json;

use super::figures::canary_quantiles;
use super::outcome::RunOutcome;
use super::rig::{Rng, aborts, binomial, blank, failures, judge, runs};
use super::{Extent, told};
use crate::bench::{Row, Sheet};

/// The signal that counts conversions.
pub(super) const SIGNAL: &str = "checkout";
const WEIGHT: f64 = 0.05;
const REQUESTS: u64 = 100;
const SECONDS: u64 = 7_200;

pub(super) fn tell(extent: Extent) -> Sheet {
    let mut sheet = Sheet::new(
        "Conversions found: canary requests until the rollback when a tenth fewer convert",
        "weight 5 %, margin 0, two hours of 100 requests a second; plain: the failure test's bets on the same \
         requests; ratio of the medians",
        &["centered", "p95", "plain", "ratio", "target", "runs"],
    );
    for (share, limit) in [(0.1, None), (0.3, None), (0.5, Some(0.5)), (0.8, None)] {
        let [centered, plain] = both(extent.few, share);
        sheet.row(row(
            format!("{} % → {} %", 100.0 * share, 90.0 * share),
            &centered,
            &plain,
            limit,
        ));
    }
    sheet
}

/// A second of requests of which some convert: of the canary's, of stable's.
pub(super) fn converting(
    rng: &mut Rng,
    t: u64,
    weight: f64,
    requests: u64,
    [canary, stable]: [f64; 2],
) -> Observation {
    let nc = binomial(rng, requests, weight);
    let ns = requests - nc;
    let mut line = blank(t, weight);
    line.roles.canary.total = Some(nc);
    line.roles.stable.total = Some(ns);
    let signal = line.signals.entry(SIGNAL.to_owned()).or_default();
    let converted = |n| Some([("converted".to_owned(), n)].into());
    signal.canary = converted(binomial(rng, nc, canary));
    signal.stable = converted(binomial(rng, ns, stable));
    line
}

/// The test of failures asks whether the canary has more events than stable. With the roles exchanged and
/// conversions as events it asks whether stable converts more: the plain bets.
fn exchanged(line: &Observation) -> Observation {
    let converted = |role: Option<&std::collections::BTreeMap<String, u64>>| {
        role.and_then(|counts| counts.get("converted").copied())
    };
    let signal = line.signals.get(SIGNAL);
    let mut other = blank(line.t as u64, 1.0 - line.weight.fraction());
    other.roles.canary.total = line.roles.stable.total;
    other.roles.stable.total = line.roles.canary.total;
    other.roles.canary.failure = signal.and_then(|signal| converted(signal.stable.as_ref()));
    other.roles.stable.failure = signal.and_then(|signal| converted(signal.canary.as_ref()));
    other
}

/// How the centered and the plain bets end on the same streams.
fn both(count: u64, share: f64) -> [Vec<RunOutcome>; 2] {
    let rule = MetricRule::Conversion { signal: SIGNAL.to_owned(), margin: 0.0 };
    let judges = [judge(rule, SECONDS), judge(failures(0.0), SECONDS)];
    let run = |rng: &mut Rng| {
        let mut judges = judges.clone();
        let (mut now, mut ends) = (RunOutcome::default(), [None; 2]);
        for t in 0..SECONDS {
            let line = converting(rng, t, WEIGHT, REQUESTS, [0.9 * share, share]);
            now.canary += line.roles.canary.total.unwrap_or(0);
            let lines = [exchanged(&line), line];
            for (place, judge) in judges.iter_mut().enumerate() {
                if ends[place].is_none() {
                    judge.take(&lines[1 - place]);
                    ends[place] = aborts(judge).then_some(RunOutcome { decided: true, ..now });
                }
            }
            if ends.iter().all(Option::is_some) {
                break;
            }
        }
        ends.map(|end| end.unwrap_or(now))
    };
    let all = runs(count, run);
    [0, 1].map(|place| all.iter().map(|ends| ends[place]).collect())
}

fn row(name: String, centered: &[RunOutcome], plain: &[RunOutcome], limit: Option<f64>) -> Row {
    let shown = |count: Option<u64>| count.map_or("never".to_owned(), |count| count.to_string());
    let [median, p95] = canary_quantiles(centered);
    let [of_plain, _] = canary_quantiles(plain);
    let ratio = median.zip(of_plain).map(|(median, plain)| median as f64 / plain as f64);
    let met = limit.map(|limit| ratio.is_some_and(|ratio| ratio <= limit));
    Row {
        name: told(name),
        cells: vec![
            shown(median),
            shown(p95),
            shown(of_plain),
            ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
            limit.map_or(String::new(), |limit| format!("≤ {limit}")),
            centered.len().to_string(),
        ],
        met,
        figures: json!({
            "median": median, "p95": p95, "plain_median": of_plain, "ratio": ratio, "target": limit,
            "runs": centered.len(),
        }),
    }
}
