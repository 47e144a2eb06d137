//! The rows of a table of two versions that only some rollouts have: what had no answer in time, the
//! times of streams, and the values of signals.

use std::collections::{BTreeMap, BTreeSet};

use super::table::UNKNOWN;
use crate::controller::status::{Milliseconds, Side, ValueQuantiles};
use crate::observe::fleet_view::VersionCounts;

/// What is measured of one version beside its requests, failures and times.
pub(crate) struct Measures {
    unanswered: Option<u64>,
    ttfb: Option<Milliseconds>,
    gap: Option<Milliseconds>,
    values: BTreeMap<String, ValueQuantiles>,
}

impl From<&Side> for Measures {
    fn from(side: &Side) -> Self {
        let Side { unanswered, ttfb, gap, ref values, .. } = *side;
        Self { unanswered, ttfb, gap, values: values.clone() }
    }
}

impl From<&VersionCounts> for Measures {
    fn from(counts: &VersionCounts) -> Self {
        Self {
            unanswered: counts.unanswered,
            ttfb: Milliseconds::from_times(&counts.ttfb_us),
            gap: Milliseconds::from_times(&counts.gap_us),
            values: ValueQuantiles::of_each(&counts.values),
        }
    }
}

/// A quantile's name, and where it is among times.
type NamedMilliseconds = (&'static str, fn(Milliseconds) -> Option<f64>);
/// A quantile's name, and where it is among values.
type NamedValues = (&'static str, fn(&ValueQuantiles) -> Option<f64>);
/// A timing's name, and where its quantiles are.
type NamedTimes = (&'static str, fn(&Measures) -> Option<Milliseconds>);

/// The rows for whatever either version has: name, stable, canary.
pub(crate) fn rows(stable: &Measures, canary: &Measures) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    let unknown = || UNKNOWN.to_owned();
    let mut row = |name: String, of: &dyn Fn(&Measures) -> Option<String>| {
        let [stable, canary] = [stable, canary].map(of);
        if stable.is_some() || canary.is_some() {
            rows.push([name, stable.unwrap_or_else(unknown), canary.unwrap_or_else(unknown)]);
        }
    };
    let either = [stable, canary].iter().any(|one| one.unanswered.is_some_and(|count| count > 0));
    row("unanswered".to_owned(), &|one| {
        one.unanswered.filter(|_| either).map(|count| count.to_string())
    });
    let quantiles: [NamedMilliseconds; 3] =
        [("p50", |one| one.p50_ms), ("p95", |one| one.p95_ms), ("p99", |one| one.p99_ms)];
    let timings: [NamedTimes; 2] = [("ttfb", |one| one.ttfb), ("gap", |one| one.gap)];
    for (timing, times) in timings {
        for (quantile, at) in quantiles {
            row(format!("{timing} {quantile}"), &|one| {
                times(one).and_then(at).map(|ms| format!("{ms:.2} ms"))
            });
        }
    }
    let quantiles: [NamedValues; 3] =
        [("p50", |one| one.p50), ("p95", |one| one.p95), ("p99", |one| one.p99)];
    let signals: BTreeSet<&String> = stable.values.keys().chain(canary.values.keys()).collect();
    for signal in signals {
        for (quantile, at) in quantiles {
            row(format!("{signal} {quantile}"), &|one| {
                one.values.get(signal).and_then(at).map(|value| format!("{value:.1}"))
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_thing_that_either_version_has() {
        let none = || Measures::from(&Side::default());
        assert_eq!(rows(&none(), &none()), Vec::<[String; 3]>::new());
        let canary = Side {
            unanswered: Some(3),
            ttfb: Some(Milliseconds { p50_ms: Some(12.5), p95_ms: None, p99_ms: None }),
            values: [(
                "tokens".to_owned(),
                ValueQuantiles { p50: Some(310.0), p95: Some(400.0), p99: Some(410.0) },
            )]
            .into(),
            ..Side::default()
        };
        let rows = rows(&none(), &Measures::from(&canary));
        let rows: Vec<String> = rows.iter().map(|row| row.join("|")).collect();
        assert_eq!(
            rows,
            [
                "unanswered|?|3",
                "ttfb p50|?|12.50 ms",
                "tokens p50|?|310.0",
                "tokens p95|?|400.0",
                "tokens p99|?|410.0",
            ]
            .map(|row| row.replace('?', UNKNOWN))
        );
    }
}
