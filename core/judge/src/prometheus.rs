//! Metrics that an external query measures (Prometheus), judged as Argo Rollouts' analysis does.
//!
//! **Source.** Argo Rollouts' `EvaluateResult` and `assessMetricStatus`: with both conditions a result
//! is a failure where the failure condition holds, a success where only the success condition does,
//! else inconclusive; a single condition decides alone. The metric fails when the number of failed
//! measurements, not necessarily in a row, *exceeds* `failureLimit`.
//!
//! Other than Argo, an outage never fails the metric: no data, an unreachable server or a result of the
//! wrong shape holds the rollout until the next good answer. So do more inconclusive measurements
//! than `inconclusiveLimit`.
//!
//! **What voids it.** Nothing is guaranteed here: a threshold on a single version, looked at again and
//! again, has no error rate, and so no share of the rollout's `falseAbort`.

pub mod condition;

use serde::{Deserialize, Serialize};

use super::observation::Measurement;
use super::spec::PrometheusSpec;
use super::verdict::{Conclusion, Findings, Lack, Missing};

/// A metric's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prometheus {
    spec: PrometheusSpec,
    measured: u64,
    failures: u64,
    inconclusive: u64,
    /// Whether the last attempt said something, and if not, why.
    outage: Option<String>,
    /// The last values that said something; no number is held as text.
    values: Vec<Option<f64>>,
    measured_since_step: u64,
    failed_at: Option<f64>,
}

/// What one measurement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Success,
    Failure,
    Inconclusive,
}

impl Prometheus {
    pub(crate) const fn new(spec: PrometheusSpec) -> Self {
        Self {
            spec,
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

    /// One measurement.
    pub(crate) fn measure(&mut self, t: f64, measurement: &Measurement) {
        if self.done() {
            return;
        }
        let phase = match measurement {
            Measurement::Outage(why) => Err(why.clone()),
            Measurement::Values(values) => assess(&self.spec, values),
        };
        match phase {
            Err(why) => {
                self.outage = Some(why);
                return;
            }
            Ok(Phase::Success) => {}
            Ok(Phase::Failure) => self.failures = self.failures.saturating_add(1),
            Ok(Phase::Inconclusive) => self.inconclusive = self.inconclusive.saturating_add(1),
        }
        self.outage = None;
        self.measured = self.measured.saturating_add(1);
        self.measured_since_step = self.measured_since_step.saturating_add(1);
        if let Measurement::Values(values) = measurement {
            self.values = values.iter().map(|value| value.is_finite().then_some(*value)).collect();
        }
        if self.failed_at.is_none() && self.failures > self.spec.failure_limit {
            self.failed_at = Some(t);
        }
    }

    /// Whether all measurements that were asked for are taken.
    fn done(&self) -> bool {
        self.spec.count.is_some_and(|count| self.measured >= count)
    }

    pub(crate) fn conclusion(&self) -> Conclusion {
        if self.failed_at.is_some() {
            return Conclusion::Fail;
        }
        let unsure = self.inconclusive > self.spec.inconclusive_limit;
        let waiting = self.measured_since_step == 0 && !self.done();
        if unsure || waiting || self.outage.is_some() {
            return Conclusion::Insufficient;
        }
        Conclusion::Pass
    }

    /// Whether more measurements were inconclusive than may be.
    pub(crate) const fn is_inconclusive(&self) -> bool {
        self.inconclusive > self.spec.inconclusive_limit
    }

    /// An operator goes on all the same: inconclusive measurements count from zero again.
    pub(crate) const fn accept_inconclusive(&mut self) {
        self.inconclusive = 0;
    }

    pub(crate) const fn missing(&self) -> Missing {
        let (what, have) = if self.inconclusive > self.spec.inconclusive_limit {
            (Lack::Conclusiveness, self.inconclusive)
        } else {
            (Lack::Measurement, self.measured_since_step)
        };
        let need = match what {
            Lack::Conclusiveness => self.spec.inconclusive_limit,
            _ => self.measured_since_step.saturating_add(1),
        };
        Missing { what, have, need }
    }

    pub(crate) fn findings(&self) -> Findings {
        let conditions = [&self.spec.failure_condition, &self.spec.success_condition];
        let text = |name: &str, condition: &Option<condition::Condition>| {
            condition.as_ref().map(|condition| format!("{name} {}", condition.text()))
        };
        let texts = ["failureCondition", "successCondition"].into_iter().zip(conditions);
        let texts: Vec<String> = texts.filter_map(|(name, given)| text(name, given)).collect();
        Findings::Query {
            values: self.values.clone(),
            condition: texts.join(" and "),
            failures: self.failures,
            failure_limit: self.spec.failure_limit,
            outage: self.outage.clone(),
        }
    }
}

/// The measurement's phase, or why it says nothing.
fn assess(spec: &PrometheusSpec, values: &[f64]) -> Result<Phase, String> {
    if values.is_empty() {
        return Err("the query answered no data".to_owned());
    }
    let conditions = [&spec.success_condition, &spec.failure_condition];
    let asked = conditions.iter().any(|given| given.as_ref().is_some_and(|c| c.asks_for_nan()));
    if !asked && values.iter().any(|value| value.is_nan()) {
        return Err("the query answered NaN, which is no data".to_owned());
    }
    let holds = |given: &Option<condition::Condition>| {
        given.as_ref().map(|condition| condition.holds(values)).transpose()
    };
    let success = holds(&spec.success_condition).map_err(|error| error.to_string())?;
    let failure = holds(&spec.failure_condition).map_err(|error| error.to_string())?;
    Ok(match (success, failure) {
        (_, Some(true)) | (Some(false), None) => Phase::Failure,
        (Some(true), _) | (None, _) => Phase::Success,
        (Some(false), Some(false)) => Phase::Inconclusive,
    })
}

#[cfg(test)]
mod tests;
