//! The filter's statistics, gathered in the VM and handed to Envoy on each tick.
//!
//! Handing over costs a hostcall for each number, so counters are summed up here first. A
//! histogram's samples can't be, but many in a row cost a third of what each alone does in the
//! middle of a request. Envoy never frees a metric, so names are defined once a VM.

use std::cell::{Cell, RefCell};

use canary_dataplane::exchange::{Compared, Outcome, Tally};
use canary_dataplane::signal::{Reading, bin_names};
use canary_model::config::{Rollout, Signal};
use canary_model::role::Role;
use canary_model::stat_name::{FilterMetric, Metric, RolloutGauge, StatName};

use crate::{
    host::{self, MetricKind},
    memory::Units,
};

thread_local! {
    /// Envoy's numbers for the metrics that this VM has defined, in order of their names. (A tree
    /// would be four kilobytes of code.)
    static DEFINED: RefCell<Vec<Defined>> = const { RefCell::new(Vec::new()) };
}

/// A metric's name, its kind and Envoy's number for it.
struct Defined(String, MetricKind, u32);

/// Envoy's number for a metric. None where Envoy refuses it: then it is not counted, and requests
/// go on.
fn define(kind: MetricKind, name: &StatName<'_>) -> Option<u32> {
    let name = name.defined();
    DEFINED.with_borrow_mut(|defined| {
        let sought = |known: &Defined| (known.0.as_str(), known.1).cmp(&(name.as_str(), kind));
        match defined.binary_search_by(sought) {
            Ok(place) => defined.get(place).map(|known| known.2),
            Err(place) => {
                let id = host::define_metric(kind, &name)?;
                defined.insert(place, Defined(name, kind, id));
                Some(id)
            }
        }
    })
}

/// A counter and what it has not handed over yet.
pub(crate) struct Counter {
    id: Option<u32>,
    pending: Cell<u64>,
}

impl Counter {
    fn new(name: &StatName<'_>) -> Self {
        Self { id: define(MetricKind::Counter, name), pending: Cell::new(0) }
    }

    /// Counts.
    pub(crate) fn add(&self, by: u64) {
        self.pending.set(self.pending.get() + by);
    }

    fn flush(&self) {
        let pending = self.pending.take();
        if let Some(id) = self.id.filter(|_| pending > 0) {
            host::increment(id, pending);
        }
    }
}

/// A gauge; only changes are handed over.
pub(crate) struct Gauge {
    id: Option<u32>,
    last: Cell<Option<u64>>,
}

impl Gauge {
    fn new(name: &StatName<'_>) -> Self {
        Self { id: define(MetricKind::Gauge, name), last: Cell::new(None) }
    }

    /// Sets.
    pub(crate) fn set(&self, value: u64) {
        if let Some(id) = self.id.filter(|_| self.last.get() != Some(value)) {
            self.last.set(Some(value));
            host::record(id, value);
        }
    }
}

/// So many samples are handed over at once at the latest: some ten microseconds' work, so that no
/// request waits for it that notices.
const MAX_SAMPLES: usize = 128;

/// A histogram and the samples that it has not handed over yet.
pub(crate) struct Histogram {
    id: Option<u32>,
    pending: RefCell<Vec<u64>>,
}

impl Histogram {
    fn new(name: &StatName<'_>) -> Self {
        Self { id: define(MetricKind::Histogram, name), pending: RefCell::default() }
    }

    fn record(&self, value: u64) {
        let mut pending = self.pending.borrow_mut();
        pending.push(value);
        if pending.len() >= MAX_SAMPLES {
            self.hand_over(&mut pending);
        }
    }

    fn flush(&self) {
        self.hand_over(&mut self.pending.borrow_mut());
    }

    fn hand_over(&self, pending: &mut Vec<u64>) {
        for value in pending.drain(..) {
            if let Some(id) = self.id {
                host::record(id, value);
            }
        }
    }
}

/// What is counted of one role of a rollout.
pub(crate) struct RoleMetrics {
    total: Counter,
    failure: Counter,
    classes: [Counter; 4],
    rescued: Counter,
    forced: Counter,
    time_us: Histogram,
    /// By signal and bin.
    signals: Vec<Vec<Counter>>,
    /// The clients' part, in rollouts with affinity.
    clients: Option<ClientMetrics>,
}

/// What is counted of one role's clients: at their first request or first failure in a window.
struct ClientMetrics {
    total: Counter,
    failure: Counter,
    first_failure: Counter,
    time_first_us: Histogram,
    signals_first: Vec<Vec<Counter>>,
}

impl RoleMetrics {
    fn new(rollout: &Rollout, role: Role) -> Self {
        let counter = |metric: Metric<'_>| Counter::new(&role_metric(rollout, role, metric));
        let histogram = |metric| Histogram::new(&role_metric(rollout, role, metric));
        Self {
            total: counter(Metric::RqTotal),
            failure: counter(Metric::RqFailure),
            classes: [Metric::Rq2xx, Metric::Rq3xx, Metric::Rq4xx, Metric::Rq5xx].map(counter),
            rescued: counter(Metric::RqRescued),
            forced: counter(Metric::RqForced),
            time_us: histogram(Metric::RqTimeUs),
            signals: signals(rollout, |signal, bin| counter(Metric::Signal { signal, bin })),
            clients: rollout.keyed().then(|| ClientMetrics {
                total: counter(Metric::ClientTotal),
                failure: counter(Metric::ClientFailure),
                first_failure: counter(Metric::ClientFirstFailure),
                time_first_us: histogram(Metric::RqTimeFirstUs),
                signals_first: signals(rollout, |signal, bin| {
                    counter(Metric::SignalFirst { signal, bin })
                }),
            }),
        }
    }

    fn compared(&self, compared: &Compared, units: Option<Units>, readings: &[Reading]) {
        self.total.add(1);
        self.failure.add(u64::from(compared.outcome == Outcome::Failure));
        self.rescued.add(u64::from(compared.rescued));
        let class = usize::from(compared.class).checked_sub(2);
        if let Some(class) = class.and_then(|class| self.classes.get(class)) {
            class.add(1);
        }
        if let Some(time_us) = compared.time_us {
            self.time_us.record(time_us);
        }
        count_readings(&self.signals, readings);
        if let (Some(clients), Some(units)) = (&self.clients, units) {
            clients.compared(compared, units, readings);
        }
    }

    fn flush(&self) {
        let single = [&self.total, &self.failure, &self.rescued, &self.forced];
        let counters = single.into_iter().chain(&self.classes).chain(self.signals.iter().flatten());
        counters.for_each(Counter::flush);
        self.time_us.flush();
        if let Some(clients) = &self.clients {
            clients.flush();
        }
    }
}

impl ClientMetrics {
    fn compared(&self, compared: &Compared, units: Units, readings: &[Reading]) {
        self.failure.add(u64::from(units.newly_failed));
        if !units.first {
            return;
        }
        self.total.add(1);
        self.first_failure.add(u64::from(compared.outcome == Outcome::Failure));
        if let Some(time_us) = compared.time_us {
            self.time_first_us.record(time_us);
        }
        count_readings(&self.signals_first, readings);
    }

    fn flush(&self) {
        let single = [&self.total, &self.failure, &self.first_failure];
        single.into_iter().chain(self.signals_first.iter().flatten()).for_each(Counter::flush);
        self.time_first_us.flush();
    }
}

fn role_metric<'a>(rollout: &'a Rollout, role: Role, metric: Metric<'a>) -> StatName<'a> {
    let version = &rollout.backend(role).version;
    StatName::Role { rollout: &rollout.name, role, version, metric }
}

/// A counter for every bin of every signal.
fn signals(rollout: &Rollout, counter: impl Fn(&str, &str) -> Counter) -> Vec<Vec<Counter>> {
    let of_signal = |signal: &Signal| {
        bin_names(signal).iter().map(|bin| counter(&signal.name, bin)).collect::<Vec<_>>()
    };
    rollout.signals.iter().map(of_signal).collect()
}

fn count_readings(counters: &[Vec<Counter>], readings: &[Reading]) {
    for reading in readings {
        if let Some(counter) = counters.get(reading.signal).and_then(|bins| bins.get(reading.bin)) {
            counter.add(1);
        }
    }
}

/// What is counted and shown of one rollout.
pub(crate) struct RolloutMetrics {
    stable: RoleMetrics,
    canary: RoleMetrics,
    /// The weight in force, in parts per million.
    pub(crate) weight_ppm: Gauge,
    /// 1 where the guard has tripped.
    pub(crate) guard_tripped: Gauge,
    /// 1 where the lease has run out.
    pub(crate) lease_expired: Gauge,
    /// The epoch as the runtime has it; 0 without one.
    pub(crate) epoch: Gauge,
}

impl RolloutMetrics {
    /// Defines a rollout's metrics.
    pub(crate) fn new(rollout: &Rollout) -> Self {
        let gauge = |gauge| Gauge::new(&StatName::Rollout { rollout: &rollout.name, gauge });
        Self {
            stable: RoleMetrics::new(rollout, Role::Stable),
            canary: RoleMetrics::new(rollout, Role::Canary),
            weight_ppm: gauge(RolloutGauge::WeightPpm),
            guard_tripped: gauge(RolloutGauge::GuardTripped),
            lease_expired: gauge(RolloutGauge::LeaseExpired),
            epoch: gauge(RolloutGauge::Epoch),
        }
    }

    fn role(&self, role: Role) -> &RoleMetrics {
        match role {
            Role::Stable => &self.stable,
            Role::Canary => &self.canary,
        }
    }

    /// Counts a finished request.
    pub(crate) fn count(&self, tally: &Tally, units: Option<Units>, readings: &[Reading]) {
        match tally {
            Tally::Nothing => {}
            Tally::Forced(role) => self.role(*role).forced.add(1),
            Tally::Compared(compared) => {
                self.role(compared.role).compared(compared, units, readings);
            }
        }
    }

    /// Hands the counters to Envoy.
    pub(crate) fn flush(&self) {
        self.stable.flush();
        self.canary.flush();
    }
}

/// What is counted of the filter as a whole.
pub(crate) struct FilterMetrics {
    /// Polls whose answer was read.
    pub(crate) poll_success: Counter,
    /// Polls that could not be sent, failed or brought what can't be read.
    pub(crate) poll_failure: Counter,
    /// Runtime values that can't be read.
    pub(crate) invalid_runtime: Counter,
    /// Configurations that were refused.
    pub(crate) config_rejected: Counter,
    /// The time of the last tick in unix seconds.
    pub(crate) heartbeat: Gauge,
}

impl FilterMetrics {
    /// Defines the filter's own metrics.
    pub(crate) fn new() -> Self {
        let counter = |metric| Counter::new(&StatName::Filter(metric));
        Self {
            poll_success: counter(FilterMetric::PollSuccess),
            poll_failure: counter(FilterMetric::PollFailure),
            invalid_runtime: counter(FilterMetric::InvalidRuntime),
            config_rejected: counter(FilterMetric::ConfigRejected),
            heartbeat: Gauge::new(&StatName::Filter(FilterMetric::Heartbeat)),
        }
    }

    /// Hands the counters to Envoy.
    pub(crate) fn flush(&self) {
        let counters =
            [&self.poll_success, &self.poll_failure, &self.invalid_runtime, &self.config_rejected];
        counters.into_iter().for_each(Counter::flush);
    }
}
