//! One metric of a file: its test, whatever the kind, and its verdict.

use serde::{Deserialize, Serialize};

use super::blocks::{Taken, TickContext};
use super::conversion::Events;
use super::drift::Drift;
use super::failure_abort::Tolerated;
use super::latency::Latency;
use super::observation::Observation;
use super::prometheus::Prometheus;
use super::rate::Rate;
use super::spec::{Kind, MetricSpec, Rule};
use super::standing::{AlphaShare, TestStatus};
use super::verdict::{Conclusion, Findings, Lines, Missing, Verdict};

/// A metric and its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metric {
    name: String,
    kind: Kind,
    test: Test,
    standing: TestStatus,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Test {
    Rate(Box<Rate>),
    Latency(Box<Latency>),
    Drift(Box<Drift>),
    Prometheus(Box<Prometheus>),
}

impl Metric {
    /// A metric before the first line, its start mixture spread over `planned_blocks`.
    pub(crate) fn new(spec: &MetricSpec, planned_blocks: u64) -> Self {
        let planned = Some(planned_blocks);
        let rate = |events, ratio, margin| {
            let tolerated = Tolerated { ratio, margin };
            Test::Rate(Box::new(Rate::new(events, tolerated, planned_blocks)))
        };
        let test = match &spec.rule {
            Rule::FailureRate { ratio, margin } => rate(Events::Failures, *ratio, *margin),
            Rule::Conversion { signal, margin } => {
                rate(Events::Conversions(signal.clone()), 1.0, *margin)
            }
            Rule::Latency { tolerances } => {
                Test::Latency(Box::new(Latency::new(*tolerances, planned)))
            }
            Rule::Distribution { signal, tolerance } => {
                Test::Drift(Box::new(Drift::new(signal, *tolerance, planned)))
            }
            Rule::Prometheus(spec) => Test::Prometheus(Box::new(Prometheus::new(spec.clone()))),
        };
        let (name, kind) = (spec.name.clone(), spec.rule.kind());
        Self { name, kind, test, standing: TestStatus::default() }
    }

    /// Judge clients, not requests, and without a start mixture. Before the first line.
    pub(crate) fn count_clients(&mut self) {
        match &mut self.test {
            Test::Rate(test) => test.count_clients(),
            Test::Latency(test) => test.count_clients(),
            Test::Drift(test) => test.count_clients(),
            Test::Prometheus(_) => {}
        }
    }

    /// A step begins; `margin` is another margin for its certificate of failures.
    pub(crate) fn begin_step(&mut self, margin: Option<f64>) {
        self.standing.begin_step();
        match &mut self.test {
            Test::Rate(test) => test.begin_step(margin),
            Test::Prometheus(test) => test.begin_step(),
            Test::Latency(_) | Test::Drift(_) => {}
        }
    }

    /// One line.
    pub(crate) fn observe(
        &mut self,
        moment: &TickContext,
        line: &Observation,
        allowance: AlphaShare,
    ) {
        let taken = match &mut self.test {
            Test::Rate(test) => test.observe(moment, line),
            Test::Latency(test) => test.observe(moment, line),
            Test::Drift(test) => test.observe(moment, line),
            Test::Prometheus(_) => return,
        };
        // Summing up the bets costs as much as placing them, and only a closed block changes them.
        let log_e = match taken {
            Taken::Closed { .. } => self.log_e(),
            Taken::Dropped | Taken::LeftOut | Taken::Open => 0.0,
        };
        self.standing.note(taken, moment, log_e, allowance);
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
            Test::Prometheus(_) => 0.0,
        }
    }

    /// Whether the step's certificate is reached; `None` for kinds that have none.
    pub(crate) fn certified(&self) -> Option<bool> {
        match &self.test {
            Test::Rate(test) => Some(test.certified()),
            Test::Latency(_) | Test::Drift(_) | Test::Prometheus(_) => None,
        }
    }

    pub(crate) fn verdict(&self, allowance: AlphaShare) -> Verdict {
        let (conclusion, findings, missing, lines) = self.particulars();
        let external = matches!(self.test, Test::Prometheus(_));
        let certificate = match &self.test {
            Test::Rate(test) => Some(test.certification()),
            Test::Latency(_) | Test::Drift(_) | Test::Prometheus(_) => None,
        };
        Verdict {
            metric: self.name.clone(),
            kind: self.kind,
            conclusion,
            evidence: (!external).then(|| self.standing.evidence(self.log_e(), allowance)),
            certificate,
            findings,
            missing,
            lines,
        }
    }

    fn particulars(&self) -> (Conclusion, Findings, Option<Missing>, Lines) {
        let (findings, lack) = match &self.test {
            Test::Rate(test) => (test.findings(), test.missing()),
            Test::Latency(test) => (test.findings(), test.missing()),
            Test::Drift(test) => (test.findings(), test.missing()),
            Test::Prometheus(test) => {
                let conclusion = test.conclusion();
                let insufficient = conclusion == Conclusion::Insufficient;
                let missing = insufficient.then(|| test.missing());
                return (conclusion, test.findings(), missing, Lines::default());
            }
        };
        let standing = &self.standing;
        (standing.conclusion(), findings, standing.missing(lack), standing.lines())
    }

    /// The metric's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it concludes now.
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

    pub(crate) fn conclusion(&self) -> Conclusion {
        match &self.test {
            Test::Prometheus(test) => test.conclusion(),
            Test::Rate(_) | Test::Latency(_) | Test::Drift(_) => self.standing.conclusion(),
        }
    }
}
