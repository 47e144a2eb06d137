//! One metric of a file: its test, whatever the kind, and its verdict.

use serde::{Deserialize, Serialize};

use super::blocks::{BlockUpdate, TickContext};
use super::conversion::Events;
use super::drift::Drift;
use super::effects::EffectEstimate;
use super::failure_abort::Tolerated;
use super::latency::Latency;
use super::observation::Observation;
use super::prometheus::PrometheusTest;
use super::rate::Rate;
use super::spec::{MetricKind, MetricRule, MetricSpec, OnFailure};
use super::test_status::{AlphaShare, BudgetShares, TestStatus};
use super::values::ValuesTest;
use super::verdict::{Conclusion, Findings, InsufficientData, LineCounts, Verdict};

/// A metric and its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MetricState {
    name: String,
    kind: MetricKind,
    /// What happens when it fails, which is its class.
    #[serde(default, skip_serializing_if = "OnFailure::is_abort")]
    on_failure: OnFailure,
    /// How often an operator resumed the rollout after it had paused it.
    #[serde(default, skip_serializing_if = "is_zero")]
    asked_again: u64,
    /// An operator promoted in spite of it: it passes for the rest of the rollout.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    overruled: bool,
    test: Test,
    status: TestStatus,
}

/// What operators decided about a metric, in the state of a judge of whatever layout.
#[derive(Debug, Deserialize)]
pub(crate) struct OperatorDecision {
    name: String,
    #[serde(default)]
    asked_again: u64,
    #[serde(default)]
    overruled: bool,
}

/// For serde, which passes references.
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Test {
    Rate(Box<Rate>),
    Latency(Box<Latency>),
    Drift(Box<Drift>),
    Values(Box<ValuesTest>),
    Prometheus(Box<PrometheusTest>),
}

impl MetricState {
    /// A metric before the first line, its start mixture spread over `planned_blocks`.
    pub(crate) fn new(spec: &MetricSpec, planned_blocks: u64) -> Self {
        let planned = Some(planned_blocks);
        let rate = |events, ratio, margin| {
            let tolerated = Tolerated { ratio, margin };
            Test::Rate(Box::new(Rate::new(events, tolerated, planned_blocks)))
        };
        let test = match &spec.rule {
            MetricRule::FailureRate { ratio, margin } => rate(Events::Failures, *ratio, *margin),
            MetricRule::Conversion { signal, margin } => {
                rate(Events::Conversions(signal.clone()), 1.0, *margin)
            }
            MetricRule::Latency { timing: of, tolerances } => {
                Test::Latency(Box::new(Latency::new(*of, *tolerances, planned)))
            }
            MetricRule::Values { signal, tolerance, worse } => {
                Test::Values(Box::new(ValuesTest::new(signal, *worse, *tolerance, planned)))
            }
            MetricRule::Distribution { signal, tolerance } => {
                Test::Drift(Box::new(Drift::new(signal, *tolerance, planned)))
            }
            MetricRule::Prometheus(spec) => Test::Prometheus(Box::new(PrometheusTest::new(spec))),
        };
        Self {
            name: spec.name.clone(),
            kind: spec.rule.kind(),
            on_failure: spec.on_failure,
            asked_again: 0,
            overruled: false,
            test,
            status: TestStatus::default(),
        }
    }

    /// Judge clients, not requests, and without a start mixture. Before the first line.
    pub(crate) fn count_clients(&mut self) {
        match &mut self.test {
            Test::Rate(test) => test.count_clients(),
            Test::Latency(test) => test.count_clients(),
            Test::Drift(test) => test.count_clients(),
            Test::Values(test) => test.count_clients(),
            Test::Prometheus(_) => {}
        }
    }

    /// A step begins; `margin` is another margin for its non-inferiority test of failures.
    pub(crate) fn begin_step(&mut self, margin: Option<f64>) {
        self.status.begin_step();
        match &mut self.test {
            Test::Rate(test) => test.begin_step(margin),
            Test::Drift(test) => test.begin_step(),
            Test::Values(test) => test.begin_step(),
            Test::Prometheus(test) => test.begin_step(),
            Test::Latency(test) => test.begin_step(),
        }
    }

    /// Leaves out the effects, which cost more than the test.
    pub(crate) fn without_effects(&mut self) {
        match &mut self.test {
            Test::Rate(test) => test.without_effect(),
            Test::Latency(test) => test.without_effect(),
            Test::Values(test) => test.without_effect(),
            Test::Drift(_) | Test::Prometheus(_) => {}
        }
    }

    /// How far the canary differs from stable; nothing of kinds without such a number.
    pub(crate) fn effects(&self) -> Vec<EffectEstimate> {
        match &self.test {
            Test::Rate(test) => test.effects(&self.name),
            Test::Latency(test) => test.effects(&self.name),
            Test::Values(test) => test.effects(&self.name),
            Test::Drift(_) | Test::Prometheus(_) => Vec::new(),
        }
    }

    /// What is counted at the age from now on was assigned in the present step; `margin` as for
    /// [`Self::begin_step`]. What is counted when it ends was so from the step's start.
    pub(crate) fn begin_counting(&mut self, margin: Option<f64>) {
        if let Test::Rate(test) = &mut self.test {
            self.status.begin_step();
            test.begin_step(margin);
        }
    }

    /// Takes the next line, and notes whether the evidence suffices.
    pub(crate) fn observe(&mut self, tick: &TickContext, line: &Observation, shares: BudgetShares) {
        let alpha_share = self.share(shares);
        let update = match &mut self.test {
            Test::Rate(test) => test.observe(tick, line),
            Test::Latency(test) => test.observe(tick, line),
            Test::Drift(test) => test.observe(tick, line),
            Test::Values(test) => test.observe(tick, line),
            Test::Prometheus(_) => return,
        };
        // Summing up the bets costs as much as placing them, and only a closed block changes them.
        let log_e = match update {
            BlockUpdate::Closed { .. } => self.log_e(),
            BlockUpdate::Dropped | BlockUpdate::LeftOut | BlockUpdate::Open => 0.0,
        };
        self.status.note(update, tick, log_e, alpha_share);
    }

    /// The line's measurement, if this is an external metric and the line has one.
    pub(crate) fn measure(&mut self, line: &Observation) {
        if let Test::Prometheus(test) = &mut self.test
            && let Some(measurement) = line.measurements.get(&self.name)
        {
            test.measure(line.t, measurement);
        }
    }

    fn log_e(&self) -> f64 {
        match &self.test {
            Test::Rate(test) => test.log_e(),
            Test::Latency(test) => test.log_e(),
            Test::Drift(test) => test.log_e(),
            Test::Values(test) => test.log_e(),
            Test::Prometheus(_) => 0.0,
        }
    }

    /// Whether the canary is certified in this step; `None` for kinds without a non-inferiority test.
    pub(crate) fn certified(&self) -> Option<bool> {
        match &self.test {
            Test::Rate(test) => Some(test.certified()),
            Test::Latency(_) | Test::Drift(_) | Test::Values(_) | Test::Prometheus(_) => None,
        }
    }

    /// Its share of its class's error, in its present run.
    fn share(&self, shares: BudgetShares) -> AlphaShare {
        shares.class(self.on_failure, self.asked_again.saturating_add(1))
    }

    pub(crate) fn verdict(&self, shares: BudgetShares) -> Verdict {
        let alpha_share = self.share(shares);
        let (conclusion, findings, missing, lines) = self.particulars();
        let external = matches!(self.test, Test::Prometheus(_));
        let non_inferiority = match &self.test {
            Test::Rate(test) => Some(test.non_inferiority()),
            Test::Latency(_) | Test::Drift(_) | Test::Values(_) | Test::Prometheus(_) => None,
        };
        Verdict {
            metric: self.name.clone(),
            kind: self.kind,
            conclusion,
            on_failure: self.on_failure,
            overruled: self.overruled,
            evidence: (!external).then(|| self.status.evidence(self.log_e(), alpha_share)),
            non_inferiority,
            findings,
            missing,
            lines,
        }
    }

    fn particulars(&self) -> (Conclusion, Findings, Option<InsufficientData>, LineCounts) {
        let (findings, needs) = match &self.test {
            Test::Rate(test) => (test.findings(), test.missing()),
            Test::Latency(test) => (test.findings(), test.missing()),
            Test::Drift(test) => (test.findings(), test.missing()),
            Test::Values(test) => (test.findings(), test.missing()),
            Test::Prometheus(test) => {
                let missing = test.lacks_data().then(|| test.missing());
                return (self.conclusion(), test.findings(), missing, LineCounts::default());
            }
        };
        let missing = self.status.missing(needs).or_else(|| self.unreadable());
        (self.conclusion(), findings, missing, self.status.lines())
    }

    /// The metric's name in the rollout file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the metric concludes now.
    pub(crate) fn conclusion(&self) -> Conclusion {
        if self.overruled {
            return Conclusion::Pass;
        }
        match &self.test {
            Test::Prometheus(test) => test.conclusion(),
            _ => match self.status.conclusion() {
                Conclusion::Pass if self.unreadable().is_some() => Conclusion::Insufficient,
                conclusion => conclusion,
            },
        }
    }

    /// Whether a step waits for its data. A metric that only warns has to have data like every other, also after
    /// it has failed: its failure neither holds the rollout nor speeds it up.
    pub(crate) fn waits_for_data(&self) -> bool {
        let lacks_data = || match &self.test {
            Test::Prometheus(test) => test.lacks_data(),
            _ => self.status.lacks_data(),
        };
        match self.conclusion() {
            Conclusion::Insufficient => true,
            Conclusion::Fail => self.on_failure == OnFailure::Warn && lacks_data(),
            Conclusion::Pass => false,
        }
    }

    /// What happens when it fails.
    pub(crate) const fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    /// Whether it found the canary worse than tolerated, and what it does then is this.
    pub(crate) fn fails_to(&self, class: OnFailure) -> bool {
        self.on_failure == class && self.conclusion() == Conclusion::Fail
    }

    /// An operator resumed: the metric starts again, with less of the error budget.
    pub(crate) fn ask_again(&mut self) {
        self.asked_again = self.asked_again.saturating_add(1);
        self.status.restart();
        match &mut self.test {
            Test::Rate(test) => test.restart(),
            Test::Latency(test) => test.restart(),
            Test::Drift(test) => test.restart(),
            Test::Values(test) => test.restart(),
            Test::Prometheus(test) => test.restart(),
        }
    }

    /// An operator promoted in spite of it: it passes from now on.
    pub(crate) const fn overrule(&mut self) {
        self.overruled = true;
    }

    /// Keeps what operators decided about a metric of the same name in another judge.
    pub(crate) fn keep_decision(&mut self, decision: &OperatorDecision) {
        if self.name == decision.name {
            self.asked_again = decision.asked_again;
            self.overruled = decision.overruled;
        }
    }

    /// A signal of which nothing could be read has no data, however many blocks it closed.
    fn unreadable(&self) -> Option<InsufficientData> {
        match &self.test {
            Test::Drift(test) if self.status.conclusion() == Conclusion::Pass => test.unreadable(),
            _ => None,
        }
    }

    /// Whether more measurements were inconclusive than its limit allows.
    pub(crate) fn is_inconclusive(&self) -> bool {
        matches!(&self.test, Test::Prometheus(test) if test.is_inconclusive())
    }

    /// Counts inconclusive measurements from zero again.
    pub(crate) const fn accept_inconclusive(&mut self) {
        if let Test::Prometheus(test) = &mut self.test {
            test.accept_inconclusive();
        }
    }
}
