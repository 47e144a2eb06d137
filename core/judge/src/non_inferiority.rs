//! Is the canary certainly no worse than the margin? The evidence to advance on.
//!
//! **Source.** The bets of the test of failures with the inequality reversed (Turner, Ly and Grünwald 2024). H0': the
//! canary is bad, `p_canary ≥ ratio · p_stable + margin`. For each a < 1 of the grid, per block:
//!
//! ```text
//! b = 1 + r·(n_c/n_s)·(1 − a)     L_a += e_c ln a + e_s ln b + d·n_c·(1 − a)
//! ```
//!
//! A canary at or beyond the margin is ever certified with a probability of at most β = 5 %. A bad one
//! must pass every metric's gate at every step, so β is not divided among them (Berger 1982).
//!
//! In rollouts with affinity the unit is a client's *first request* in the window, and n_c : n_s is
//! the nominal split: a client that was just seen has had no time to fail later, so counting any failure
//! would certify a canary that breaks its clients slowly. A step longer than a window certifies per
//! window at β/(j(j+1)), j from the step's first.
//!
//! The count begins with the step, without a start mixture; once certified, the canary stays so until
//! the next step.
//!
//! **What voids it.** As for the test of failures; with affinity also a true split other than the
//! nominal one, and events that only a later request of the client can show.

use serde::{Deserialize, Serialize};

use super::blocks::{Block, Change, TickContext, window_share};
use super::counts::{Sides, Trials};
use super::failure_abort::Tolerated;
use super::mixture::Mixture;
use super::numerics::{exact, times_ln};
use super::verdict::NonInferiorityFigures;

/// The alternatives: how many times the margin's rate the treatment's may be.
pub(crate) const SHRINKS: [f64; 10] = [0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98];

/// The probability with which a canary at the margin is certified at most.
pub const BETA: f64 = 0.05;

/// What one line brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NonInferiorityTick {
    /// Both sides' trials and events.
    pub(crate) counts: Sides<Trials>,
    /// How many requests it has, for the block's closing.
    pub(crate) size: u64,
    /// It has no stable request.
    pub(crate) left_out: bool,
}

/// The test's state in its step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NonInferiority {
    /// What the file says.
    tolerated: Tolerated,
    /// What this step certifies.
    #[serde(with = "exact")]
    margin: f64,
    mixture: Mixture<10>,
    block: Block<Sides<Trials>>,
    /// The window's number within the step; 0 before the step's first line.
    window: u64,
    certified_at: Option<f64>,
}

impl NonInferiority {
    pub(crate) fn new(tolerated: Tolerated) -> Self {
        Self {
            tolerated,
            margin: tolerated.margin,
            mixture: Mixture::new(None),
            block: Block::default(),
            window: 0,
            certified_at: None,
        }
    }

    /// A step begins: everything is counted again, for another margin if one is given.
    pub(crate) fn begin_step(&mut self, margin: Option<f64>) {
        self.margin = margin.unwrap_or(self.tolerated.margin);
        self.certified_at = None;
        self.window = 0;
        self.restart();
    }

    fn restart(&mut self) {
        self.mixture = Mixture::new(None);
        self.block.discard();
    }

    /// One line; `None` where a part is missing. `split` is the nominal treatment : control, in
    /// rollouts with affinity; without it the measured one counts.
    pub(crate) fn observe(
        &mut self,
        tick: &TickContext,
        counted: Option<NonInferiorityTick>,
        split: Option<f64>,
    ) {
        if self.window == 0 {
            self.window = 1;
        } else if tick.change == Some(Change::Window) {
            self.window = self.window.saturating_add(1);
            self.restart();
        }
        // Without affinity a block may hold requests of two weights: see `blocks::Change`.
        if tick.sticky && tick.change.is_some() {
            self.block.discard();
            return;
        }
        let Some(counted) = counted.filter(|counted| !counted.left_out) else { return };
        let Some(block) = self.block.add(&counted.counts, counted.size) else { return };
        self.update(block, split);
        if self.certified_at.is_none() && self.mixture.log_mean() >= self.log_limit(tick.sticky) {
            self.certified_at = Some(tick.t);
        }
    }

    fn update(&mut self, block: Sides<Trials>, split: Option<f64>) {
        let (treatment, control) = (block.treatment.trials as f64, block.control.trials as f64);
        let split = split.unwrap_or(treatment / control);
        if !split.is_finite() {
            return;
        }
        self.mixture.bet(SHRINKS.map(|shrink| {
            let raised = 1.0 + self.tolerated.ratio * split * (1.0 - shrink);
            times_ln(block.treatment.events as f64, shrink)
                + times_ln(block.control.events as f64, raised)
                + self.margin * treatment * (1.0 - shrink)
        }));
    }

    fn log_limit(&self, sticky: bool) -> f64 {
        let share = if sticky { window_share(self.window) } else { 1.0 };
        -(BETA * share).ln()
    }

    /// Whether it was reached in this step.
    pub(crate) const fn certified(&self) -> bool {
        self.certified_at.is_some()
    }

    /// The figures that a verdict shows.
    pub(crate) fn figures(&self, sticky: bool) -> NonInferiorityFigures {
        NonInferiorityFigures {
            certified_at: self.certified_at,
            log_e: self.mixture.log_mean(),
            log_limit: self.log_limit(sticky),
            margin: self.margin,
        }
    }
}

#[cfg(test)]
mod tests;
