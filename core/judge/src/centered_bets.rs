//! Bets on a difference of two shares that know about how large the shares are.
//!
//! **Source.** STATISTICS 1.9: the bets of the failure test, centered. In a block with n requests, n_t of the
//! treatment and n_c of the control, with z = (stable's events so far)/(stable's requests so far + 100)
//! taken before the block, for each ratio ρ of the grid:
//!
//! ```text
//! λ_t = ρ·n/(ρ·n_t + n_c) − 1   so that λ_t·z ≤ ½       λ_c = λ_t·n_t/n_c   so that λ_c·(1 − z) ≤ 0.999
//! S += e_t ln(1 + λ_t(1−z)) + (n_t − e_t) ln(1 − λ_t z) + e_c ln(1 − λ_c(1−z)) + (n_c − e_c) ln(1 + λ_c z)
//! X += n_t·λ_t
//! ```
//!
//! **Why it holds.** By 1 + x ≤ eˣ and n_c·λ_c = n_t·λ_t, the mean of exp(S − d·X) over a block is at most
//! exp(n_t λ_t (p_t − p_c − d)): at most one wherever the difference is at most d, of either sign and
//! whatever the shares are. With z = 0 it is the failure test's bet. Large shares are where z pays: a
//! success is then information, too.

use serde::{Deserialize, Serialize};

use super::counts::{Merge, Sides, Trials};
use super::numerics::times_ln;

/// The alternatives: how many times the control's share the treatment's may be.
pub(crate) const CENTERED_RATIOS: [f64; 15] =
    [1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0, 1000.0];
/// Requests without an event that the center begins with, so that a few can't move it far.
const PRIOR_TRIALS: f64 = 100.0;
/// How much of its stake a bet may lose on a treatment's request without an event.
const MOST_OF_CENTER: f64 = 0.5;
/// How much it may lose on an event of the control.
const MOST_OF_EVENT: f64 = 0.999;

/// Stable's share of events before the block: what the bets are centered on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Center(Trials);

impl Center {
    /// The share z, from 0 to below 1.
    fn share(self) -> f64 {
        self.0.events as f64 / (self.0.trials as f64 + PRIOR_TRIALS)
    }

    /// Adds stable's part of a block that has been bet on.
    pub(crate) fn learn(&mut self, stable: &Trials) {
        self.0.merge(stable);
    }
}

/// What one block brings to each of [`CENTERED_RATIOS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CenteredBets {
    /// S: the logarithmic factor at a difference of 0.
    pub(crate) logs: [f64; 15],
    /// X: what a unit of difference takes from the logarithm.
    pub(crate) exposure: [f64; 15],
}

impl CenteredBets {
    /// The bets on one block; `None` where it lacks a side, so that there is nothing to compare.
    pub(crate) fn on(block: Sides<Trials>, center: Center) -> Option<Self> {
        let (nt, nc) = (block.treatment.trials as f64, block.control.trials as f64);
        if nt <= 0.0 || nc <= 0.0 {
            return None;
        }
        let z = center.share();
        let (et, ec) = (block.treatment.events as f64, block.control.events as f64);
        let mut bets = Self { logs: [0.0; 15], exposure: [0.0; 15] };
        let slots = bets.logs.iter_mut().zip(&mut bets.exposure);
        for ((log, exposure), ratio) in slots.zip(CENTERED_RATIOS) {
            let stakes = stakes(ratio, Sides { treatment: nt, control: nc }, z);
            let (treatment, control) = (stakes.treatment, stakes.control);
            *log = times_ln(et, 1.0 + treatment * (1.0 - z))
                + times_ln((nt - et).max(0.0), 1.0 - treatment * z)
                + times_ln(ec, 1.0 - control * (1.0 - z))
                + times_ln((nc - ec).max(0.0), 1.0 + control * z);
            *exposure = nt * treatment;
        }
        Some(bets)
    }
}

/// λ of both sides, after the caps.
fn stakes(ratio: f64, n: Sides<f64>, z: f64) -> Sides<f64> {
    let all = n.treatment + n.control;
    let wanted = ratio * all / (ratio * n.treatment + n.control) - 1.0;
    let treatment = if wanted * z > MOST_OF_CENTER { MOST_OF_CENTER / z } else { wanted };
    let control = treatment * n.treatment / n.control;
    if control * (1.0 - z) <= MOST_OF_EVENT {
        return Sides { treatment, control };
    }
    let control = MOST_OF_EVENT / (1.0 - z);
    Sides { treatment: control * n.control / n.treatment, control }
}

#[cfg(test)]
mod tests;
