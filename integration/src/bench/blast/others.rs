//! What others let through at the same traffic: computed from their documented settings, not
//! measured.
//!
//! - Flagger, "Canary analysis" and its tutorials: `interval: 1m`, `threshold: 5` (or 10), the
//!   "max number of failed metric checks before rollback". The first check that can fail comes up to
//!   one interval after the fault.
//! - Argo Rollouts, "Analysis & Progressive Delivery": its success-rate example has `interval: 5m`
//!   and `failureLimit: 3`; the run fails with the measurement that makes the failures more than the
//!   limit. At its fastest: an interval of a minute and the default limit, 0.

use super::trial::PER_SECOND;
use crate::bench::BenchReport;

/// The canary's share of the traffic in the cells with targets.
const SHARE: f64 = 0.05;

struct Settings {
    name: &'static str,
    interval_s: f64,
    /// Intervals from the fault to the rollback.
    intervals: f64,
    why: &'static str,
}

const OTHERS: [Settings; 4] = [
    Settings {
        name: "Flagger, interval 1m, threshold 5",
        interval_s: 60.0,
        intervals: 6.0,
        why: "1 to the first check + 5 failed ones",
    },
    Settings {
        name: "Flagger, interval 1m, threshold 10",
        interval_s: 60.0,
        intervals: 11.0,
        why: "1 to the first check + 10 failed ones",
    },
    Settings {
        name: "Argo Rollouts, interval 1m, failureLimit 0",
        interval_s: 60.0,
        intervals: 1.0,
        why: "the first failed measurement is one too many",
    },
    Settings {
        name: "Argo Rollouts, interval 5m, failureLimit 3",
        interval_s: 300.0,
        intervals: 4.0,
        why: "the fourth failed measurement is one too many",
    },
];

/// Adds them to the report.
pub(super) fn tell(report: &mut BenchReport) {
    let canary_per_second = PER_SECOND * SHARE;
    report.note(format!(
        "Computed from documented settings, for {PER_SECOND:.0} requests a second, {:.0} % of them to a canary that \
         fails them all ({canary_per_second:.0} failures a second):",
        100.0 * SHARE
    ));
    for Settings { name, interval_s, intervals, why } in OTHERS {
        let failures = canary_per_second * interval_s * intervals;
        let cell = format!("computed, 5 %, 100 % failing: {name}");
        report.cell(cell, "failed answers", vec![failures], None);
        report.note(format!(
            "  {name}: {canary_per_second:.0}/s × {interval_s:.0} s × {intervals:.0} ({why}) = {failures:.0}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_ranges() {
        let mut report = BenchReport::new("blast", "");
        tell(&mut report);
        let json = report.to_json();
        let figures: Vec<f64> =
            (0..4).map(|cell| json["cells"][cell]["median"].as_f64().unwrap()).collect();
        assert_eq!(figures, [18_000.0, 33_000.0, 3_000.0, 60_000.0]);
    }
}
