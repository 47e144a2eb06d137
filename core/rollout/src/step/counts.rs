//! Counts and measurements: labelled with what was in force, then judged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::StepContext;
use crate::event::RolloutEvent;
use crate::termination::{FailedVerdict, TerminationReason};
use canary_judge::observation::{Measurement, Observation};
use canary_judge::spec::OnFailure;
use canary_judge::verdict::Findings;

impl StepContext<'_> {
    pub(super) fn count(
        &mut self,
        observation: Option<Observation>,
        measurements: BTreeMap<String, Measurement>,
    ) {
        // A line begins where the one before ended, whatever steps were taken in between.
        let begins = self.state.counted;
        if observation.is_some() {
            self.state.counted = self.state.clock.passed;
        }
        if !self.is_guarded() {
            return;
        }
        self.note_outage(observation.is_some());
        self.state.measured.extend(measurements);
        if self.state.is_finalizing() {
            self.measure_in_finalizing();
            return self.count_handover(observation, begins);
        }
        match observation {
            Some(line) => {
                self.state.sticky.get_or_insert(line.sticky);
                self.take(line, begins);
            }
            None => self.judge_measurements(),
        }
    }

    /// Tells when counts stop or start being readable.
    fn note_outage(&mut self, counted: bool) {
        if counted {
            if self.state.outage.take().is_some() {
                self.events.push(RolloutEvent::OutageOver);
            }
        } else if self.looked && self.state.outage.is_none() {
            self.state.outage = Some(self.state.clock.passed);
            self.events.push(RolloutEvent::Outage);
        }
    }

    /// A line of counts, of what came since `begins`.
    fn take(&mut self, mut line: Observation, begins: Duration) {
        if self.confirmed_before {
            self.state.hold(self.passed);
        }
        let outcomes = self.follow_age(&mut line, begins);
        if self.gap {
            // What happened while nobody looked came about under no one weight.
            self.add_if(outcomes, &line);
            return;
        }
        if !self.confirmed_before && self.state.judge.has_no_counts() {
            // The first counts of a rollout may be from before its weight held; a judge that has seen
            // nothing else couldn't know. Later ones it leaves out by itself.
            self.add_if(outcomes, &line);
            self.judge_measurements();
            return;
        }
        self.add_if(outcomes, &line);
        self.judge(line);
    }

    fn add_if(&mut self, outcomes: bool, line: &Observation) {
        if outcomes {
            self.state.add(line);
        }
    }

    /// What is counted at the age was assigned that much earlier. Requests from before the rollout's first
    /// weight aren't the rollout's: the line then has no outcomes, which this says. A step counts those that
    /// were assigned since it began.
    fn follow_age(&mut self, line: &mut Observation, begins: Duration) -> bool {
        let age = self.state.outcome_age();
        let outcomes = self.state.weights.before(begins, age).is_some();
        if !outcomes {
            leave_out_outcomes(line);
        }
        let began = self.state.progress.began.saturating_add(age);
        if !self.state.progress.counting && begins >= began {
            self.state.begin_counting(self.spec);
        }
        outcomes
    }

    /// External metrics don't wait for counts, unless nobody knows yet what will be counted.
    fn judge_measurements(&mut self) {
        if let (Some(sticky), false) = (self.state.sticky, self.state.measured.is_empty()) {
            self.judge(Observation { sticky, ..Observation::default() });
        }
    }

    /// Judges a line, labelled with the weight under which its requests were assigned. Without affinity
    /// that is the one of `outcome_age` ago. With affinity only what was assigned in the present window
    /// counts, and a window has one weight: the present one. What counts at once, such as `assigned`,
    /// came about under the target of the last step.
    fn judge(&mut self, mut line: Observation) {
        let Some(target) = &self.state.target else { return };
        line.t = self.state.clock.passed.as_secs_f64();
        let at_age = self.state.weight_at_age().filter(|_| !line.sticky);
        line.weight = at_age.unwrap_or(target.weight);
        line.assigned_weight = (line.weight != target.weight).then_some(target.weight);
        line.window = Some(target.window);
        line.measurements.append(&mut self.state.measured);
        self.state.judge.take(&line);
        self.note_metric_outages();
        self.verdicts = self.state.judge.verdicts();
        self.line = Some(line);
        if let Some(verdict) = self.state.judge.abort() {
            let metric = verdict.metric.clone();
            let verdict = FailedVerdict::Verdict(Box::new(verdict));
            self.request_rollback(TerminationReason::Metric { metric, verdict });
        }
        self.tell_warnings();
        self.check_split();
    }

    /// Tells once of each metric that warns.
    pub(super) fn tell_warnings(&mut self) {
        let failing = self.state.judge.failing(OnFailure::Warn);
        let failing: Vec<String> = failing.into_iter().map(str::to_owned).collect();
        for metric in failing {
            if self.state.warned.insert(metric.clone()) {
                self.events.push(RolloutEvent::Warned { metric });
            }
        }
    }

    /// Tells when an external metric stops or starts saying something.
    pub(super) fn note_metric_outages(&mut self) {
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

/// Makes unknown what is counted at the age `outcome_age`. Without totals, conversions aren't read either.
fn leave_out_outcomes(line: &mut Observation) {
    for role in [&mut line.roles.stable, &mut line.roles.canary] {
        (role.total, role.failure, role.unanswered) = (None, None, None);
    }
}
