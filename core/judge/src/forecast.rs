//! What a rollout will take, before it starts: requests, the smallest regression it can see, harm.
//!
//! **Source.** Wald 1945: evidence grows by g nats a request on average, so a test needs about
//! ln(1/α)/g requests, and no test with the same error needs fewer than the relative entropy
//! allows, which g comes close to. g is the expected logarithmic factor of the best bet among those
//! that the test really makes:
//!
//! ```text
//! abort:    g = max over ρ of  w p_c ln a + (1 − w) p_s ln b − d w (a − 1)
//! certify:  g = max over a of  w p_c ln a + (1 − w) p_s ln(1 + r w/(1 − w) (1 − a)) + d w (1 − a)
//! ```
//!
//! The evidence that an abort takes is ln(metrics/falseAbort) plus ln 2: with the start mixture only
//! half of the stake is there at the beginning, and in rollouts with affinity the first window has half
//! of the error ([`abort_nats`]). In simulations the median of the abort test is 1.0 to 1.3 times what
//! the formula says, its 90th percentile 1.8 to 3.0 times; the non-inferiority test's median 0.75 to
//! 1.25 times.
//!
//! **What voids it.** Rates above about a fifth with half of the traffic (it is too pessimistic there);
//! rates other than those it is given; sticky clients, of which there are fewer than requests.

use super::counts::Sides;
use super::failure_abort::{RATIOS, Tolerated};
use super::non_inferiority::SHRINKS;

/// The simulated 90th percentile of the abort test, in multiples of Wald's formula.
pub const NINE_OF_TEN: f64 = 2.4;

/// The simulated median of the abort test, in multiples of Wald's formula.
pub const MEDIAN: f64 = 1.15;

/// Shares of requests, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The canary's share of requests: the weight.
    pub weight: f64,
    /// The share of the canary's requests that fail.
    pub canary: f64,
    /// The share of stable's.
    pub stable: f64,
}

/// One step of a rollout as the planner sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedStep {
    /// The weight, 0 to 1.
    pub weight: f64,
    /// All requests, of both versions, while it lasts.
    pub requests: f64,
}

/// Nats of evidence against the canary that a request brings on average; 0 where none can be expected.
pub fn abort_growth(tolerated: Tolerated, rates: Rates) -> f64 {
    let Rates { weight, canary, stable } = rates;
    let exposure = Sides { treatment: weight, control: 1.0 - weight };
    let growth = RATIOS.map(|alternative| {
        let factors = tolerated.factors(alternative, exposure);
        weight * canary * factors.treatment.ln() + (1.0 - weight) * stable * factors.control.ln()
            - tolerated.margin * weight * (factors.treatment - 1.0)
    });
    growth.into_iter().fold(0.0, f64::max)
}

/// Nats of evidence for certifying the canary (non-inferiority test) that a request brings on average.
pub fn non_inferiority_growth(tolerated: Tolerated, rates: Rates) -> f64 {
    let Rates { weight, canary, stable } = rates;
    if weight >= 1.0 {
        return 0.0;
    }
    let odds = tolerated.ratio * weight / (1.0 - weight);
    let growth = SHRINKS.map(|shrink| {
        weight * canary * shrink.ln()
            + (1.0 - weight) * stable * (odds * (1.0 - shrink)).ln_1p()
            + tolerated.margin * weight * (1.0 - shrink)
    });
    growth.into_iter().fold(0.0, f64::max)
}

/// The evidence that a rollback needs, in nats: ln(1/error), the error divided among so many metrics, and
/// ln 2 that the start mixture costs in rollouts without affinity.
pub fn abort_nats(false_abort: f64, metrics: usize) -> f64 {
    (metrics.max(1) as f64 / false_abort).ln() + std::f64::consts::LN_2
}

/// How many requests, of both versions, suffice for half of the regressions; `None` where the evidence
/// doesn't grow.
pub fn median_requests(nats: f64, growth: f64) -> Option<f64> {
    requests_needed(nats, growth).map(|needed| MEDIAN * needed)
}

/// How many requests, of both versions, a test needs on average for `nats` of evidence, by Wald's
/// formula alone: for `nats` = ln(1/error) about what the best of tests needs. `None` where the
/// evidence doesn't grow.
pub fn requests_needed(nats: f64, growth: f64) -> Option<f64> {
    (growth > 0.0).then(|| nats / growth)
}

/// The smallest failure share of the canary, 0 to 1, that a step of `requests` (of both versions) finds
/// with a power of 90 %; `None` where it would not even find a canary that always fails.
pub fn smallest_regression(
    tolerated: Tolerated,
    weight: f64,
    baseline: f64,
    nats: f64,
    requests: f64,
) -> Option<f64> {
    // Halving this often leaves nothing of the interval.
    const STEPS: u32 = 60;
    let found = |canary: f64| {
        let growth = abort_growth(tolerated, Rates { weight, canary, stable: baseline });
        growth * requests >= NINE_OF_TEN * nats
    };
    if !found(1.0) {
        return None;
    }
    let (mut missed, mut seen) = (0.0, 1.0);
    for _ in 0..STEPS {
        let middle = 0.5 * (missed + seen);
        if found(middle) {
            seen = middle;
        } else {
            missed = middle;
        }
    }
    Some(seen)
}

/// How many canary requests pass until a canary that fails `canary` of its requests, from the rollout's
/// start on, is rolled back. `nats` is the evidence that takes: [`abort_nats`] times [`MEDIAN`] or
/// [`NINE_OF_TEN`]. Evidence gathers from step to step; nothing is decided before a block of `block`
/// requests, of both versions, is full. `None` where the steps end before.
pub fn canary_requests_until_abort(
    tolerated: Tolerated,
    steps: &[PlannedStep],
    baseline: f64,
    canary: f64,
    nats: f64,
    block: f64,
) -> Option<f64> {
    let (mut gathered, mut seen) = (0.0, 0.0);
    for step in steps {
        let weight = step.weight;
        let growth = abort_growth(tolerated, Rates { weight, canary, stable: baseline });
        let needed = requests_needed((nats - gathered).max(0.0), growth);
        if let Some(needed) = needed.map(|needed| needed.max(block)).filter(|n| *n <= step.requests)
        {
            return Some(seen + needed * weight);
        }
        gathered += growth * step.requests;
        seen += step.requests * weight;
    }
    None
}

#[cfg(test)]
mod tests;
