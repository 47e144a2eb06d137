//! What a rollout file will take, before it starts: time, canary requests, what each step can see,
//! and what a bad canary costs.
//!
//! Averages, at steady traffic and with a canary as good as stable (for the harm: as bad as assumed).
//! The formulas and what voids them stand in [`canary_judge::forecast`]; sticky clients are fewer
//! than requests, so with affinity everything takes longer.

mod handover;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::spec::{Conditions, PauseSpec, Spec, StepSpec};
use canary_judge::forecast::{
    self, AbortTest, Percentile, PlannedStep, Rates, RegressionBegins, UntilAbort,
};
use canary_judge::spec::MetricRule;
use canary_judge::{BETA, Tolerated};
use canary_model::weight::Weight;

pub use handover::HandoverPlan;

/// How many requests close a block.
const BLOCK: f64 = 30.0;
/// The controller looks once a second.
const LOOK_SECONDS: f64 = 1.0;
/// Canary requests before the latency test begins.
const COLD_START: f64 = 50.0;
/// Stands for "as long as it takes": more requests than any test needs.
const UNBOUNDED: f64 = 1e15;
/// How bad a canary the harm is told of: the share of its requests that fail.
const ASSUMED: [(&str, f64); 3] = [("1", 1.0), ("0.1", 0.1), ("0.01", 0.01)];

/// The traffic that is planned with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrafficEstimate {
    /// Eligible requests a second, both versions together; above 0.
    pub rps: f64,
    /// The share of requests that fail as it is, from 0 to below 1.
    pub baseline: f64,
}

/// A file's forecast. `None` is unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutPlan {
    /// The forecast of each step, in order.
    pub steps: Vec<StepPlan>,
    /// All steps together, in seconds.
    pub seconds: Option<u64>,
    /// The age at which requests are judged, in seconds: each step takes that much longer.
    #[serde(default)]
    pub outcome_age: u64,
    /// How many requests fail on average if this share of the canary's does, from its first on, until
    /// it is rolled back.
    pub harm: BTreeMap<String, Option<f64>>,
    /// How many canary requests pass until it is rolled back if this share of them fails, from its
    /// first on.
    pub abort: BTreeMap<String, AbortForecast>,
    /// The probability that a canary within the margins is rolled back all the same, at most.
    pub false_abort: Option<f64>,
    /// What the judged handover of stable's place finds after the last step.
    #[serde(default)]
    pub handover: HandoverPlan,
    /// What an operator should know of it.
    pub warnings: Vec<PlanWarning>,
}

/// After how many canary requests a rollout is rolled back. `None`: the steps end before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortForecast {
    /// In half of all rollouts it takes no more.
    pub median: Option<u64>,
    /// In nine of ten it takes no more.
    pub p90: Option<u64>,
}

/// A step's forecast. `None` is unknown: it waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPlan {
    /// The weight that the step sets.
    pub weight: Weight,
    /// How many canary requests it sees.
    pub canary_requests: Option<u64>,
    /// How long it takes.
    pub seconds: Option<u64>,
    /// The smallest share of failing canary requests that it finds with 90 % power, as a fraction.
    pub smallest_regression: Option<f64>,
}

/// Something that an operator should know about a forecast. Steps are indexes, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "warning", rename_all = "camelCase")]
pub enum PlanWarning {
    /// The step waits for an operator, so that its length is unknown.
    AsksOperator {
        /// The step's index, from 0.
        step: usize,
    },
    /// The step's timeout passes before the average canary is certified: it then waits for an operator.
    TimesOut {
        /// The step's index, from 0.
        step: usize,
    },
    /// The step never becomes confident: the baseline leaves nothing to prove the margin with.
    NeverConfident {
        /// The step's index, from 0.
        step: usize,
    },
    /// The handover judges so few requests that it can't find even a new stable that always fails.
    HandoverFindsNothing,
}

/// Forecasts what a file's rollout takes at this traffic, if the filters count outcomes at this age.
pub fn plan(spec: &Spec, traffic: TrafficEstimate, outcome_age: Duration) -> RolloutPlan {
    let age = outcome_age.as_secs_f64();
    let mut planner = Planner { spec, traffic, age, canary_so_far: 0.0, warnings: Vec::new() };
    let steps: Vec<(StepPlan, PlannedStep)> =
        spec.steps.iter().enumerate().map(|(index, step)| planner.step(index, step)).collect();
    let mut warnings = planner.warnings;
    let handover = handover::handover(spec, traffic, age);
    if handover.smallest_regression.is_none() && !spec.goal.is_measure() {
        warnings.push(PlanWarning::HandoverFindsNothing);
    }
    let (steps, planned): (Vec<StepPlan>, Vec<PlannedStep>) = steps.into_iter().unzip();
    let seconds = steps.iter().map(|step| step.seconds).sum();
    let found = |share, percentile| {
        let until = until_abort(spec, traffic, &planned, share, percentile)?;
        let weight = planned.get(until.step).map_or(0.0, |step| step.weight);
        // Those assigned last are judged when they have the age; until then more come.
        Some(until.canary_requests + weight * traffic.rps * age)
    };
    let harm = ASSUMED.map(|(name, share)| {
        let requests = found(share, Percentile::Median);
        (name.to_owned(), requests.map(|requests| requests * share))
    });
    let abort = ASSUMED.map(|(name, share)| {
        let whole = |percentile| found(share, percentile).map(|requests| requests.ceil() as u64);
        let (median, p90) = (whole(Percentile::Median), whole(Percentile::P90));
        (name.to_owned(), AbortForecast { median, p90 })
    });
    let (harm, abort, false_abort) = (harm.into(), abort.into(), false_abort(spec));
    let outcome_age = outcome_age.as_secs();
    RolloutPlan { seconds, outcome_age, harm, abort, false_abort, handover, warnings, steps }
}

struct Planner<'s> {
    spec: &'s Spec,
    traffic: TrafficEstimate,
    /// The age at which outcomes are counted, in seconds.
    age: f64,
    /// Canary requests before the step, as far as they are known.
    canary_so_far: f64,
    warnings: Vec<PlanWarning>,
}

impl Planner<'_> {
    fn step(&mut self, index: usize, step: &StepSpec) -> (StepPlan, PlannedStep) {
        let weight = step.weight.fraction();
        let mut end = Some(0.0);
        for pause in &step.pauses {
            end = end.and_then(|start| self.pause(index, step, start, pause));
        }
        let counted = end.map(|end: f64| end.max(self.data(weight)).ceil());
        let requests = counted.map(|seconds| seconds * self.traffic.rps);
        let judged = requests.map(|all| all * weight);
        let smallest_regression = judged.and_then(|n| self.smallest_regression(index, weight, n));
        // The step's first requests are counted when they have that age.
        let seconds = counted.map(|counted| counted + self.age);
        let came = seconds.map(|seconds| seconds * self.traffic.rps * weight);
        self.canary_so_far += came.unwrap_or_default();
        let plan = StepPlan {
            weight: step.weight,
            canary_requests: came.map(|came| came.round() as u64),
            seconds: seconds.map(|seconds| seconds as u64),
            smallest_regression,
        };
        (plan, PlannedStep { weight, canary_requests: judged.unwrap_or(UNBOUNDED) })
    }

    /// When a pause that begins at `start` ends, in seconds since the step's start.
    fn pause(
        &mut self,
        index: usize,
        step: &StepSpec,
        start: f64,
        pause: &PauseSpec,
    ) -> Option<f64> {
        let PauseSpec::Until(conditions) = pause else {
            self.warnings.push(PlanWarning::AsksOperator { step: index });
            return None;
        };
        let Conditions { duration, min_requests, until_confident, timeout } = conditions;
        let after = start + duration.map_or(0.0, |duration| duration.as_secs_f64());
        let canary_rps = self.traffic.rps * step.weight.fraction();
        let requests = min_requests.map_or(0.0, |requests| requests as f64 / canary_rps);
        let confident =
            if *until_confident { self.confident(index, step.weight) } else { Some(0.0) };
        let end = confident.map(|confident| confident.max(after).max(requests));
        let limit = timeout.map(|timeout| start + timeout.as_secs_f64());
        if let Some(limit) = limit.filter(|limit| end.is_none_or(|end| end > *limit)) {
            self.warnings.push(PlanWarning::TimesOut { step: index });
            return Some(limit);
        }
        if end.is_none() {
            self.warnings.push(PlanWarning::NeverConfident { step: index });
        }
        end
    }

    /// How long the certificates of all metrics of failures take on average.
    fn confident(&self, step: usize, weight: Weight) -> Option<f64> {
        let TrafficEstimate { rps, baseline } = self.traffic;
        let rates = Rates { weight: weight.fraction(), canary: baseline, stable: baseline };
        let certificate = self.spec.certificate_margin(step);
        let mut times = tolerated(self.spec).map(|tolerated| {
            let margin = certificate.unwrap_or(tolerated.margin);
            let growth = forecast::non_inferiority_growth(Tolerated { margin, ..tolerated }, rates);
            forecast::requests_needed(-BETA.ln(), growth).map(|requests| requests / rps)
        });
        times.try_fold(0.0, |longest, time| time.map(|time| f64::max(longest, time)))
    }

    /// How long the first data take that every step wants: a block with a request of both versions,
    /// and where latency is judged the end of the canary's cold start.
    fn data(&self, weight: f64) -> f64 {
        let metrics = &self.spec.analysis.metrics;
        if metrics.is_empty() {
            return 0.0;
        }
        let rps = self.traffic.rps;
        let latency =
            metrics.iter().any(|metric| matches!(metric.rule, MetricRule::Latency { .. }));
        let cold = if latency { (COLD_START - self.canary_so_far).max(0.0) } else { 0.0 };
        (BLOCK / rps).max(1.0 / (weight * rps)).max(cold / (weight * rps)).max(LOOK_SECONDS)
    }

    /// In a step of so many canary requests. What begins with a later step must make up for the stake that
    /// waited for it.
    fn smallest_regression(&self, index: usize, weight: f64, canary_requests: f64) -> Option<f64> {
        let begins = match index {
            0 => RegressionBegins::AtStart,
            _ => RegressionBegins::Later { planned_blocks: self.spec.planned_seconds() },
        };
        let smallest = |test: AbortTest| test.smallest_regression(weight, canary_requests, begins);
        abort_tests(self.spec, self.traffic).filter_map(smallest).reduce(f64::min)
    }
}

/// What the metrics of failures tolerate that roll back. The others never end a rollout and needn't be
/// certified.
fn tolerated(spec: &Spec) -> impl Iterator<Item = Tolerated> + '_ {
    let aborts = spec.analysis.metrics.iter().filter(|metric| metric.on_failure.is_abort());
    aborts.filter_map(|metric| match metric.rule {
        MetricRule::FailureRate { ratio, margin } => Some(Tolerated { ratio, margin }),
        _ => None,
    })
}

/// The abort tests of the metrics of failures.
fn abort_tests(spec: &Spec, traffic: TrafficEstimate) -> impl Iterator<Item = AbortTest> + '_ {
    tolerated(spec).map(move |tolerated| AbortTest {
        tolerated,
        stable: traffic.baseline,
        rps: traffic.rps,
        false_abort: spec.analysis.false_abort,
        metrics: spec.analysis.shares(),
    })
}

/// When the first of the metrics of failures rolls back a canary that fails `share` of its requests.
fn until_abort(
    spec: &Spec,
    traffic: TrafficEstimate,
    steps: &[PlannedStep],
    share: f64,
    percentile: Percentile,
) -> Option<UntilAbort> {
    let until = |test: AbortTest| test.requests_until_abort(steps, share, percentile);
    let sooner = |one: UntilAbort, other: UntilAbort| {
        if other.canary_requests < one.canary_requests { other } else { one }
    };
    abort_tests(spec, traffic).filter_map(until).reduce(sooner)
}

/// Prometheus' thresholds have no error rate; without metrics that abort nothing rolls back by itself.
fn false_abort(spec: &Spec) -> Option<f64> {
    let analysis = &spec.analysis;
    let aborting = analysis.metrics.iter().filter(|metric| metric.on_failure.is_abort()).count();
    if aborting == 0 {
        return Some(0.0);
    }
    let all = analysis.shares() == aborting;
    all.then_some(analysis.false_abort)
}

#[cfg(test)]
mod tests;
