//! The e-variables for two shares that latency and drift are made of.
//!
//! **Source.** Turner, Ly and Grünwald 2024 (two-by-two tables): with n_c, n_s observations of which
//! y_c, y_s are "yes", and plug-in shares q (canary, the alternative) and p (stable) that were fixed
//! before the block, each observation bets its own share against the null's best answer. If the
//! null is "equal" (or "the canary's is no larger"), the best answer is the pooled share
//! (n_c q + n_s p)/(n_c + n_s); if a difference δ is tolerated, it is the pair (z + δ, z) whose
//! information projection solves an equation in z.

use super::counts::{Pair, Trials};
use super::numerics::times_ln;

/// The share to which odds of `odds` to 1 times those of `share` belong.
pub(crate) fn tilt(share: f64, odds: f64) -> f64 {
    odds * share / (1.0 - share + odds * share)
}

/// ln of the factor for "the canary's share is stable's": the canary's alternative is `canary`,
/// stable's plug-in `stable`, both strictly between 0 and 1.
pub(crate) fn equal_shares(counts: Pair<Trials>, canary: f64, stable: f64) -> f64 {
    let (nc, ns) = (counts.canary.trials as f64, counts.stable.trials as f64);
    if nc <= 0.0 || ns <= 0.0 {
        return 0.0;
    }
    let pooled = (nc * canary + ns * stable) / (nc + ns);
    log_factor(counts.canary, canary, pooled) + log_factor(counts.stable, stable, pooled)
}

/// [`equal_shares`] is linear in how many of the canary's are "yes": its value if none is, and what each adds.
pub(crate) fn equal_shares_by_yes(
    stable_counts: Trials,
    canary_trials: u64,
    canary: f64,
    stable: f64,
) -> (f64, f64) {
    let (nc, ns) = (canary_trials as f64, stable_counts.trials as f64);
    if nc <= 0.0 || ns <= 0.0 {
        return (0.0, 0.0);
    }
    let pooled = (nc * canary + ns * stable) / (nc + ns);
    // Term by term as `log_factor` has it, but each logarithm once.
    let (log_yes, log_no) = ((canary / pooled).ln(), ((1.0 - canary) / (1.0 - pooled)).ln());
    let others = (canary_trials - 1) as f64;
    let one_yes = log_yes + if others > 0.0 { others * log_no } else { 0.0 };
    let of_stable = log_factor(stable_counts, stable, pooled);
    let (none, one) = (nc * log_no + of_stable, one_yes + of_stable);
    (none, one - none)
}

/// ln of the factor for "the canary's share is at most stable's plus `tolerated`"; `canary` must lie
/// above `stable + tolerated`, else the block says nothing.
pub(crate) fn tolerated_difference(
    counts: Pair<Trials>,
    canary: f64,
    stable: f64,
    tolerated: f64,
) -> f64 {
    let (nc, ns) = (counts.canary.trials as f64, counts.stable.trials as f64);
    let sound = stable > 0.0 && canary > stable + tolerated && canary < 1.0;
    if nc <= 0.0 || ns <= 0.0 || !sound {
        return 0.0;
    }
    let z = projection(nc / (nc + ns), canary, stable, tolerated);
    log_factor(counts.canary, canary, z + tolerated) + log_factor(counts.stable, stable, z)
}

fn log_factor(counts: Trials, bet: f64, null: f64) -> f64 {
    let (yes, no) = (counts.events as f64, counts.trials.saturating_sub(counts.events) as f64);
    times_ln(yes, bet / null) + times_ln(no, (1.0 - bet) / (1.0 - null))
}

/// The z at which the pair (z + δ, z) lies closest to (q, p) in relative entropy, weighted by the
/// canary's share w of the observations: the zero of
/// `w[−q/(z+δ) + (1−q)/(1−z−δ)] + (1−w)[−p/z + (1−p)/(1−z)]`, which rises from z = p, where the
/// second bracket is zero and the first negative, to z = q − δ, where it is the other way round.
fn projection(w: f64, q: f64, p: f64, delta: f64) -> f64 {
    // Each step halves the interval; after so many it is below a float's resolution.
    const STEPS: u32 = 52;
    let (mut low, mut high) = (p, q - delta);
    for _ in 0..STEPS {
        let z = 0.5 * (low + high);
        let canary = (1.0 - q) / (1.0 - z - delta) - q / (z + delta);
        let stable = (1.0 - p) / (1.0 - z) - p / z;
        if w * canary + (1.0 - w) * stable < 0.0 {
            low = z;
        } else {
            high = z;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests;
