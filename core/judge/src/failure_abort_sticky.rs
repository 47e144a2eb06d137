//! Does the canary break more clients than tolerated? Counting clients, in rollouts with affinity.
//!
//! **Source.** The log-rank test's risk sets as an e-process (ter Schure, Pérez-Ortiz, Ly and
//! Grünwald, "safe logrank"), with the bets of the test of requests. What is assigned to a version is
//! a client, so a client counts once in a window: at its first failure. Exposed in a block are the
//! clients *at risk*: seen in the window so far and not failed before the block. The margin is a
//! share of clients; each canary client is charged once, −d·(ρ − 1), in the block that first sees it.
//!
//! **Why risk sets.** With the nominal split in their place, an arm whose weak clients have failed
//! already makes the other arm look bad in the next shared outage. **Why no start mixture:** a bet that
//! starts late would count failures of clients whose charge was paid before it; instead each window
//! starts again, and window j must reach j(j+1) times the evidence.
//!
//! **What voids it.** Failures counted for clients that were never seen (an observation without one
//! role's part must be dropped whole); clients that change sides within a window; clients of one arm
//! that are others than those of the other.

use serde::{Deserialize, Serialize};

use super::blocks::{Block, BlockUpdate, Change};
use super::counts::{Merge, Sides};
use super::failure_abort::{RATIOS, Tolerated};
use super::mixture::Mixture;
use super::numerics::times_ln;

/// What one line says of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientTick {
    /// Requests, which say when a block closes.
    pub(crate) requests: Sides<u64>,
    /// Clients at their first request in the window.
    pub(crate) seen: Sides<u64>,
    /// Clients at their first event.
    pub(crate) events: Sides<u64>,
}

impl Merge for ClientTick {
    fn merge(&mut self, more: &Self) {
        self.requests.merge(&more.requests);
        self.seen.merge(&more.seen);
        self.events.merge(&more.events);
    }
}

/// The test's state in its window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClientAbort {
    tolerated: Tolerated,
    mixture: Mixture<13>,
    /// Seen before the open block and not failed before it.
    at_risk: Sides<u64>,
    block: Block<ClientTick>,
}

impl ClientAbort {
    pub(crate) fn new(tolerated: Tolerated) -> Self {
        let mixture = Mixture::new(None);
        Self { tolerated, mixture, at_risk: Sides::default(), block: Block::default() }
    }

    /// One line; `None` where a role's part is missing. `left_out`: it has no stable request. Gives the
    /// block that it closed.
    pub(crate) fn observe(
        &mut self,
        tick: Option<ClientTick>,
        change: Option<Change>,
        left_out: bool,
    ) -> (BlockUpdate, Option<ClientTick>) {
        match change {
            Some(Change::Window) => *self = Self::new(self.tolerated),
            Some(Change::Weight) => {
                let discarded = self.block.discard();
                self.pass(&discarded);
            }
            None => {}
        }
        let Some(tick) = tick else { return (BlockUpdate::Dropped, None) };
        if change.is_some() || left_out {
            self.pass(&tick);
            return (BlockUpdate::LeftOut, None);
        }
        let size = tick.requests.treatment.saturating_add(tick.requests.control);
        let Some(block) = self.block.add(&tick, size) else {
            return (BlockUpdate::Open, None);
        };
        self.update(&block);
        (BlockUpdate::closed(block.requests), Some(block))
    }

    /// What is left out is not compared, but its new clients are at risk from now on and charged all the
    /// same, and those that failed in it can't fail again.
    fn pass(&mut self, left_out: &ClientTick) {
        self.charge(left_out.seen.treatment);
        let after = |at_risk: u64, seen: u64, failed: u64| {
            at_risk.saturating_add(seen).saturating_sub(failed)
        };
        let Sides { treatment, control } = self.at_risk;
        self.at_risk = Sides {
            treatment: after(treatment, left_out.seen.treatment, left_out.events.treatment),
            control: after(control, left_out.seen.control, left_out.events.control),
        };
    }

    fn update(&mut self, block: &ClientTick) {
        // Who failed in the block was at risk in it, even if the line that first saw the client got lost.
        let exposed =
            |at_risk: u64, seen: u64, failed: u64| at_risk.saturating_add(seen).max(failed);
        let Sides { treatment, control } = self.at_risk;
        let treatment = exposed(treatment, block.seen.treatment, block.events.treatment);
        let control = exposed(control, block.seen.control, block.events.control);
        let exposure = Sides { treatment: treatment as f64, control: control as f64 };
        self.mixture.bet(RATIOS.map(|alternative| {
            let factors = self.tolerated.factors(alternative, exposure);
            times_ln(block.events.treatment as f64, factors.treatment)
                + times_ln(block.events.control as f64, factors.control)
        }));
        self.charge(block.seen.treatment);
        self.at_risk = Sides {
            treatment: treatment.saturating_sub(block.events.treatment),
            control: control.saturating_sub(block.events.control),
        };
    }

    /// An operator goes on in spite of the evidence: it is gathered again, from the clients that are still at
    /// risk, as if they were first seen now.
    pub(crate) fn restart(&mut self) {
        let discarded = self.block.discard();
        self.pass(&discarded);
        self.mixture.restart();
        self.charge(self.at_risk.treatment);
    }

    fn charge(&mut self, first_seen: u64) {
        let charge = self.tolerated.margin * first_seen as f64;
        self.mixture.charge(RATIOS.map(|alternative| -charge * (alternative - 1.0)));
    }

    /// ln of the evidence that the treatment is beyond what is tolerated, in this window alone.
    pub(crate) fn log_e(&self) -> f64 {
        self.mixture.log_mean()
    }

    /// How many requests the open block holds.
    pub(crate) const fn open(&self) -> u64 {
        self.block.size()
    }
}

#[cfg(test)]
mod tests;
