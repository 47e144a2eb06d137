//! What was decided becomes actions: Envoys are written, leases renewed, metrics asked.

use std::time::Duration;

use super::StepContext;
use crate::action::Action;
use crate::state::Phase;
use canary_judge::spec::MetricRule;

impl StepContext<'_> {
    pub(super) fn act(&mut self) {
        self.cancel_deploy();
        self.write();
        self.measure();
        self.notify();
    }

    /// Every Envoy that does not show the target is written, and all of them when the lease is due.
    fn write(&mut self) {
        let Some(target) = self.state.target.clone() else { return };
        let due = target.lease_seconds.is_some_and(|seconds| self.renewal_is_due(seconds));
        let aborting = self.state.phase == Phase::Aborting;
        let reachable = self.state.reachable();
        let concerned = reachable
            .filter(|(_, member)| (due || member.stale) && !(aborting && member.stable))
            .map(|(name, _)| name.clone());
        let envoys: Vec<String> = concerned.collect();
        if envoys.is_empty() {
            return;
        }
        let lease = &mut self.state.lease;
        lease.given = lease.given.saturating_add(1);
        if due {
            lease.at = Some(self.now.monotonic);
        }
        if target.enabled && target.lease_seconds.is_none() {
            self.free(&envoys);
        }
        let nonce = format!("{}-{}", target.epoch, self.state.lease.given);
        self.actions.push(Action::Write { envoys, target, nonce });
    }

    fn free(&mut self, envoys: &[String]) {
        let members = self.state.members.iter_mut();
        members
            .filter(|(name, _)| envoys.contains(name))
            .for_each(|(_, member)| member.free = true);
    }

    /// A third of the lease after it was last renewed; at once where the clock says nothing.
    fn renewal_is_due(&self, seconds: u32) -> bool {
        let third = Duration::from_secs(u64::from(seconds)) / 3;
        let since = self.state.lease.at.and_then(|at| self.now.monotonic.checked_sub(at));
        since.is_none_or(|since| since >= third)
    }

    /// External metrics are asked when they are due.
    fn measure(&mut self) {
        if !self.is_guarded() {
            return;
        }
        let now = self.state.clock.passed;
        for metric in &self.spec.analysis.metrics {
            let MetricRule::Prometheus(query) = &metric.rule else { continue };
            let due = self.state.due.entry(metric.name.clone()).or_insert(now);
            if *due <= now {
                // On the grid of the first time, or delays would add up. What was missed is left out.
                let late = now.saturating_sub(*due).as_nanos();
                let periods = late.checked_div(query.interval.as_nanos()).unwrap_or(0);
                let periods = u32::try_from(periods).unwrap_or(u32::MAX).saturating_add(1);
                *due = due.saturating_add(query.interval.saturating_mul(periods));
                self.actions.push(Action::Measure { metric: metric.name.clone() });
            }
        }
    }
}
