//! What the handover of stable's place can find, before it happens.

use serde::{Deserialize, Serialize};

use super::TrafficEstimate;
use crate::spec::Spec;
use crate::step::handover_analysis;
use canary_judge::Tolerated;
use canary_judge::forecast::{AbortTest, RegressionBegins};
use canary_judge::spec::MetricRule;

/// The share of the traffic that each place has while the handover is judged.
const HALF: f64 = 0.5;
/// The probability with which the judge's forecast of a smallest regression finds it.
const POWER: f64 = 0.9;

/// The forecast of the handover to the new stable, as `deploy` or `finish` does it; all zero for a measurement,
/// which has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HandoverPlan {
    /// How many requests of each place are judged: `minRequests`, in whole observations.
    pub requests: u64,
    /// How long it takes at 50 %, in seconds, with the time until those requests have their age.
    pub seconds: u64,
    /// The smallest share of failing requests, as a fraction, for which the new stable is found worse with
    /// this probability; `None`: so few requests find nothing.
    pub smallest_regression: Option<f64>,
    /// That probability, as a fraction.
    pub probability: f64,
}

/// Forecasts the handover of a file's rollout by the test that judges it. The age is in seconds.
pub(super) fn handover(spec: &Spec, traffic: TrafficEstimate, age: f64) -> HandoverPlan {
    if spec.goal.is_measure() {
        return HandoverPlan::default();
    }
    let each = traffic.rps * HALF;
    // It ends with the first look that finds enough, one look a second.
    let looks = (spec.handover_requests() as f64 / each).ceil().max(1.0);
    let requests = looks * each;
    let analysis = handover_analysis(spec);
    let found = analysis.metrics.iter().find_map(|metric| {
        let MetricRule::FailureRate { ratio, margin } = metric.rule else { return None };
        let test = AbortTest {
            tolerated: Tolerated { ratio, margin },
            stable: traffic.baseline,
            rps: traffic.rps,
            false_abort: analysis.false_abort,
            metrics: analysis.shares(),
        };
        test.smallest_regression(HALF, requests, RegressionBegins::AtStart)
    });
    HandoverPlan {
        requests: requests.round() as u64,
        seconds: (looks + age).ceil() as u64,
        smallest_regression: found,
        probability: POWER,
    }
}
