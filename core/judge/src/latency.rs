//! Is the canary slower than tolerated, at any quantile?
//!
//! **Source.** The test of [`super::quantile_shift`] upwards, on the histogram of one timing: the whole
//! time of a request, the time to the first byte, or the time between chunks.
//!
//! **What voids it.** One observation for each request where clients differ in speed and stick to a
//! version (with affinity, first observations are read); pods or nodes of different speed, with a
//! tolerance below 1.1 to 1.2; caches colder than 50 requests warm. What it can't see: a canary that is
//! slower by less than the bin is wide.

use serde::{Deserialize, Serialize};

use super::blocks::{BlockUpdate, TickContext};
use super::counts::Pair;
use super::effects::EffectEstimate;
use super::observation::Observation;
use super::quantile_shift::{QuantileShift, StrongestQuantile, known};
use super::spec::Worse;
use super::timing::Timing;
use super::verdict::{Findings, InsufficientData};

/// The latency test; all of it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    timing: Timing,
    test: QuantileShift,
}

impl Latency {
    /// A test of one timing with the tolerated factors at each of [`super::spec::QUANTILES`], its start
    /// mixture spread over `planned_blocks`.
    pub(crate) fn new(timing: Timing, tolerances: [f64; 9], planned_blocks: Option<u64>) -> Self {
        Self { timing, test: QuantileShift::new(Worse::Higher, tolerances, planned_blocks) }
    }

    /// Read first observations, without a start mixture. Before the first line.
    pub(crate) fn count_clients(&mut self) {
        self.test.count_clients();
    }

    /// A step begins with the next line.
    pub(crate) fn begin_step(&mut self) {
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

    /// Takes the next line into the open block, and tests the block when that closes it.
    pub(crate) fn observe(&mut self, tick: &TickContext, line: &Observation) -> BlockUpdate {
        let roles = Pair { stable: &line.roles.stable, canary: &line.roles.canary };
        let times = roles.map(|role| role.durations(self.timing, tick.sticky));
        self.test.observe(tick, line.requests().canary, known(times, tick.sticky))
    }

    /// ln of the evidence that the canary is slower than tolerated.
    pub(crate) fn log_e(&self) -> f64 {
        self.test.log_e()
    }

    /// The quantile with the strongest evidence.
    pub(crate) fn findings(&self) -> Findings {
        let StrongestQuantile { quantile, edge, tolerance, counts, .. } = self.test.strongest();
        let quantile = quantile.into();
        Findings::Quantile { timing: self.timing, quantile, edge_us: edge, tolerance, counts }
    }

    /// What the test needs for its first or next block.
    pub(crate) fn missing(&self) -> Option<InsufficientData> {
        self.test.missing()
    }
}

#[cfg(test)]
mod tests;
