//! Metrics that an external query measures (Prometheus), judged as Argo Rollouts' analysis does.
//!
//! **Source.** Argo Rollouts' `EvaluateResult` and `assessMetricStatus`: with both conditions a result
//! is a failure where the failure condition holds, a success where only the success condition does,
//! else inconclusive; a single condition decides alone. The metric fails when the number of failed
//! measurements, not necessarily in a row, *exceeds* `failureLimit`.
//!
//! A measurement takes the failure that a condition proves even where the other condition is undecided
//! (NaN: see [`super::condition`]); anything less than that is no data.
//!
//! Unlike in Argo, an outage never fails the metric: no data, an unreachable server or a result of the
//! wrong shape holds the rollout until the next good answer (so there is no
//! `consecutiveErrorLimit`). When *more* measurements than `inconclusiveLimit` were inconclusive,
//! Argo ends the analysis as inconclusive and pauses the rollout; here the metric is
//! [`InsufficientData::ConclusiveMeasurements`] until an operator accepts it, which counts from zero
//! again.
//!
//! **What voids it.** Nothing is guaranteed here: a threshold on a single version, looked at again and
//! again, has no error rate, and so no share of the rollout's `falseAbort`.

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::observation::Measurement;
use super::spec::PrometheusSpec;
use super::verdict::{Conclusion, Findings, InsufficientData, NoAnswer};

/// A Prometheus metric's measurements; all of it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PrometheusTest {
    limits: Limits,
    measured: u64,
    failures: u64,
    inconclusive: u64,
    /// Whether the last attempt said something, and if not, why.
    outage: Option<NoAnswer>,
    /// The last values that said something; no number is held as text.
    values: Vec<Option<f64>>,
    measured_since_step: u64,
    failed_at: Option<f64>,
}

/// What measurements are held against: of a [`PrometheusSpec`] what judges, and not whom to ask. State is
/// journaled, and an address may hold a password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Limits {
    /// After how many measurements the metric is done; `None`: never.
    count: Option<u64>,
    /// How many measurements may fail.
    failure_limit: u64,
    /// How many may be inconclusive.
    inconclusive_limit: u64,
    success_condition: Option<Condition>,
    failure_condition: Option<Condition>,
}

/// What one measurement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MeasurementPhase {
    Success,
    Failure,
    Inconclusive,
}

impl PrometheusTest {
    pub(crate) fn new(spec: &PrometheusSpec) -> Self {
        let limits = Limits {
            count: spec.count,
            failure_limit: spec.failure_limit,
            inconclusive_limit: spec.inconclusive_limit,
            success_condition: spec.success_condition.clone(),
            failure_condition: spec.failure_condition.clone(),
        };
        Self {
            limits,
            measured: 0,
            failures: 0,
            inconclusive: 0,
            outage: None,
            values: Vec::new(),
            measured_since_step: 0,
            failed_at: None,
        }
    }

    /// A step begins: it wants a measurement of its own, unless all that were asked for are taken.
    pub(crate) const fn begin_step(&mut self) {
        self.measured_since_step = 0;
    }

    /// Takes the next measurement, at `t` seconds of the recording.
    pub(crate) fn measure(&mut self, t: f64, measurement: &Measurement) {
        if self.done() {
            return;
        }
        let phase = match measurement {
            Measurement::Outage(error) => Err(NoAnswer::Outage { error: error.clone() }),
            Measurement::Values(values) => assess(&self.limits, values),
        };
        match phase {
            Err(why) => {
                self.outage = Some(why);
                return;
            }
            Ok(MeasurementPhase::Success) => {}
            Ok(MeasurementPhase::Failure) => self.fail(t),
            Ok(MeasurementPhase::Inconclusive) => {
                self.inconclusive = self.inconclusive.saturating_add(1)
            }
        }
        self.outage = None;
        self.measured = self.measured.saturating_add(1);
        self.measured_since_step = self.measured_since_step.saturating_add(1);
        if let Measurement::Values(values) = measurement {
            self.values = values.iter().map(|value| value.is_finite().then_some(*value)).collect();
        }
    }

    fn fail(&mut self, t: f64) {
        self.failures = self.failures.saturating_add(1);
        if self.failed_at.is_none() && self.failures > self.limits.failure_limit {
            self.failed_at = Some(t);
        }
    }

    /// An operator goes on in spite of the failures; the next one beyond the limit fails the metric again.
    /// A step isn't left before that measurement.
    pub(crate) const fn restart(&mut self) {
        self.failed_at = None;
        self.begin_step();
    }

    /// Whether all measurements that were asked for are taken.
    fn done(&self) -> bool {
        self.limits.count.is_some_and(|count| self.measured >= count)
    }

    pub(crate) fn conclusion(&self) -> Conclusion {
        if self.failed_at.is_some() {
            return Conclusion::Fail;
        }
        if self.lacks_data() { Conclusion::Insufficient } else { Conclusion::Pass }
    }

    /// Whether it has said too little since the step's start, failed or not.
    pub(crate) fn lacks_data(&self) -> bool {
        let waiting = self.measured_since_step == 0 && !self.done();
        self.is_inconclusive() || waiting || self.outage.is_some()
    }

    /// Whether more measurements were inconclusive than may be.
    pub(crate) const fn is_inconclusive(&self) -> bool {
        self.inconclusive > self.limits.inconclusive_limit
    }

    /// An operator goes on all the same: inconclusive measurements count from zero again.
    pub(crate) const fn accept_inconclusive(&mut self) {
        self.inconclusive = 0;
    }

    /// What it needs, when it is insufficient.
    pub(crate) const fn missing(&self) -> InsufficientData {
        if self.is_inconclusive() {
            let (inconclusive, limit) = (self.inconclusive, self.limits.inconclusive_limit);
            return InsufficientData::ConclusiveMeasurements { inconclusive, limit };
        }
        if self.outage.is_some() {
            return InsufficientData::Answer;
        }
        InsufficientData::Measurement
    }

    pub(crate) fn findings(&self) -> Findings {
        let conditions = [&self.limits.failure_condition, &self.limits.success_condition];
        let text = |name: &str, condition: &Option<Condition>| {
            condition.as_ref().map(|condition| format!("{name} {}", condition.text()))
        };
        let texts = ["failureCondition", "successCondition"].into_iter().zip(conditions);
        let texts: Vec<String> = texts.filter_map(|(name, given)| text(name, given)).collect();
        Findings::Query {
            values: self.values.clone(),
            condition: texts.join(" and "),
            failures: self.failures,
            failure_limit: self.limits.failure_limit,
            outage: self.outage.clone(),
        }
    }
}

/// The measurement's phase, or why it says nothing.
fn assess(limits: &Limits, values: &[f64]) -> Result<MeasurementPhase, NoAnswer> {
    if values.is_empty() {
        return Err(NoAnswer::NoSeries);
    }
    let holds = |given: &Option<Condition>| {
        given.as_ref().map(|condition| condition.holds(values)).transpose()
    };
    // A proven failure counts whatever the other condition can't say.
    let failure = holds(&limits.failure_condition).map_err(NoAnswer::Undecided)?;
    if failure == Some(true) {
        return Ok(MeasurementPhase::Failure);
    }
    let success = holds(&limits.success_condition).map_err(NoAnswer::Undecided)?;
    Ok(match (success, failure) {
        (Some(false), None) => MeasurementPhase::Failure,
        (Some(false), Some(_)) => MeasurementPhase::Inconclusive,
        (Some(true) | None, _) => MeasurementPhase::Success,
    })
}

#[cfg(test)]
mod tests;
