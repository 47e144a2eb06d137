//! Are the canary's values higher or lower than tolerated, at any quantile?
//!
//! **Source.** The test of [`super::quantile_shift`] on the histogram of a signal with `values`, in the
//! direction that the file calls worse, or in both. Values that a proxy could not read are in no histogram;
//! if none of either version's could be read, the signal has no data, and the metric holds the rollout.
//!
//! **What it can't see.** A change that comes from fewer than 0.05 % of the values (a few enormous bills):
//! the outermost quantile is the 99.95th. With a tolerance above 1, small whole numbers: between e and
//! 1.1 · e there is no other number below 10. A factor tolerates nothing at zero: zeros that become more
//! are found at once downwards whatever the tolerance.
//!
//! **What voids it.** Several observations of one client (with affinity, first observations are read);
//! different inputs for the canary.

use serde::{Deserialize, Serialize};

use super::blocks::{BlockUpdate, TickContext};
use super::counts::{Merge, Pair};
use super::effects::EffectEstimate;
use super::observation::Observation;
use super::quantile_shift::{QuantileShift, ShiftDirection, StrongestQuantile, known};
use super::readable::{ReadableCount, UNREADABLE};
use super::spec::Worse;
use super::verdict::{Findings, InsufficientData};
use canary_model::histogram::Histogram;

/// The test of values; all of it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ValuesTest {
    signal: String,
    test: QuantileShift,
    /// Of the values since the step's start, compared or not.
    step: ReadableCount,
}

impl ValuesTest {
    /// A test of a signal that tolerates one factor at every quantile, its start mixture spread over
    /// `planned_blocks`.
    pub(crate) fn new(
        signal: &str,
        worse: Worse,
        tolerance: f64,
        planned_blocks: Option<u64>,
    ) -> Self {
        let test = QuantileShift::new(worse, [tolerance; 9], planned_blocks);
        Self { signal: signal.to_owned(), test, step: ReadableCount::default() }
    }

    /// A step begins: it wants values of its own that can be read.
    pub(crate) fn begin_step(&mut self) {
        self.step = ReadableCount::default();
        self.test.begin_step();
    }

    /// An operator goes on in spite of the evidence: it is gathered again.
    pub(crate) fn restart(&mut self) {
        self.test.restart();
    }

    /// Leaves out the effect from now on.
    pub(crate) fn without_effect(&mut self) {
        self.test.without_effect();
    }

    /// The canary's quantiles divided by stable's, since the start and since the step.
    pub(crate) fn effects(&self, metric: &str) -> Vec<EffectEstimate> {
        self.test.effects(metric)
    }

    /// Read first observations, without a start mixture. Before the first line.
    pub(crate) fn count_clients(&mut self) {
        self.test.count_clients();
    }

    /// Takes the next line into the open block, and tests the block when that closes it.
    pub(crate) fn observe(&mut self, tick: &TickContext, line: &Observation) -> BlockUpdate {
        let by_signal = if tick.sticky { &line.values_first } else { &line.values };
        let parts = by_signal.get(&self.signal);
        let parts = parts.map_or_else(Pair::default, |parts| Pair {
            stable: parts.stable.as_ref(),
            canary: parts.canary.as_ref(),
        });
        let read = Pair::map(parts, |part| part.map_or(0, Histogram::count)).sum();
        self.step.note(read, self.unreadable(line, tick.sticky));
        self.test.observe(tick, line.requests().canary, known(parts, tick.sticky))
    }

    /// How many of both versions' values the line says could not be read.
    fn unreadable(&self, line: &Observation, sticky: bool) -> u64 {
        let signals = if sticky { &line.signals_first } else { &line.signals };
        let Some(Pair { stable, canary }) = signals.get(&self.signal) else { return 0 };
        let mut sum = 0;
        for classes in [stable, canary].into_iter().flatten() {
            sum.merge(classes.get(UNREADABLE).unwrap_or(&0));
        }
        sum
    }

    /// ln of the evidence that the canary's values are shifted by more than tolerated.
    pub(crate) fn log_e(&self) -> f64 {
        self.test.log_e()
    }

    /// The quantile with the strongest evidence.
    pub(crate) fn findings(&self) -> Findings {
        let StrongestQuantile { quantile, direction, edge, tolerance, counts } =
            self.test.strongest();
        let (signal, quantile) = (self.signal.clone(), quantile.into());
        let lower = direction == ShiftDirection::Downwards;
        Findings::Value { signal, quantile, lower, edge, tolerance, counts }
    }

    /// What the test needs for its first or next block.
    pub(crate) fn missing(&self) -> Option<InsufficientData> {
        self.step.missing(&self.signal).or_else(|| self.test.missing())
    }
}

#[cfg(test)]
mod tests;
