//! Counts and measurements: labelled with what was in force, then judged.

use std::collections::BTreeMap;

use super::StepContext;
use crate::event::RolloutEvent;
use crate::termination::{FailedVerdict, TerminationReason};
use canary_judge::observation::{Measurement, Observation};
use canary_judge::verdict::Findings;

impl StepContext<'_> {
    pub(super) fn count(
        &mut self,
        observation: Option<Observation>,
        measurements: BTreeMap<String, Measurement>,
        looked: bool,
    ) {
        if !self.under_way() {
            return;
        }
        self.state.measured.extend(measurements);
        match observation {
            Some(line) => {
                if self.state.outage.take().is_some() {
                    self.events.push(RolloutEvent::OutageOver);
                }
                self.state.sticky.get_or_insert(line.sticky);
                self.take(line);
            }
            None => {
                if looked && self.state.outage.is_none() {
                    self.state.outage = Some(self.state.clock.passed);
                    self.events.push(RolloutEvent::Outage);
                }
                self.judge_measurements();
            }
        }
    }

    /// A line of counts.
    fn take(&mut self, line: Observation) {
        if self.confirmed_before {
            self.state.hold(self.passed);
        }
        if self.gap {
            // What happened while nobody looked came about under no one weight.
            self.state.add(&line);
            return;
        }
        if !self.confirmed_before && self.state.judge.has_no_counts() {
            // The first counts of a rollout may be from before its weight held; a judge that has seen
            // nothing else couldn't know. Later ones it leaves out by itself.
            self.state.add(&line);
            self.judge_measurements();
            return;
        }
        self.judge(line);
    }

    /// External metrics don't wait for counts, unless nobody knows yet what will be counted.
    fn judge_measurements(&mut self) {
        if let (Some(sticky), false) = (self.state.sticky, self.state.measured.is_empty()) {
            self.judge(Observation { sticky, ..Observation::default() });
        }
    }

    /// Judges a line, labelled with what was in force: what was gathered since the last step came
    /// about under the target of the last step.
    fn judge(&mut self, mut line: Observation) {
        let Some(target) = &self.state.target else { return };
        line.t = self.state.clock.passed.as_secs_f64();
        line.weight = target.weight;
        line.window = Some(target.window);
        line.measurements.append(&mut self.state.measured);
        self.state.observe(&line);
        self.note_metric_outages();
        self.verdicts = self.state.judge.verdicts();
        self.line = Some(line);
        if let Some(verdict) = self.state.judge.abort() {
            let metric = verdict.metric.clone();
            let verdict = FailedVerdict::Verdict(Box::new(verdict));
            self.request_rollback(TerminationReason::Metric { metric, verdict });
        }
        self.check_split();
    }

    /// Tells when an external metric stops or starts saying something.
    fn note_metric_outages(&mut self) {
        let verdicts = self.state.judge.verdicts();
        for verdict in verdicts {
            let Findings::Query { outage, .. } = verdict.findings else { continue };
            let metric = verdict.metric;
            let known = &mut self.state.metric_outages;
            match outage {
                Some(why) => {
                    if known.insert(metric.clone(), why.clone()).is_none() {
                        self.events.push(RolloutEvent::MetricOutage { metric, why });
                    }
                }
                None => {
                    if known.remove(&metric).is_some() {
                        self.events.push(RolloutEvent::MetricOutageOver { metric });
                    }
                }
            }
        }
    }

    fn check_split(&mut self) {
        let split = self.state.judge.split();
        if let (true, false, Some(measured)) = (split.mismatch, self.state.mismatch, split.measured)
        {
            self.state.mismatch = true;
            self.events.push(RolloutEvent::SplitMismatch { weight: split.weight, measured });
        }
    }
}
