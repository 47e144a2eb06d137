//! Does the canary fail more often than tolerated? Counting every request.
//!
//! **Source.** The Poisson form of the reverse-information-projection e-variable for two rates
//! (Turner, Ly and Grünwald 2024; with ratio 1 and margin 0 the conditional test of Lindon and Malek
//! 2022 on the measured split), as a mixture over thirteen ratios and over starting times. H0:
//! `p_canary ≤ ratio · p_stable + margin`. In a block with n_c, n_s requests and e_c, e_s failures,
//! for each ratio ρ of the grid:
//!
//! ```text
//! D_ρ = ρ·r·n_c + n_s     D_1 = r·n_c + n_s     a = ρ·D_1/D_ρ     b = D_1/D_ρ
//! L_ρ += e_c ln a + e_s ln b − d·n_c·(a − 1)
//! ```
//!
//! **Why it holds.** By 1 + x ≤ eˣ a factor's mean is at most
//! exp(n_c p_c (a−1) − n_s p_s (1−b)) ≤ 1, whatever p_s is and however it moves from block to block:
//! shared incidents cancel. Ville's inequality (1939) then bounds the probability of ever reaching
//! 1/α by α.
//!
//! **What voids it.** Failures that aren't independent given the block's rates, above all clients
//! that fail again and again on one arm (with affinity, use the test of clients instead); losing
//! requests but not their failures; different traffic or worse machines for the canary; rates that
//! move within a block in step with the canary's share.

use serde::{Deserialize, Serialize};

use super::blocks::{Block, BlockUpdate};
use super::counts::{Sides, Trials};
use super::mixture::Mixture;
use super::numerics::{exact, times_ln};

/// The alternatives: how many times the tolerated rate the treatment's may be.
pub(crate) const RATIOS: [f64; 13] =
    [1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0, 1000.0];

/// What H0 tolerates: `p_suspect ≤ ratio · p_reference + margin`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerated {
    /// How many times the control's rate.
    #[serde(with = "exact")]
    pub ratio: f64,
    /// And how much more, as a fraction.
    #[serde(with = "exact")]
    pub margin: f64,
}

impl Tolerated {
    /// The factors a and b of an event of the treatment and of the control, for one of [`RATIOS`]
    /// and the two sides' exposures (requests, or clients at risk). With no exposure both are one;
    /// with none of the treatment, b is; with none of the control, a is.
    pub(crate) fn factors(&self, alternative: f64, exposure: Sides<f64>) -> Sides<f64> {
        let treatment = self.ratio * exposure.treatment;
        let even = treatment + exposure.control;
        if even <= 0.0 {
            return Sides { treatment: 1.0, control: 1.0 };
        }
        let tilted = alternative * treatment + exposure.control;
        Sides { treatment: alternative * even / tilted, control: even / tilted }
    }
}

/// The abort test of requests; all of it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RequestAbort {
    tolerated: Tolerated,
    mixture: Mixture<13>,
    block: Block<Sides<Trials>>,
}

impl RequestAbort {
    /// A test whose start mixture is spread over so many blocks.
    pub(crate) fn new(tolerated: Tolerated, planned_blocks: u64) -> Self {
        Self { tolerated, mixture: Mixture::new(Some(planned_blocks)), block: Block::default() }
    }

    /// One line. `left_out`: it has no stable request. Gives the block that it closed.
    pub(crate) fn observe(
        &mut self,
        tick: Sides<Trials>,
        left_out: bool,
    ) -> (BlockUpdate, Option<Sides<Trials>>) {
        let (update, closed) = self.block.add_requests(tick, left_out);
        let Some(block) = closed else { return (update, None) };
        self.update(block);
        (update, Some(block))
    }

    fn update(&mut self, block: Sides<Trials>) {
        let exposure = Sides {
            treatment: block.treatment.trials as f64,
            control: block.control.trials as f64,
        };
        let charge = self.tolerated.margin * exposure.treatment;
        self.mixture.bet(RATIOS.map(|alternative| {
            let factors = self.tolerated.factors(alternative, exposure);
            times_ln(block.treatment.events as f64, factors.treatment)
                + times_ln(block.control.events as f64, factors.control)
                - charge * (factors.treatment - 1.0)
        }));
    }

    /// ln of the evidence that the treatment is beyond what is tolerated.
    pub(crate) fn log_e(&self) -> f64 {
        self.mixture.log_mean()
    }

    /// An operator goes on in spite of the evidence: it is gathered again.
    pub(crate) fn restart(&mut self) {
        self.mixture.restart();
        self.block.discard();
    }

    /// How many requests the open block holds.
    pub(crate) const fn open(&self) -> u64 {
        self.block.size()
    }
}

#[cfg(test)]
mod tests;
