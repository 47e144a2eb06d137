//! Does the canary convert less often than tolerated? Counting every request.
//!
//! **Source.** [`super::centered_bets`] with stable as the treatment, minus margin · X, as a mixture over the
//! ratios and over starting times. H0: `p_stable ≤ p_canary + margin`. Conversion shares are large where
//! failure shares are small, and the centered bets learn from requests that did not convert as well: they
//! find a tenth fewer conversions at a share of 50 % in half the requests that the failure test's bets take.
//!
//! **What voids it.** As for failures, and a version that merely converts later.

use serde::{Deserialize, Serialize};

use super::blocks::{Block, BlockUpdate};
use super::centered_bets::{Center, CenteredBets};
use super::counts::{Sides, Trials};
use super::mixture::Mixture;
use super::numerics::exact;

/// The abort test of conversions; all of it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConversionAbort {
    #[serde(with = "exact")]
    margin: f64,
    center: Center,
    mixture: Mixture<15>,
    block: Block<Sides<Trials>>,
}

impl ConversionAbort {
    /// A test that tolerates a difference of `margin`, its start mixture spread over so many blocks.
    pub(crate) fn new(margin: f64, planned_blocks: u64) -> Self {
        let mixture = Mixture::new(Some(planned_blocks));
        Self { margin, center: Center::default(), mixture, block: Block::default() }
    }

    /// One line, stable as the treatment. `left_out`: it has no stable request. Gives the block that it
    /// closed.
    pub(crate) fn observe(
        &mut self,
        tick: Sides<Trials>,
        left_out: bool,
    ) -> (BlockUpdate, Option<Sides<Trials>>) {
        let (update, closed) = self.block.add_requests(tick, left_out);
        let Some(block) = closed else { return (update, None) };
        let bets = CenteredBets::on(block, self.center);
        self.center.learn(&block.treatment);
        let mut factors = [0.0; 15];
        if let Some(CenteredBets { logs, exposure }) = bets {
            for ((factor, log), exposure) in factors.iter_mut().zip(logs).zip(exposure) {
                *factor = log - self.margin * exposure;
            }
        }
        self.mixture.bet(factors);
        (update, Some(block))
    }

    /// ln of the evidence that the canary converts less often than tolerated.
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
