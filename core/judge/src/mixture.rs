//! A mixture of bets: the mean of several e-values, so that none has to be chosen in advance.
//!
//! Each bet multiplies its stake by a factor whose mean is at most one while the canary is no worse
//! than tolerated; so does the mean of all bets (Robbins 1970, "method of mixtures").
//!
//! With a start mixture a part of each stake waits: half is there from the beginning, the rest comes
//! in equal parts before each of the planned blocks. Bets that begin late owe nothing to a long
//! healthy past, which would otherwise be a credit that a regression must first use up. Nothing
//! comes after the planned blocks: the stakes would sum to more than one.

use serde::{Deserialize, Serialize};

use super::numerics::{exact_array, log_add_exp, log_mean_exp};

/// No logarithm falls below this; a bet so far down is lost either way, and JSON knows no −∞.
const LOWEST: f64 = -1e6;

/// The logarithms of N equal bets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mixture<const N: usize> {
    #[serde(with = "exact_array")]
    logs: [f64; N],
    start: Option<StakeSchedule>,
}

/// How the stakes come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StakeSchedule {
    /// Over how many blocks.
    planned: u64,
    /// How many blocks there were so far.
    given: u64,
}

impl StakeSchedule {
    /// The part of the stake that has come in so far, 0.5 to 1.
    fn mass(self) -> f64 {
        0.5 + 0.5 * (self.given as f64 / self.planned as f64)
    }
}

impl<const N: usize> Mixture<N> {
    /// Bets at their stakes. `planned` blocks spread the stakes (none or 0: all is there at once).
    pub(crate) fn new(planned: Option<u64>) -> Self {
        let start = planned.filter(|planned| *planned > 0);
        let start = start.map(|planned| StakeSchedule { planned, given: 0 });
        Self { logs: [start.map_or(0.0, |start| start.mass().ln()); N], start }
    }

    /// The same bets at their stakes again.
    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.start.map(|start| start.planned));
    }

    /// Bets that join others late, as if theirs had neither won nor lost until now.
    pub(crate) fn joining<const M: usize>(others: &Mixture<M>) -> Self {
        let start = others.start;
        Self { logs: [start.map_or(0.0, |start| start.mass().ln()); N], start }
    }

    /// One block: first the stake that comes in now, then each bet's logarithmic factor.
    pub(crate) fn bet(&mut self, factors: [f64; N]) {
        self.stake();
        self.charge(factors);
    }

    /// Logarithmic factors that belong to no block.
    pub(crate) fn charge(&mut self, factors: [f64; N]) {
        for (log, factor) in self.logs.iter_mut().zip(factors) {
            // Not a number is no evidence.
            *log = (*log + if factor.is_nan() { 0.0 } else { factor }).clamp(LOWEST, -LOWEST);
        }
    }

    fn stake(&mut self) {
        let Some(start) = self.start.as_mut().filter(|start| start.given < start.planned) else {
            return;
        };
        start.given += 1;
        let part = -(2.0 * start.planned as f64).ln();
        for log in &mut self.logs {
            *log = log_add_exp(*log, part);
        }
    }

    /// ln of the mixture's e-value.
    pub(crate) fn log_mean(&self) -> f64 {
        log_mean_exp(self.logs.iter().copied())
    }

    /// The bets' logarithms, in their order.
    pub(crate) fn logs(&self) -> &[f64; N] {
        &self.logs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_bets() {
        let mut plain = Mixture::<2>::new(None);
        assert_eq!(plain.log_mean(), 0.0);
        plain.bet([3f64.ln(), 0.0]);
        assert!((plain.log_mean() - 2f64.ln()).abs() < 1e-12);
        plain.bet([f64::NAN, f64::NEG_INFINITY]);
        assert_eq!(plain.logs(), &[3f64.ln(), LOWEST]);
    }

    #[test]
    fn stakes_sum_to_one_and_stop() {
        let mut mixture = Mixture::<1>::new(Some(4));
        assert_eq!(mixture.log_mean(), 0.5f64.ln());
        for given in 1..=6u32 {
            mixture.bet([0.0]);
            let expected: f64 = 0.5 + 0.125 * f64::from(given.min(4));
            assert!((mixture.log_mean() - expected.ln()).abs() < 1e-12);
        }
    }

    #[test]
    fn the_stake_comes_before_the_factor() {
        let mut mixture = Mixture::<1>::new(Some(1));
        mixture.bet([10f64.ln()]);
        assert!((mixture.log_mean() - 10f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn late_bets_owe_nothing_to_the_past() {
        let run = |start| {
            let mut mixture = Mixture::<1>::new(start);
            for _ in 0..50 {
                mixture.bet([-1.0]);
            }
            for _ in 0..20 {
                mixture.bet([1.0]);
            }
            mixture.log_mean()
        };
        assert!(run(None) < -29.0);
        assert!(run(Some(100)) > 10.0);
    }

    #[test]
    fn joining_bets_have_the_stakes_so_far() {
        let mut first = Mixture::<1>::new(Some(4));
        first.bet([0.0]);
        let mut late = Mixture::<2>::joining(&first);
        assert!((late.log_mean() - first.log_mean()).abs() < 1e-12);
        first.bet([0.0]);
        late.bet([0.0; 2]);
        assert!((late.log_mean() - first.log_mean()).abs() < 1e-12);
    }

    #[test]
    fn json_is_exact_and_checked() {
        let mut mixture = Mixture::<3>::new(Some(7));
        for step in 1..6 {
            mixture.bet([0.1 / f64::from(step), -1.0 / 3.0, 1e-17]);
        }
        let text = serde_json::to_string(&mixture).unwrap();
        assert_eq!(serde_json::from_str::<Mixture<3>>(&text).unwrap(), mixture);
        assert!(serde_json::from_str::<Mixture<4>>(&text).is_err(), "another number of bets");
        let broken = text.replacen("\"-0.", "\"x0.", 1);
        assert!(broken != text && serde_json::from_str::<Mixture<3>>(&broken).is_err());
    }
}
