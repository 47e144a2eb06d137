//! The filter's statistics: added up in the VM and handed to Envoy on each tick.
//!
//! Each number handed over costs a hostcall, so counters are added up here first. A histogram's
//! samples can't be added up, but many in a row cost a third of what each one alone costs in the
//! middle of a request.

use canary_model::config::{Rollout, Signal, SignalBins};
use canary_model::role::Role;
use canary_model::stat_name::{FilterMetric, Metric, RolloutGauge, StatName};

use crate::effect::Effect;
use crate::host::{Host, HostMetricKind, MetricId};
use crate::instruments::{Gauge, PendingCounter, Samples};
use crate::metric_registry::MetricRegistry;
use crate::outcome::{ComparedRequest, Outcome, RequestResult, ResponseFault};
use crate::signal::{SignalReading, SignalValue, bin_names};
use crate::versions::VersionPlaces;

/// Defines the statistics of one role of a rollout under one version.
#[derive(Debug)]
pub(crate) struct Definer<'a, H> {
    pub(crate) rollout: &'a Rollout,
    pub(crate) role: Role,
    /// The version that is counted under.
    pub(crate) version: &'a str,
    pub(crate) metrics: &'a MetricRegistry,
    pub(crate) host: &'a H,
}

impl<H: Host> Definer<'_, H> {
    fn define(&self, kind: HostMetricKind, metric: Metric<'_>) -> Option<MetricId> {
        let Self { role, version, .. } = *self;
        let name = StatName::Role { rollout: &self.rollout.name, role, version, metric };
        self.metrics.define(self.host, kind, &name)
    }

    /// Defines one counter of theirs.
    pub(crate) fn counter(&self, metric: Metric<'_>) -> PendingCounter {
        PendingCounter::numbered(self.define(HostMetricKind::Counter, metric))
    }

    fn samples(&self, metric: Metric<'_>) -> Samples {
        Samples::numbered(self.define(HostMetricKind::Histogram, metric))
    }
}

/// What is counted of one role of a rollout under one version.
#[derive(Debug)]
struct RoleMetrics {
    role: Role,
    /// The version that it is counted under.
    version: String,
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
    /// The clients' first observations, in sticky rollouts.
    first: Option<FirstMetrics>,
}

/// What is counted of one role's clients at their first observation in a window.
#[derive(Debug)]
struct FirstMetrics {
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
    fn new<H: Host>(definer: &Definer<'_, H>, first: bool) -> Self {
        let samples = |every, of_first| definer.samples(if first { of_first } else { every });
        let timings = definer.rollout.timings;
        let first_byte = || samples(Metric::RqTtfbUs, Metric::RqTtfbFirstUs);
        Self {
            whole: samples(Metric::RqTimeUs, Metric::RqTimeFirstUs),
            first_byte: timings.ttfb.then(first_byte),
            gap: timings.gap.then(|| samples(Metric::RqGapUs, Metric::RqGapFirstUs)),
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
    fn all<H: Host>(definer: &Definer<'_, H>, first: bool) -> Vec<Self> {
        let of_signal = |signal: &Signal| {
            let name = signal.name.as_str();
            let counter = |bin: &String| {
                definer.counter(match first {
                    true => Metric::SignalFirst { signal: name, bin },
                    false => Metric::Signal { signal: name, bin },
                })
            };
            let bins = bin_names(signal).iter().map(counter).collect();
            let value = if first { Metric::ValueFirst(name) } else { Metric::Value(name) };
            let values = matches!(signal.bins, SignalBins::Values { .. });
            Self { bins, values: values.then(|| definer.samples(value)) }
        };
        definer.rollout.signals.iter().map(of_signal).collect()
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        self.bins.iter_mut().for_each(|counter| counter.flush(effects));
        if let Some(values) = &mut self.values {
            values.flush(effects);
        }
    }
}

/// How a finished request stands to the tests of times and signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// It ended under the weight generation that it was assigned under.
    pub(crate) present: bool,
    /// It is its client's first observation in the window.
    pub(crate) first: bool,
}

impl RoleMetrics {
    fn new<H: Host>(definer: &Definer<'_, H>) -> Self {
        let counter = |metric| definer.counter(metric);
        let first = definer.rollout.sticky().then(|| FirstMetrics {
            times_first: TimeMetrics::new(definer, true),
            signals_first: SignalMetrics::all(definer, true),
        });
        Self {
            role: definer.role,
            version: definer.version.to_owned(),
            total: counter(Metric::RqTotal),
            failure: counter(Metric::RqFailure),
            classes: [Metric::Rq2xx, Metric::Rq3xx, Metric::Rq4xx, Metric::Rq5xx].map(counter),
            abandoned: counter(Metric::RqAbandoned),
            broken: counter(Metric::RqBroken),
            overdue: counter(Metric::RqOverdue),
            rescued: counter(Metric::RqRescued),
            overridden: counter(Metric::RqForced),
            signals: SignalMetrics::all(definer, false),
            times: TimeMetrics::new(definer, false),
            first,
        }
    }

    fn count(
        &mut self,
        request: &ComparedRequest,
        observed: Observed,
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
        if !observed.present {
            return;
        }
        self.times.record(request, effects);
        count_readings(&mut self.signals, readings, effects);
        if let Some(first) = self.first.as_mut().filter(|_| observed.first) {
            first.times_first.record(request, effects);
            count_readings(&mut first.signals_first, readings, effects);
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
        if let Some(first) = &mut self.first {
            first.signals_first.iter_mut().for_each(|signal| signal.flush(effects));
            first.times_first.flush(effects);
        }
    }
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
    /// By the places of [`VersionPlaces`].
    versions: Vec<RoleMetrics>,
    /// The weight in force, in parts per million.
    pub(crate) weight_ppm: Gauge,
    /// 1 if the guard has tripped.
    pub(crate) guard_tripped: Gauge,
    /// 1 if the lease has run out.
    pub(crate) lease_expired: Gauge,
    /// The epoch in the runtime; 0 if none is set.
    pub(crate) epoch: Gauge,
    /// The age at which requests are judged, in seconds.
    pub(crate) outcome_age_seconds: Gauge,
}

impl RolloutMetrics {
    /// Defines a rollout's gauges.
    pub(crate) fn new(rollout: &Rollout, metrics: &MetricRegistry, host: &impl Host) -> Self {
        let gauge =
            |gauge| Gauge::new(metrics, host, &StatName::Rollout { rollout: &rollout.name, gauge });
        Self {
            versions: Vec::new(),
            weight_ppm: gauge(RolloutGauge::WeightPpm),
            guard_tripped: gauge(RolloutGauge::GuardTripped),
            lease_expired: gauge(RolloutGauge::LeaseExpired),
            epoch: gauge(RolloutGauge::Epoch),
            outcome_age_seconds: gauge(RolloutGauge::OutcomeAgeSeconds),
        }
    }

    /// The place of what is counted of a role under a version; `None` if it is new.
    pub(crate) fn place(&self, role: Role, version: &str) -> Option<usize> {
        self.versions.iter().position(|known| known.role == role && known.version == version)
    }

    /// Defines what is counted of a role under a version, and returns its place, the next one.
    pub(crate) fn add<H: Host>(&mut self, definer: &Definer<'_, H>) -> usize {
        self.versions.push(RoleMetrics::new(definer));
        self.versions.len() - 1
    }

    /// Counts a finished request under the versions that it was assigned under.
    pub(crate) fn count(
        &mut self,
        versions: VersionPlaces,
        outcome: &Outcome,
        observed: Observed,
        readings: &[SignalReading],
        effects: &mut Vec<Effect>,
    ) {
        let role = match outcome {
            Outcome::Diverted(_) => return,
            Outcome::Overridden(role) => *role,
            Outcome::Compared(request) => request.role,
        };
        let Some(metrics) = self.versions.get_mut(versions.place(role)) else {
            return;
        };
        match outcome {
            Outcome::Compared(request) => metrics.count(request, observed, readings, effects),
            Outcome::Diverted(_) | Outcome::Overridden(_) => metrics.overridden.add(1),
        }
    }

    /// Hands what has been counted to Envoy.
    pub(crate) fn flush(&mut self, effects: &mut Vec<Effect>) {
        self.versions.iter_mut().for_each(|metrics| metrics.flush(effects));
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
    pub(crate) fn new(metrics: &MetricRegistry, host: &impl Host) -> Self {
        let counter = |metric| PendingCounter::new(metrics, host, &StatName::Filter(metric));
        let poll_success = counter(FilterMetric::PollSuccess);
        let poll_failure = counter(FilterMetric::PollFailure);
        let invalid_runtime = counter(FilterMetric::InvalidRuntime);
        let config_rejected = counter(FilterMetric::ConfigRejected);
        let heartbeat = Gauge::new(metrics, host, &StatName::Filter(FilterMetric::Heartbeat));
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
