//! The decision rules of Flagger, Argo Rollouts and Kayenta, re-implemented from their documented
//! defaults: rules on the same streams, not the products.
//!
//! - Flagger ("Canary analysis"): `interval: 1m`, `threshold: 5`, `request-success-rate` at least 99 %,
//!   `request-duration` p99 at most 500 ms. Failed checks add up over the whole analysis; a check
//!   without canary requests fails; the rollback comes with the interval after the fifth.
//! - Argo Rollouts ("Analysis & Progressive Delivery"): the success-rate example, at least 95 %,
//!   `failureLimit: 3`, so the fourth failed measurement fails the run. MinuteFigures each minute, not
//!   each five as in the example: in its favour.
//! - Kayenta (`NetflixACAJudge`): one metric, a value a minute for each version, judged each ten
//!   minutes on all of them: see [`kayenta`].
//!
//! Each sees one minute at a time of what the judge sees each second.

mod kayenta;

use canary_judge::counts::{Pair, Trials};
use canary_judge::observation::{Observation, RoleCounts};
use canary_model::histogram::Histogram;

use super::outcome::RunOutcome;
use kayenta::Kayenta;

/// The names, in the order of all columns.
pub(super) const NAMES: [&str; 3] = ["Flagger*", "Argo*", "Kayenta*"];

const MINUTE: u64 = 60;

/// What a minute's value is.
#[derive(Clone, Debug)]
enum MinuteFigures {
    /// The share of failed requests.
    Failures,
    /// The 99th percentile of durations, in microseconds.
    P99,
    /// The share of a class among a signal's values.
    Class(&'static str, &'static str),
}

/// The three rules, watching one metric.
#[derive(Clone, Debug)]
pub(super) struct Rivals {
    measured: MinuteFigures,
    minute: Pair<Minute>,
    seconds: u64,
    flagger: Option<Flagger>,
    argo: Option<Argo>,
    kayenta: Kayenta,
    outcomes: [Option<RunOutcome>; 3],
}

/// What one version did in the minute.
#[derive(Clone, Debug, Default)]
struct Minute {
    trials: Trials,
    times: Histogram,
}

impl Rivals {
    fn new(measured: MinuteFigures, flagger: Option<f64>, argo: Option<f64>) -> Self {
        Self {
            measured,
            minute: Pair::default(),
            seconds: 0,
            flagger: flagger.map(|worst| Flagger { worst, failed: 0 }),
            argo: argo.map(|worst| Argo { worst, failed: 0 }),
            kayenta: Kayenta::default(),
            outcomes: [None; 3],
        }
    }

    /// Watching the share of failures.
    pub(super) fn of_failures() -> Self {
        Self::new(MinuteFigures::Failures, Some(0.01), Some(0.05))
    }

    /// Watching the 99th percentile; Argo has no documented rule for it.
    pub(super) fn of_p99() -> Self {
        Self::new(MinuteFigures::P99, Some(500_000.0), None)
    }

    /// Watching a class's share, for which only Kayenta has a rule.
    pub(super) fn of_class(signal: &'static str, class: &'static str) -> Self {
        Self::new(MinuteFigures::Class(signal, class), None, None)
    }

    /// Rivals that watch no figure at all.
    pub(super) fn none() -> Self {
        let mut none = Self::new(MinuteFigures::Failures, None, None);
        none.kayenta.absent = true;
        none
    }

    /// One second; `now` is what the canary did until now.
    pub(super) fn second(&mut self, line: &Observation, now: RunOutcome) {
        if self.all_decided() {
            return;
        }
        self.count(line);
        self.seconds += 1;
        if !self.seconds.is_multiple_of(MINUTE) {
            return;
        }
        let minute = std::mem::take(&mut self.minute);
        let values = minute.map(|minute| self.value(&minute));
        let decided = [
            self.flagger.as_mut().is_some_and(|rule| rule.minute(values.canary)),
            self.argo.as_mut().is_some_and(|rule| rule.minute(values.canary)),
            self.kayenta.minute(values),
        ];
        for (outcome, decided) in self.outcomes.iter_mut().zip(decided) {
            if outcome.is_none() && decided {
                *outcome = Some(RunOutcome { decided: true, ..now });
            }
        }
    }

    fn count(&mut self, line: &Observation) {
        let roles = [
            (&mut self.minute.stable, &line.roles.stable),
            (&mut self.minute.canary, &line.roles.canary),
        ];
        match &self.measured {
            MinuteFigures::Failures => {
                for (minute, role) in roles {
                    minute.add(role.total, role.failure);
                }
            }
            MinuteFigures::P99 => {
                for (minute, role) in roles {
                    minute.time(role);
                }
            }
            MinuteFigures::Class(signal, class) => {
                let Some(signal) = line.signals.get(*signal) else { return };
                let by_role = [&signal.stable, &signal.canary];
                for ((minute, _), classes) in roles.into_iter().zip(by_role) {
                    let Some(classes) = classes else { continue };
                    minute.add(Some(classes.values().sum()), classes.get(*class).copied());
                }
            }
        }
    }

    fn value(&self, minute: &Minute) -> Option<f64> {
        match self.measured {
            MinuteFigures::Failures | MinuteFigures::Class(..) => minute.trials.share(),
            MinuteFigures::P99 => minute.times.quantile(0.99),
        }
    }

    fn present(&self) -> [bool; 3] {
        [self.flagger.is_some(), self.argo.is_some(), !self.kayenta.absent]
    }

    /// Whether nobody is left to decide.
    pub(super) fn all_decided(&self) -> bool {
        self.outcomes.iter().zip(self.present()).all(|(outcome, there)| outcome.is_some() || !there)
    }

    /// Where each decided, or the end; none for those without a rule.
    pub(super) fn outcomes(&self, end: RunOutcome) -> [Option<RunOutcome>; 3] {
        let mut outcomes = self.outcomes;
        for (outcome, there) in outcomes.iter_mut().zip(self.present()) {
            *outcome = there.then(|| outcome.unwrap_or(end));
        }
        outcomes
    }
}

impl Minute {
    fn add(&mut self, trials: Option<u64>, events: Option<u64>) {
        self.trials.trials += trials.unwrap_or(0);
        self.trials.events += events.unwrap_or(0);
    }

    fn time(&mut self, role: &RoleCounts) {
        if let Some(times) = &role.rq_time_us {
            self.times.merge(times);
        }
    }
}

/// Rolls back in the interval after five failed checks.
#[derive(Clone, Debug)]
struct Flagger {
    worst: f64,
    failed: u32,
}

impl Flagger {
    fn minute(&mut self, canary: Option<f64>) -> bool {
        if self.failed >= 5 {
            return true;
        }
        self.failed += u32::from(canary.is_none_or(|value| value > self.worst));
        false
    }
}

/// Fails with the fourth failed measurement.
#[derive(Clone, Debug)]
struct Argo {
    worst: f64,
    failed: u32,
}

impl Argo {
    fn minute(&mut self, canary: Option<f64>) -> bool {
        self.failed += u32::from(canary.is_some_and(|value| value > self.worst));
        self.failed > 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flagger_needs_five_checks_and_another_interval() {
        let mut flagger = Flagger { worst: 0.01, failed: 0 };
        let values = [None, Some(0.02), Some(0.01), Some(0.5), Some(0.5), Some(0.5), Some(0.0)];
        assert_eq!(
            values.map(|value| flagger.minute(value)).iter().position(|done| *done),
            Some(6)
        );
    }

    #[test]
    fn argo_tolerates_three() {
        let mut argo = Argo { worst: 0.05, failed: 0 };
        let values = [Some(0.06), None, Some(0.05), Some(1.0), Some(1.0), Some(1.0)];
        assert_eq!(values.map(|value| argo.minute(value)).iter().position(|done| *done), Some(5));
    }
}
