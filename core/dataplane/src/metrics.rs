//! The filter's statistics: added up in the VM and handed to Envoy on each tick.
//!
//! Each number handed over costs a hostcall, so counters are added up here first. A histogram's
//! samples can't be added up, but many in a row cost a third of what each one alone costs in the
//! middle of a request.

use canary_model::config::{Rollout, Signal, SignalBins};
use canary_model::role::Role;
use canary_model::stat_name::{FilterMetric, Metric, RolloutGauge, StatName};

use crate::client_tracker::ClientIncrements;
use crate::effect::Effect;
use crate::host::{Host, HostMetricKind, MetricId};
use crate::outcome::{ComparedRequest, Outcome, RequestResult, ResponseFault};
use crate::signal::{SignalReading, SignalValue, bin_names};
use crate::vm::Vm;

/// At most this many samples wait to be handed over: some ten microseconds' work, so that a request
/// doesn't wait noticeably for it.
const MAX_SAMPLES: usize = 128;

/// A counter and what it hasn't handed over yet.
#[derive(Debug)]
pub(crate) struct PendingCounter {
    id: Option<MetricId>,
    pending: u64,
}

impl PendingCounter {
    fn new(vm: &mut Vm, host: &impl Host, name: &StatName<'_>) -> Self {
        Self { id: vm.define(host, HostMetricKind::Counter, name), pending: 0 }
    }

    /// Adds to the counter.
    pub(crate) fn add(&mut self, by: u64) {
        self.pending += by;
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        let pending = std::mem::take(&mut self.pending);
        if let Some(id) = self.id.filter(|_| pending > 0) {
            effects.push(Effect::Increment(id, pending));
        }
    }
}

/// A gauge; only changes are handed over.
#[derive(Debug)]
pub(crate) struct Gauge {
    id: Option<MetricId>,
    last: Option<u64>,
}

impl Gauge {
    fn new(vm: &mut Vm, host: &impl Host, name: &StatName<'_>) -> Self {
        Self { id: vm.define(host, HostMetricKind::Gauge, name), last: None }
    }

    /// Sets the gauge; an unchanged value costs nothing.
    pub(crate) fn set(&mut self, value: u64, effects: &mut Vec<Effect>) {
        if let Some(id) = self.id.filter(|_| self.last != Some(value)) {
            self.last = Some(value);
            effects.push(Effect::Record(id, value));
        }
    }
}

/// A histogram and the samples that it hasn't handed over yet.
#[derive(Debug)]
struct Samples {
    id: Option<MetricId>,
    pending: Vec<u64>,
}

impl Samples {
    fn new(vm: &mut Vm, host: &impl Host, name: &StatName<'_>) -> Self {
        Self { id: vm.define(host, HostMetricKind::Histogram, name), pending: Vec::new() }
    }

    fn record(&mut self, value: u64, effects: &mut Vec<Effect>) {
        self.pending.push(value);
        if self.pending.len() >= MAX_SAMPLES {
            self.flush(effects);
        }
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        let Some(id) = self.id else {
            self.pending.clear();
            return;
        };
        effects.extend(self.pending.drain(..).map(|value| Effect::Record(id, value)));
    }
}

/// What is counted of one role of a rollout.
#[derive(Debug)]
struct RoleMetrics {
    total: PendingCounter,
    failure: PendingCounter,
    /// Responses with a status of 2xx to 5xx.
    classes: [PendingCounter; 4],
    abandoned: PendingCounter,
    broken: PendingCounter,
    overdue: PendingCounter,
    rescued: PendingCounter,
    overridden: PendingCounter,
    times: TimeMetrics,
    signals: Vec<SignalMetrics>,
    /// The clients' part, in sticky rollouts.
    clients: Option<ClientMetrics>,
}

/// What is counted of one role's clients, at their first request or first failure in a window.
#[derive(Debug)]
struct ClientMetrics {
    total: PendingCounter,
    failure: PendingCounter,
    first_failure: PendingCounter,
    times_first: TimeMetrics,
    signals_first: Vec<SignalMetrics>,
}

/// How long requests took.
#[derive(Debug)]
struct TimeMetrics {
    whole: Samples,
    /// If `timings` asks for it.
    first_byte: Option<Samples>,
    /// If `timings` asks for it.
    gap: Option<Samples>,
}

impl TimeMetrics {
    /// Of each client's first request in the window, or of every one.
    fn new(rollout: &Rollout, role: Role, first: bool, vm: &mut Vm, host: &impl Host) -> Self {
        let mut samples = |every, of_first| {
            let metric = if first { of_first } else { every };
            Samples::new(vm, host, &role_metric(rollout, role, metric))
        };
        let (ttfb, gap) = (rollout.timings.ttfb, rollout.timings.gap);
        Self {
            whole: samples(Metric::RqTimeUs, Metric::RqTimeFirstUs),
            first_byte: ttfb.then(|| samples(Metric::RqTtfbUs, Metric::RqTtfbFirstUs)),
            gap: gap.then(|| samples(Metric::RqGapUs, Metric::RqGapFirstUs)),
        }
    }

    fn record(&mut self, request: &ComparedRequest, effects: &mut Vec<Effect>) {
        let times = [request.time_us, request.ttfb_us, request.gap_us];
        for (samples, time_us) in self.all().zip(times) {
            if let (Some(samples), Some(time_us)) = (samples, time_us) {
                samples.record(time_us, effects);
            }
        }
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        self.all().flatten().for_each(|samples| samples.flush(effects));
    }

    fn all(&mut self) -> impl Iterator<Item = Option<&mut Samples>> {
        let Self { whole, first_byte, gap } = self;
        [Some(whole), first_byte.as_mut(), gap.as_mut()].into_iter()
    }
}

/// What is counted of one signal.
#[derive(Debug)]
struct SignalMetrics {
    bins: Vec<PendingCounter>,
    /// The values, if the signal counts them.
    values: Option<Samples>,
}

impl SignalMetrics {
    /// Of all of a rollout's signals: of each client's first request in the window, or of every one.
    fn all(rollout: &Rollout, role: Role, first: bool, vm: &mut Vm, host: &impl Host) -> Vec<Self> {
        let of_signal = |signal: &Signal| {
            let name = signal.name.as_str();
            let counter = |bin: &String, vm: &mut Vm| {
                let metric = match first {
                    true => Metric::SignalFirst { signal: name, bin },
                    false => Metric::Signal { signal: name, bin },
                };
                PendingCounter::new(vm, host, &role_metric(rollout, role, metric))
            };
            let bins = bin_names(signal).iter().map(|bin| counter(bin, vm)).collect();
            let value = if first { Metric::ValueFirst(name) } else { Metric::Value(name) };
            let values = matches!(signal.bins, SignalBins::Values { .. })
                .then(|| Samples::new(vm, host, &role_metric(rollout, role, value)));
            Self { bins, values }
        };
        rollout.signals.iter().map(of_signal).collect()
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        self.bins.iter_mut().for_each(|counter| counter.flush(effects));
        if let Some(values) = &mut self.values {
            values.flush(effects);
        }
    }
}

impl RoleMetrics {
    fn new(rollout: &Rollout, role: Role, vm: &mut Vm, host: &impl Host) -> Self {
        let mut counter =
            |metric: Metric<'_>| PendingCounter::new(vm, host, &role_metric(rollout, role, metric));
        let total = counter(Metric::RqTotal);
        let failure = counter(Metric::RqFailure);
        let classes =
            [Metric::Rq2xx, Metric::Rq3xx, Metric::Rq4xx, Metric::Rq5xx].map(&mut counter);
        let abandoned = counter(Metric::RqAbandoned);
        let broken = counter(Metric::RqBroken);
        let overdue = counter(Metric::RqOverdue);
        let rescued = counter(Metric::RqRescued);
        let overridden = counter(Metric::RqForced);
        let signals = SignalMetrics::all(rollout, role, false, vm, host);
        let times = TimeMetrics::new(rollout, role, false, vm, host);
        let clients = rollout.sticky().then(|| ClientMetrics::new(rollout, role, vm, host));
        Self {
            total,
            failure,
            classes,
            abandoned,
            broken,
            overdue,
            rescued,
            overridden,
            times,
            signals,
            clients,
        }
    }

    fn count(
        &mut self,
        request: &ComparedRequest,
        clients: Option<ClientIncrements>,
        readings: &[SignalReading],
        effects: &mut Vec<Effect>,
    ) {
        self.total.add(1);
        self.failure.add(u64::from(request.result == RequestResult::Failure));
        self.abandoned.add(u64::from(request.result == RequestResult::Abandoned));
        self.rescued.add(u64::from(request.rescued));
        match request.fault {
            Some(ResponseFault::Broken) => self.broken.add(1),
            Some(ResponseFault::Overdue(_)) => self.overdue.add(1),
            None => {}
        }
        let class = usize::from(request.class).checked_sub(2);
        if let Some(class) = class.and_then(|class| self.classes.get_mut(class)) {
            class.add(1);
        }
        self.times.record(request, effects);
        count_readings(&mut self.signals, readings, effects);
        if let (Some(metrics), Some(counts)) = (&mut self.clients, clients) {
            metrics.count(request, counts, readings, effects);
        }
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        let single = [
            &mut self.total,
            &mut self.failure,
            &mut self.abandoned,
            &mut self.broken,
            &mut self.overdue,
            &mut self.rescued,
            &mut self.overridden,
        ];
        let counters = single.into_iter().chain(&mut self.classes);
        counters.for_each(|counter| counter.flush(effects));
        self.signals.iter_mut().for_each(|signal| signal.flush(effects));
        self.times.flush(effects);
        if let Some(clients) = &mut self.clients {
            clients.flush(effects);
        }
    }
}

impl ClientMetrics {
    fn new(rollout: &Rollout, role: Role, vm: &mut Vm, host: &impl Host) -> Self {
        let mut counter =
            |metric: Metric<'_>| PendingCounter::new(vm, host, &role_metric(rollout, role, metric));
        let total = counter(Metric::ClientTotal);
        let failure = counter(Metric::ClientFailure);
        let first_failure = counter(Metric::ClientFirstFailure);
        let signals_first = SignalMetrics::all(rollout, role, true, vm, host);
        let times_first = TimeMetrics::new(rollout, role, true, vm, host);
        Self { total, failure, first_failure, times_first, signals_first }
    }

    fn count(
        &mut self,
        request: &ComparedRequest,
        counts: ClientIncrements,
        readings: &[SignalReading],
        effects: &mut Vec<Effect>,
    ) {
        self.total.add(u64::from(counts.new_client));
        self.failure.add(u64::from(counts.newly_failed));
        if !counts.first {
            return;
        }
        self.first_failure.add(u64::from(request.result == RequestResult::Failure));
        self.times_first.record(request, effects);
        count_readings(&mut self.signals_first, readings, effects);
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        let single = [&mut self.total, &mut self.failure, &mut self.first_failure];
        single.into_iter().for_each(|counter| counter.flush(effects));
        self.signals_first.iter_mut().for_each(|signal| signal.flush(effects));
        self.times_first.flush(effects);
    }
}

fn role_metric<'a>(rollout: &'a Rollout, role: Role, metric: Metric<'a>) -> StatName<'a> {
    let version = &rollout.backend(role).version;
    StatName::Role { rollout: &rollout.name, role, version, metric }
}

fn count_readings(
    signals: &mut [SignalMetrics],
    readings: &[SignalReading],
    effects: &mut Vec<Effect>,
) {
    for reading in readings {
        let Some(signal) = signals.get_mut(reading.signal) else {
            continue;
        };
        match (reading.value, &mut signal.values) {
            (SignalValue::Sample(value), Some(values)) => values.record(value, effects),
            (SignalValue::Sample(_), None) => {}
            (SignalValue::Bin(bin), _) => {
                if let Some(counter) = signal.bins.get_mut(bin) {
                    counter.add(1);
                }
            }
        }
    }
}

/// What is counted and shown of one rollout.
#[derive(Debug)]
pub(crate) struct RolloutMetrics {
    stable: RoleMetrics,
    canary: RoleMetrics,
    /// The weight in force, in parts per million.
    pub(crate) weight_ppm: Gauge,
    /// 1 if the guard has tripped.
    pub(crate) guard_tripped: Gauge,
    /// 1 if the lease has run out.
    pub(crate) lease_expired: Gauge,
    /// The epoch in the runtime; 0 if none is set.
    pub(crate) epoch: Gauge,
}

impl RolloutMetrics {
    /// Defines a rollout's metrics.
    pub(crate) fn new(rollout: &Rollout, vm: &mut Vm, host: &impl Host) -> Self {
        let stable = RoleMetrics::new(rollout, Role::Stable, vm, host);
        let canary = RoleMetrics::new(rollout, Role::Canary, vm, host);
        let mut gauge =
            |gauge| Gauge::new(vm, host, &StatName::Rollout { rollout: &rollout.name, gauge });
        Self {
            stable,
            canary,
            weight_ppm: gauge(RolloutGauge::WeightPpm),
            guard_tripped: gauge(RolloutGauge::GuardTripped),
            lease_expired: gauge(RolloutGauge::LeaseExpired),
            epoch: gauge(RolloutGauge::Epoch),
        }
    }

    fn role(&mut self, role: Role) -> &mut RoleMetrics {
        match role {
            Role::Stable => &mut self.stable,
            Role::Canary => &mut self.canary,
        }
    }

    /// Counts a finished request.
    pub(crate) fn count(
        &mut self,
        outcome: &Outcome,
        clients: Option<ClientIncrements>,
        readings: &[SignalReading],
        effects: &mut Vec<Effect>,
    ) {
        match outcome {
            Outcome::Diverted(_) => {
                if let (Some(metrics), Some(counts)) = (&mut self.canary.clients, clients) {
                    metrics.total.add(u64::from(counts.new_client));
                }
            }
            Outcome::Overridden(role) => self.role(*role).overridden.add(1),
            Outcome::Compared(request) => {
                self.role(request.role).count(request, clients, readings, effects);
            }
        }
    }

    /// Hands what has been counted to Envoy.
    pub(crate) fn flush(&mut self, effects: &mut Vec<Effect>) {
        self.stable.flush(effects);
        self.canary.flush(effects);
    }
}

/// What is counted of the filter as a whole.
#[derive(Debug)]
pub(crate) struct FilterMetrics {
    /// Polls whose answer was read.
    pub(crate) poll_success: PendingCounter,
    /// Polls that couldn't be sent, failed or had an unreadable answer.
    pub(crate) poll_failure: PendingCounter,
    /// Unreadable runtime values, once per change.
    pub(crate) invalid_runtime: PendingCounter,
    /// Configurations that were refused.
    pub(crate) config_rejected: PendingCounter,
    /// The time of the last tick in unix seconds.
    pub(crate) heartbeat: Gauge,
}

impl FilterMetrics {
    /// Defines the filter's own metrics.
    pub(crate) fn new(vm: &mut Vm, host: &impl Host) -> Self {
        let mut counter = |metric| PendingCounter::new(vm, host, &StatName::Filter(metric));
        let poll_success = counter(FilterMetric::PollSuccess);
        let poll_failure = counter(FilterMetric::PollFailure);
        let invalid_runtime = counter(FilterMetric::InvalidRuntime);
        let config_rejected = counter(FilterMetric::ConfigRejected);
        let heartbeat = Gauge::new(vm, host, &StatName::Filter(FilterMetric::Heartbeat));
        Self { poll_success, poll_failure, invalid_runtime, config_rejected, heartbeat }
    }

    /// Hands what has been counted to Envoy.
    pub(crate) fn flush(&mut self, effects: &mut Vec<Effect>) {
        let counters = [
            &mut self.poll_success,
            &mut self.poll_failure,
            &mut self.invalid_runtime,
            &mut self.config_rejected,
        ];
        counters.into_iter().for_each(|counter| counter.flush(effects));
    }
}
