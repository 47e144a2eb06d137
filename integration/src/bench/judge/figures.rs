//! What runs come to: shares with their intervals, quantiles, and the rows that show them.

use serde_json::{Value, json};

use super::outcome::RunOutcome;
use super::rig::Race;
use super::rivals::NAMES;
use crate::bench::Row;

/// So many of so many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    hits: usize,
    total: usize,
}

impl Share {
    /// How many outcomes are decisions.
    pub(super) fn decided<'o>(outcomes: impl Iterator<Item = &'o RunOutcome>) -> Self {
        Self::from_hits(outcomes.map(|outcome| outcome.decided))
    }

    /// How many of these are true.
    pub(super) fn from_hits(hits: impl Iterator<Item = bool>) -> Self {
        let (mut sum, mut total) = (0, 0);
        for hit in hits {
            total += 1;
            sum += usize::from(hit);
        }
        Self { hits: sum, total }
    }

    /// Whether there are significantly more hits than a true share of `limit` gives: as many or more have
    /// a probability below 0.1 % then (exact binomial test, one-sided).
    pub(super) fn significantly_above(self, limit: f64) -> bool {
        const LEVEL: f64 = 0.001;
        let n = self.total as f64;
        let mut probability = n.mul_add((1.0 - limit).ln(), 0.0).exp();
        let mut below = 0.0;
        for k in 0..self.hits {
            below += probability;
            probability *= (n - k as f64) / (k as f64 + 1.0) * limit / (1.0 - limit);
        }
        self.hits > 0 && 1.0 - below < LEVEL
    }

    pub(super) fn fraction(self) -> f64 {
        self.hits as f64 / self.total as f64
    }

    /// The interval that holds the true share with 95 % confidence (Wilson 1927).
    pub(super) fn interval(self) -> [f64; 2] {
        const Z: f64 = 1.959_963_985;
        let (n, p) = (self.total as f64, self.fraction());
        let middle = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        [((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0)]
    }
}

/// Median and 95th percentile of canary requests until the decision. Runs without one come after all
/// others; `None` where the quantile is among them.
pub(super) fn canary_quantiles(outcomes: &[RunOutcome]) -> [Option<u64>; 2] {
    let until = |outcome: &RunOutcome| if outcome.decided { outcome.canary } else { u64::MAX };
    let mut counts: Vec<u64> = outcomes.iter().map(until).collect();
    counts.sort_unstable();
    [50, 95].map(|percent| {
        let at = counts[(counts.len() * percent / 100).min(counts.len() - 1)];
        (at < u64::MAX).then_some(at)
    })
}

/// The median of a count until the decision; without one, until the stream's end.
fn median(outcomes: &[RunOutcome], count: fn(&RunOutcome) -> u64) -> u64 {
    let mut counts: Vec<u64> = outcomes.iter().map(count).collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

/// The judge's own outcomes.
pub(super) fn ours(races: &[Race]) -> Vec<RunOutcome> {
    races.iter().map(|race| race.ours).collect()
}

fn of_rival(races: &[Race], rival: usize) -> Option<Vec<RunOutcome>> {
    races.iter().map(|race| race.rivals[rival]).collect()
}

/// A cell for each rival: what `text` makes of its outcomes, a dash for those without a rule.
fn rivals(races: &[Race], text: impl Fn(&[RunOutcome]) -> String) -> [String; 3] {
    [0, 1, 2]
        .map(|rival| of_rival(races, rival).map_or("–".to_owned(), |outcomes| text(&outcomes)))
}

fn medians(outcomes: &[RunOutcome]) -> [u64; 2] {
    [median(outcomes, |outcome| outcome.failed), median(outcomes, |outcome| outcome.canary)]
}

fn rivals_json(races: &[Race]) -> Value {
    let figures = |rival: usize| {
        let outcomes = of_rival(races, rival)?;
        let share = Share::decided(outcomes.iter());
        let [failed, requests] = medians(&outcomes);
        Some(
            json!({"decided": share.fraction(), "failed_median": failed, "requests_median": requests}),
        )
    };
    (0..3)
        .map(|rival| (NAMES[rival].trim_end_matches('*').to_owned(), json!(figures(rival))))
        .collect()
}

/// What of the rivals stands beside a speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// How many canary requests failed until they rolled back, with the same of the judge.
    Failed,
    /// How many requests the canary had.
    Requests,
    /// No interval and no quantiles.
    Nothing,
}

impl Beside {
    /// The columns of [`speed_row`].
    pub(super) fn columns(self) -> Vec<&'static str> {
        let mut columns = vec!["median", "p95", "target", "runs"];
        match self {
            Self::Failed => columns.push("failed"),
            Self::Requests => {}
            Self::Nothing => return columns,
        }
        columns.extend(NAMES);
        columns
    }

    fn cell(self, outcomes: &[RunOutcome]) -> String {
        let share = Share::decided(outcomes.iter()).fraction();
        let harm = match self {
            Self::Failed => median(outcomes, |outcome| outcome.failed),
            Self::Requests | Self::Nothing => median(outcomes, |outcome| outcome.canary),
        };
        format!("{harm} / {}", percent(share))
    }
}

/// A share that must not be above a limit, for the judge; beside it the rivals' shares.
/// Columns: share, 95 % interval, runs, target, and the rivals.
pub(super) fn share_row(
    name: String,
    races: &[Race],
    limit: Option<f64>,
    of_rivals: impl Fn(Share) -> f64,
) -> Row {
    let share = Share::decided(ours(races).iter());
    let [low, high] = share.interval();
    let target = limit.map_or(String::new(), |limit| format!("≤ {}", percent(limit)));
    let mut cells = vec![
        percent(share.fraction()),
        format!("{} – {}", percent(low), percent(high)),
        share.total.to_string(),
        target,
    ];
    let of_rivals = |outcomes: &[RunOutcome]| percent(of_rivals(Share::decided(outcomes.iter())));
    cells.extend(rivals(races, of_rivals));
    let figures = json!({
        "share": share.fraction(), "interval95": [low, high], "runs": share.total, "target": limit,
        "rivals": rivals_json(races),
    });
    Row { name, cells, met: limit.map(|limit| share.fraction() <= limit), figures }
}

/// Requests until the decision against limits of their median and 95th percentile. Columns: median, 95th
/// percentile, target, runs, and what stands beside.
pub(super) fn speed_row(
    name: String,
    races: &[Race],
    limits: [Option<u64>; 2],
    beside: Beside,
) -> Row {
    let outcomes = ours(races);
    let quantiles = canary_quantiles(&outcomes);
    let within = |(at, limit): (&Option<u64>, &Option<u64>)| {
        limit.is_none_or(|limit| at.is_some_and(|at| at <= limit))
    };
    let met = limits[0].is_some().then(|| quantiles.iter().zip(&limits).all(within));
    let [failed, _] = medians(&outcomes);
    let shown = |count: Option<u64>| count.map_or("never".to_owned(), |count| count.to_string());
    let target = match limits {
        [Some(median), Some(p95)] => format!("≤ {median} / {p95}"),
        [Some(median), None] => format!("≤ {median}"),
        [None, _] => String::new(),
    };
    let [median, p95] = quantiles.map(shown);
    let mut cells = vec![median, p95, target, races.len().to_string()];
    if beside == Beside::Failed {
        cells.push(failed.to_string());
    }
    if beside != Beside::Nothing {
        cells.extend(rivals(races, |outcomes| beside.cell(outcomes)));
    }
    let figures = json!({
        "median": quantiles[0], "p95": quantiles[1], "target": limits, "failed_median": failed,
        "runs": races.len(), "rivals": rivals_json(races),
    });
    Row { name, cells, met, figures }
}

/// A share in percent: at most two digits after the point below ten, else one.
pub(super) fn percent(share: f64) -> String {
    let digits = if share < 0.1 { 100.0 } else { 10.0 };
    format!("{} %", (share * 100.0 * digits).round() / digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_as_tabulated() {
        // Wilson's interval for 0 and 10 of 2,000, and for 1 of 2.
        for (hits, total, expected) in
            [(0, 2_000, [0.0, 0.001_917]), (10, 2_000, [0.002_72, 0.009_18])]
        {
            let interval = Share { hits, total }.interval();
            for (end, expected) in interval.into_iter().zip(expected) {
                assert!((end - expected).abs() < 2e-5, "{hits} of {total}: {interval:?}");
            }
        }
        let [low, high] = Share { hits: 1, total: 2 }.interval();
        assert!((low + high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_share_is_significantly_above_a_limit_when_chance_is_no_excuse() {
        // 1 % of 400: 4 expected; 11 or more have a probability of 0.26 %, 12 or more of 0.09 %.
        let above = |hits, total| Share { hits, total }.significantly_above(0.01);
        assert_eq!((above(4, 400), above(11, 400), above(12, 400)), (false, false, true));
        assert!(!above(0, 100) && above(7, 100) && above(100, 100) && !above(5, 100));
    }

    #[test]
    fn the_undecided_come_last() {
        let outcome = |decided, canary| RunOutcome { decided, canary, failed: canary / 10 };
        let outcomes = [outcome(true, 50), outcome(false, 10), outcome(true, 30)];
        assert_eq!(canary_quantiles(&outcomes), [Some(50), None]);
        assert_eq!(medians(&outcomes), [3, 30]);
    }

    #[test]
    fn limits_hold_for_both_quantiles() {
        let ours = RunOutcome { decided: true, canary: 100, failed: 1 };
        let races = [Race { ours, rivals: [None; 3] }];
        let met = |limits| speed_row(String::new(), &races, limits, Beside::Nothing).met;
        assert_eq!(met([Some(100), Some(100)]), Some(true));
        assert_eq!(met([Some(100), Some(99)]), Some(false));
        assert_eq!(met([Some(99), None]), Some(false));
        assert_eq!(met([None, None]), None);
        let at = |limit| share_row(String::new(), &races, Some(limit), Share::fraction).met;
        assert_eq!((at(0.99), at(1.0)), (Some(false), Some(true)));
    }

    #[test]
    fn percentages() {
        let shown = [0.0, 0.001_25, 0.01, 0.333_33, 1.0].map(percent);
        assert_eq!(shown, ["0 %", "0.13 %", "1 %", "33.3 %", "100 %"]);
    }
}
