//! One rollout at work in one worker: its cached record, guard, clients and statistics.

use std::rc::Rc;

use canary_model::config::Rollout;
use canary_model::role::Role;
use canary_model::runtime::RolloutRuntime;
use canary_model::weight::Weight;

use crate::assign::Assignment;
use crate::client_tracker::ClientTracker;
use crate::control::{Control, InForce, UnreadableValue, WeightReason};
use crate::deadlines::Deadlines;
use crate::effect::Effect;
use crate::guard_handle::GuardHandle;
use crate::host::Host;
use crate::judged::JudgedRequest;
use crate::judged_counters::{JudgedCounters, JudgedMetrics};
use crate::messages::{GuardTrip, Message};
use crate::metric_registry::MetricRegistry;
use crate::metrics::{Definer, Observed, RolloutMetrics};
use crate::open_request::{AssignedUnder, OpenRequest};
use crate::outcome::Outcome;
use crate::poll::Poller;
use crate::shared::{RecordError, SharedRecord};
use crate::signal::SignalReading;
use crate::versions::{CountedVersions, VersionPlaces};
use crate::vm::Vm;

/// A rollout at work in one worker.
#[derive(Debug)]
pub struct RolloutState {
    /// The rollout as it is configured.
    configured: Rollout,
    /// The rollout under the versions that its roles run by the cached record. A request keeps the one
    /// that it was assigned under until it ends.
    pub(crate) rollout: Rc<Rollout>,
    /// Where these versions are counted.
    versions: VersionPlaces,
    /// The record that all workers share.
    record: SharedRecord<Control>,
    /// The record as this worker saw it last.
    pub(crate) cached: Control,
    /// The mark that the record carried then; `None` if this worker wrote it itself.
    cached_mark: Option<u32>,
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
    /// What is to be judged.
    pub(crate) judged: JudgedCounters,
    registry: MetricRegistry,
}

impl RolloutState {
    /// Puts a rollout to work. It continues with the records that the workers share.
    pub(crate) fn new(rollout: Rollout, interval_ns: u64, vm: &mut Vm, host: &impl Host) -> Self {
        let record = Control::record(&rollout.name);
        let cached = record.create(host, Control::default);
        let guard = rollout.guard.then(|| GuardHandle::new(&rollout, &cached, host));
        CountedVersions::record(&rollout.name).create(host, CountedVersions::default);
        let registry = vm.metrics();
        let seen = rollout.sticky().then(|| vm.seen_clients(&rollout.name));
        let mut state = Self {
            record,
            shown: cached.in_force(&rollout, host.now_ns()).weight,
            cached,
            cached_mark: None,
            versions: VersionPlaces::default(),
            tick_ns: Poller::tick_ns(interval_ns),
            guard,
            clients: ClientTracker::new(seen.clone()),
            deadlines: Deadlines::new(&rollout.failure.overdue),
            metrics: RolloutMetrics::new(&rollout, &registry, host),
            judged: JudgedCounters::new(&rollout, seen, host),
            registry,
            rollout: Rc::new(rollout.clone()),
            configured: rollout,
        };
        state.label(host);
        state
    }

    /// Puts the versions that the roles run by the cached record in force.
    fn label(&mut self, host: &impl Host) {
        let version = |role| self.cached.version(&self.configured, role);
        self.rollout =
            Rc::new(self.configured.labeled(version(Role::Stable), version(Role::Canary)));
        self.versions = VersionPlaces {
            stable: self.counted_place(Role::Stable, host),
            canary: self.counted_place(Role::Canary, host),
        };
    }

    /// The place of what is counted of a role under its present version, which may be new.
    fn counted_place(&mut self, role: Role, host: &impl Host) -> usize {
        let rollout = Rc::clone(&self.rollout);
        let version = rollout.backend(role).version.as_str();
        let version = CountedVersions::counted(&rollout.name, role, version, host);
        self.metrics.place(role, version).unwrap_or_else(|| {
            let metrics = &self.registry;
            let definer = Definer { rollout: &rollout, role, version, metrics, host };
            self.judged.add(JudgedMetrics::new(&definer));
            self.metrics.add(&definer)
        })
    }

    /// Takes over a newer state of the shared record, versions included. `mark` is the one that the
    /// record carries with this state, if that is known.
    fn cache(&mut self, control: Control, mark: Option<u32>, host: &impl Host) {
        (self.cached, self.cached_mark) = (control, mark);
        let changed = |role| {
            self.cached.version(&self.configured, role) != self.rollout.backend(role).version
        };
        if Role::ALL.into_iter().any(changed) {
            self.label(host);
        }
    }

    /// What a request that is assigned now is assigned under.
    pub(crate) fn assigned_under(&self, now_ns: u64) -> AssignedUnder {
        AssignedUnder {
            rollout: Rc::clone(&self.rollout),
            versions: self.versions,
            weight_generation: self.cached.weight_generation(&self.rollout, now_ns),
        }
    }

    /// A request was assigned: it will be judged at its age. `conversions` has a bit for each signal
    /// whose conversion it is.
    pub(crate) fn judge(
        &mut self,
        assignment: &Assignment,
        conversions: u8,
        now_ns: u64,
    ) -> JudgedRequest {
        let window = self.cached.window_generation();
        self.judged.assigned(assignment, self.versions, window, conversions, now_ns)
    }

    /// The weight in force by the cached record.
    pub(crate) fn cached_in_force(&self, now_ns: u64) -> InForce {
        self.cached.in_force(&self.rollout, now_ns)
    }

    /// Reads the shared record and caches it if it is another than the cached one. If it can't be read, the
    /// cached one stays, and the error is what [`Tentative::confirm`](crate::assign::Tentative::confirm) decides on.
    pub(crate) fn refresh(&mut self, host: &impl Host) -> Result<&Control, RecordError> {
        if let Some((control, mark)) = self.record.read_unless(self.cached_mark, host)? {
            self.cache(control, Some(mark), host);
        }
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
            self.record.update(host, |control| control.apply(runtime, &self.configured, now_ns))?;
        self.cache(control, None, host);
        Some(faults)
    }

    /// Notes the weight in force in the shared record, if it is another than the one noted there: a
    /// pushed configuration may have changed it.
    pub(crate) fn note_weight(&mut self, now_ns: u64, host: &impl Host) {
        let rollout = &self.configured;
        if self.cached.weight_is_noted(rollout, now_ns) {
            return;
        }
        let noted = self.record.update(host, |control| control.note_weight(rollout, now_ns));
        if let Some((control, ())) = noted {
            self.cache(control, None, host);
        }
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
        let age = u64::try_from(self.rollout.outcome_age.as_millis()).unwrap_or(u64::MAX);
        self.metrics.outcome_age_seconds.set(age.div_ceil(1_000), effects);
    }

    /// Counts a finished request and shows it to the guard.
    pub(crate) fn count(
        &mut self,
        under: &AssignedUnder,
        outcome: &Outcome,
        readings: &[SignalReading],
        now_ns: u64,
        host: &impl Host,
        effects: &mut Vec<Effect>,
    ) {
        let observed = Observed {
            present: under.weight_generation
                == self.cached.weight_generation(&self.rollout, now_ns),
            first: self.clients.is_first(outcome, &self.cached),
        };
        self.metrics.count(under.versions, outcome, observed, readings, effects);
        let weight = self.cached_in_force(now_ns).weight;
        let control = &self.cached;
        let observe =
            |guard: &mut GuardHandle| guard.observe(outcome, control, weight, now_ns, host);
        if self.guard.as_mut().is_some_and(observe) {
            self.trip(weight, now_ns, host, effects);
        }
    }

    /// Counts the requests that have reached the age at which they are judged. Whatever a deadline
    /// decides comes before.
    pub(crate) fn count_judged(&mut self, now_ns: u64, host: &impl Host) {
        self.judged.tick(self.cached.window_generation(), now_ns, host);
    }

    /// Hands what has been counted since the last tick to Envoy and to the guard.
    pub(crate) fn flush(&mut self, now_ns: u64, host: &impl Host, effects: &mut Vec<Effect>) {
        self.metrics.flush(effects);
        self.judged.flush(effects);
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
        self.cache(control, None, host);
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
