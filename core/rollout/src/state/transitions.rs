//! How the state changes. Every change is made here, once, for the controller and for replays.

use std::time::Duration;

use super::{FleetMember, State, StepProgress, WeightHistory, WeightTarget};
use crate::mismatch::EnvoyMismatch;
use crate::spec::Spec;
use crate::versions::ReleaseVersions;
use canary_judge::counts::{Pair, Trials};
use canary_judge::observation::Observation;
use canary_judge::spec::MetricRule;
use canary_model::weight::Weight;

/// What a lease may take longer than its seconds to run out: until the filter first saw it.
const LEASE_SLACK: Duration = Duration::from_secs(5);

impl State {
    /// The first step is about to begin, in a new epoch.
    pub(crate) fn begin(&mut self, spec: &Spec, epoch: u64) {
        self.epoch = epoch;
        self.window = 0;
        self.weights = WeightHistory::default();
        for metric in &spec.analysis.metrics {
            if let MetricRule::Prometheus(query) = &metric.rule {
                let due = self.clock.passed.saturating_add(query.initial_delay);
                self.due.insert(metric.name.clone(), due);
            }
        }
    }

    /// A step begins; gives its weight, if there is such a step.
    pub(crate) fn enter(&mut self, spec: &Spec, step: usize) -> Option<Weight> {
        let weight = spec.steps.get(step)?.weight;
        self.progress = StepProgress::new(step, self.clock.passed);
        self.mismatch = false;
        self.judge.begin_step(spec.certificate_margin(step));
        self.next_window();
        let target = self.driven(spec, weight);
        self.set_target(target);
        Some(weight)
    }

    /// Back to before the start, for another attempt. Time and notifications go on.
    pub(crate) fn reset(&mut self, spec: &Spec, attempt: u32) {
        let fresh = Self::new(spec, &self.owner, self.takeover)
            .with_versions(ReleaseVersions {
                named: self.named.clone(),
                versions: Pair {
                    stable: self.stable_version.clone(),
                    canary: self.canary_version.clone(),
                },
            })
            .with_predecessor(self.predecessor.clone());
        let old = std::mem::replace(self, fresh);
        self.attempt = attempt;
        self.deploy.calls = old.deploy.calls;
        self.epoch = old.epoch;
        self.shown_epoch = old.shown_epoch;
        self.clock = old.clock;
        self.outcome_age = old.outcome_age;
        self.counted = old.counted;
        self.lease = old.lease;
        self.members = old.members;
        self.outbox = old.outbox;
        self.notices = old.notices;
    }

    /// What Envoys should show while this rollout drives them.
    pub(crate) fn driven(&self, spec: &Spec, weight: Weight) -> WeightTarget {
        WeightTarget {
            weight,
            version: self.canary_version.clone(),
            enabled: true,
            epoch: self.epoch,
            window: self.window,
            lease_seconds: Some(spec.lease_seconds),
            owner: Some(self.owner.clone()),
            labels: self.labels.clone(),
        }
    }

    /// The epoch after this one and after any that an Envoy showed; by the time of day, if that is larger, so
    /// that no other controller's epoch comes again.
    pub(crate) fn next_epoch(&self, unix: u64) -> u64 {
        unix.max(self.epoch.max(self.shown_epoch).saturating_add(1))
    }

    /// From now on every Envoy should show this.
    pub(crate) fn set_target(&mut self, target: WeightTarget) {
        for member in self.members.values_mut() {
            member.mismatch = Some(EnvoyMismatch::NotConfirmed);
            member.stale = true;
        }
        self.weights.set(self.clock.passed, target.weight);
        self.target = Some(target);
    }

    /// A new window begins.
    pub(crate) fn next_window(&mut self) {
        self.window = self.window.saturating_add(1);
        self.window_began = self.clock.passed;
        if let Some(target) = self.target.clone() {
            self.set_target(WeightTarget { window: self.window, ..target });
        }
    }

    /// Time at the present weight, watched.
    pub(crate) const fn hold(&mut self, passed: Duration) {
        self.progress.held = self.progress.held.saturating_add(passed);
    }

    /// What is counted from now on was assigned since the step began.
    pub(crate) fn begin_counting(&mut self, spec: &Spec) {
        self.progress.counting = true;
        self.judge.begin_counting(spec.certificate_margin(self.progress.step));
    }

    /// The age that the filters that answer agree on; while they differ, the largest.
    pub(crate) fn note_outcome_age(&mut self) {
        let largest = self.reachable().filter_map(|(_, member)| member.outcome_age).max();
        self.outcome_age = largest.or(self.outcome_age);
    }

    /// Adds up a line's requests and failures.
    pub(crate) fn add(&mut self, line: &Observation) {
        let requests = line.requests();
        let failures = |failure: Option<u64>| failure.unwrap_or(0);
        let seen = Pair {
            stable: (requests.stable, failures(line.roles.stable.failure)),
            canary: (requests.canary, failures(line.roles.canary.failure)),
        };
        let mut sums = vec![&mut self.totals];
        if self.progress.counting {
            sums.push(&mut self.progress.counts);
            let unanswered = &mut self.progress.unanswered;
            for (sum, role) in [
                (&mut unanswered.stable, &line.roles.stable),
                (&mut unanswered.canary, &line.roles.canary),
            ] {
                *sum = sum.saturating_add(role.unanswered.unwrap_or(0));
            }
        }
        for sum in sums {
            add(&mut sum.stable, seen.stable);
            add(&mut sum.canary, seen.canary);
        }
    }

    /// Adds up and judges a line.
    pub(crate) fn observe(&mut self, line: &Observation) {
        self.add(line);
        self.judge.take(line);
    }

    /// The Envoys that answered at the last look.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = (&String, &FleetMember)> {
        self.members.iter().filter(|(_, member)| member.lost.is_none())
    }

    /// Whether every Envoy that can be reached shows the target, and there is one.
    pub(crate) fn confirmed(&self) -> bool {
        self.reachable().next().is_some()
            && self.reachable().all(|(_, member)| member.mismatch.is_none())
    }

    /// Whether an Envoy has confirmed a target of this epoch.
    pub(crate) fn took(&self, member: &FleetMember) -> bool {
        member.took == Some(self.epoch)
    }

    /// The Envoys that have to confirm the rollback: those that answer, and after a lease was given
    /// up those that don't.
    pub(crate) fn unconfirmed_rollback(&self) -> Vec<(&String, &FleetMember)> {
        let concerned = |member: &FleetMember| member.lost.is_none() || member.free;
        let open = |(_, member): &(&String, &FleetMember)| !member.stable && concerned(member);
        self.members.iter().filter(open).collect()
    }

    /// How long the leases of Envoys that can't be reached may still hold after a rollback.
    pub(crate) fn leases_left(&self, spec: &Spec) -> Duration {
        let out_of_reach = |member: &FleetMember| member.lost.is_some() && !member.stable;
        if self.epoch == 0 || !self.members.values().any(out_of_reach) {
            return Duration::ZERO;
        }
        let longest = Duration::from_secs(u64::from(spec.lease_seconds)) + LEASE_SLACK;
        let since = self.clock.passed.saturating_sub(self.aborting_since);
        longest.saturating_sub(since)
    }
}

fn add(sum: &mut Trials, (requests, failures): (u64, u64)) {
    sum.trials = sum.trials.saturating_add(requests);
    sum.events = sum.events.saturating_add(failures);
}
