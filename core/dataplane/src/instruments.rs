//! A counter, a gauge and a histogram, with what they haven't handed over to Envoy yet.

use canary_model::stat_name::StatName;

use crate::effect::Effect;
use crate::host::{Host, HostMetricKind, MetricId};
use crate::metric_registry::MetricRegistry;

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
    /// The counter with this number; `None` counts nothing.
    pub(crate) fn numbered(id: Option<MetricId>) -> Self {
        Self { id, pending: 0 }
    }

    /// Defines a counter with this name.
    pub(crate) fn new(metrics: &MetricRegistry, host: &impl Host, name: &StatName<'_>) -> Self {
        Self::numbered(metrics.define(host, HostMetricKind::Counter, name))
    }

    /// Adds to the counter.
    pub(crate) fn add(&mut self, by: u64) {
        self.pending += by;
    }

    /// Hands over what was added.
    pub(crate) fn flush(&mut self, effects: &mut Vec<Effect>) {
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
    /// Defines a gauge with this name.
    pub(crate) fn new(metrics: &MetricRegistry, host: &impl Host, name: &StatName<'_>) -> Self {
        Self { id: metrics.define(host, HostMetricKind::Gauge, name), last: None }
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
pub(crate) struct Samples {
    id: Option<MetricId>,
    pending: Vec<u64>,
}

impl Samples {
    /// The histogram with this number; `None` keeps nothing.
    pub(crate) fn numbered(id: Option<MetricId>) -> Self {
        Self { id, pending: Vec::new() }
    }

    /// Keeps a sample until it is handed over.
    pub(crate) fn record(&mut self, value: u64, effects: &mut Vec<Effect>) {
        self.pending.push(value);
        if self.pending.len() >= MAX_SAMPLES {
            self.flush(effects);
        }
    }

    /// Hands over the samples that it took.
    pub(crate) fn flush(&mut self, effects: &mut Vec<Effect>) {
        let Some(id) = self.id else {
            self.pending.clear();
            return;
        };
        effects.extend(self.pending.drain(..).map(|value| Effect::Record(id, value)));
    }
}
