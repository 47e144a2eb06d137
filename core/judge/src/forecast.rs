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
//! The non-inferiority test's median is 0.75 to 1.25 times what the formula says. For the abort test it is
//! only a bound: [`abort`] has the forecast.
//!
//! **What voids it.** Rates above about a fifth with half of the traffic (it is too pessimistic there);
//! rates other than those it is given; sticky clients, of which there are fewer than requests.

mod abort;

pub use abort::{AbortTest, Percentile, PlannedStep, RegressionBegins, UntilAbort};

use super::counts::Sides;
use super::failure_abort::{RATIOS, Tolerated};
use super::non_inferiority::SHRINKS;

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

/// How many requests, of both versions, a test needs on average for `nats` of evidence, by Wald's
/// formula alone: for `nats` = ln(1/error) about what the best of tests needs. `None` where the
/// evidence doesn't grow.
pub fn requests_needed(nats: f64, growth: f64) -> Option<f64> {
    (growth > 0.0).then(|| nats / growth)
}

#[cfg(test)]
mod tests;
