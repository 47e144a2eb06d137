//! One rollout at work in one worker: its cached record, guard, clients and statistics.

use canary_model::config::Rollout;
use canary_model::role::Role;
use canary_model::runtime::RolloutRuntime;
use canary_model::weight::Weight;

use crate::client_tracker::ClientTracker;
use crate::control::{Control, InForce, UnreadableValue, WeightReason};
use crate::deadlines::Deadlines;
use crate::effect::Effect;
use crate::guard_handle::GuardHandle;
use crate::host::Host;
use crate::messages::{GuardTrip, Message};
use crate::metrics::RolloutMetrics;
use crate::outcome::Outcome;
use crate::overdue::OpenRequest;
use crate::poll::Poller;
use crate::shared::{RecordError, SharedRecord};
use crate::signal::SignalReading;
use crate::vm::Vm;

/// A rollout at work in one worker.
#[derive(Debug)]
pub struct RolloutState {
    /// The rollout as it is configured.
    pub(crate) rollout: Rollout,
    /// The record that all workers share.
    record: SharedRecord<Control>,
    /// The record as this worker saw it last.
    pub(crate) cached: Control,
    /// The weight that this worker's gauge showed last.
    shown: Weight,
    /// How often each worker ticks.
    tick_ns: u64,
    /// The guard, if it is enabled.
    guard: Option<GuardHandle>,
    /// The memory of which clients were counted.
    pub(crate) clients: ClientTracker,
    /// The deadlines of the requests in flight.
    pub(crate) deadlines: Deadlines<OpenRequest>,
    /// The counters, gauges and histograms.
    metrics: RolloutMetrics,
}

impl RolloutState {
    /// Puts a rollout to work. It continues with the records that the workers share.
    pub(crate) fn new(rollout: Rollout, interval_ns: u64, vm: &mut Vm, host: &impl Host) -> Self {
        let record = Control::record(&rollout.name);
        let cached = record.create(host, Control::default);
        let guard = rollout.guard.then(|| GuardHandle::new(&rollout, &cached, host));
        let clients = ClientTracker::new(&rollout, vm, host);
        let metrics = RolloutMetrics::new(&rollout, vm, host);
        let shown = cached.in_force(&rollout, host.now_ns()).weight;
        let tick_ns = Poller::tick_ns(interval_ns);
        let deadlines = Deadlines::new(&rollout.failure.overdue);
        Self { rollout, record, cached, shown, tick_ns, guard, clients, deadlines, metrics }
    }

    /// The weight in force by the cached record.
    pub(crate) fn cached_in_force(&self, now_ns: u64) -> InForce {
        self.cached.in_force(&self.rollout, now_ns)
    }

    /// Reads the shared record and caches it. If it can't be read, the cached one stays, and the error
    /// is what [`Tentative::confirm`](crate::assign::Tentative::confirm) decides on.
    pub(crate) fn refresh(&mut self, host: &impl Host) -> Result<&Control, RecordError> {
        self.cached = self.record.read(host)?;
        Ok(&self.cached)
    }

    /// Takes what the runtime says into the shared record. `None` if it couldn't be written.
    pub(crate) fn apply(
        &mut self,
        runtime: &RolloutRuntime,
        now_ns: u64,
        host: &impl Host,
    ) -> Option<Vec<UnreadableValue>> {
        let (control, faults) =
            self.record.update(host, |control| control.apply(runtime, now_ns))?;
        self.cached = control;
        Some(faults)
    }

    /// The message that the runtime's weight is meant for another version, if it is.
    pub(crate) fn other_version(&self, now_ns: u64) -> Option<Message> {
        let other = self.cached_in_force(now_ns).reason == WeightReason::Version;
        let meant_for = self.cached.weight_version().filter(|_| other)?;
        Some(Message::OtherVersion {
            rollout: self.rollout.name.clone(),
            canary: self.rollout.canary.version.clone(),
            meant_for: meant_for.to_owned(),
        })
    }

    /// Shows the state as gauges.
    pub(crate) fn show(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        let control = &self.cached;
        self.shown = control.weight_to_show(&self.rollout, self.shown, now_ns, self.tick_ns);
        self.metrics.weight_ppm.set(u64::from(self.shown.ppm()), effects);
        self.metrics.guard_tripped.set(u64::from(control.guard_tripped()), effects);
        self.metrics.lease_expired.set(u64::from(control.lease_expired(now_ns)), effects);
        self.metrics.epoch.set(control.epoch().unwrap_or(0), effects);
    }

    /// Counts a finished request and shows it to the guard.
    pub(crate) fn count(
        &mut self,
        outcome: &Outcome,
        readings: &[SignalReading],
        now_ns: u64,
        host: &impl Host,
        effects: &mut Vec<Effect>,
    ) {
        let clients = self.clients.count(outcome, &self.cached, host);
        self.metrics.count(outcome, clients, readings, effects);
        let weight = self.cached_in_force(now_ns).weight;
        let control = &self.cached;
        let observe =
            |guard: &mut GuardHandle| guard.observe(outcome, control, weight, now_ns, host);
        if self.guard.as_mut().is_some_and(observe) {
            self.trip(weight, now_ns, host, effects);
        }
    }

    /// Hands what has been counted since the last tick to Envoy and to the guard.
    pub(crate) fn flush(&mut self, now_ns: u64, host: &impl Host, effects: &mut Vec<Effect>) {
        self.metrics.flush(effects);
        let weight = self.cached_in_force(now_ns).weight;
        let control = &self.cached;
        if self.guard.as_mut().is_some_and(|guard| guard.flush(control, weight, host)) {
            self.trip(weight, now_ns, host, effects);
        }
    }

    /// Writes the guard's trip into the record that confirms each request to the canary. The worker
    /// whose write succeeds reports it.
    fn trip(&mut self, weight: Weight, now_ns: u64, host: &impl Host, effects: &mut Vec<Effect>) {
        let epoch = self.cached.epoch_generation();
        let Some((control, tripped)) = self.record.update(host, |control| control.trip(epoch))
        else {
            return;
        };
        self.cached = control;
        if !tripped {
            return;
        }
        if let Some(score) = self.guard.as_ref().and_then(|guard| guard.score(host)) {
            let of = |role| (self.rollout.backend(role).version.clone(), score.counts(role));
            effects.push(Effect::Log(Message::GuardTripped(GuardTrip {
                rollout: self.rollout.name.clone(),
                canary: of(Role::Canary),
                stable: of(Role::Stable),
                weight,
            })));
        }
        self.show(now_ns, effects);
    }
}
