//! How large the difference between both versions is, with an interval that may be read at any time.
//!
//! [`shares`] has the difference of two shares (STATISTICS 1.9), [`quantiles`] the ratio of two quantiles
//! (1.10). Nothing is decided on them: the abort test and the non-inferiority test have errors of their own.
//!
//! There are two intervals of each, each with its own 95 %: since the rollout's start and since the step's.
//! An interval covers the *average* difference over its stretch, so the second answers sooner for what began
//! with the step. In rollouts with affinity a client counts once in a window, and windows can't be added
//! up: "since the step" is then the present window, and "since the start" the window with the most of the
//! canary's clients so far, at a level at which the intervals of all windows hold together.

pub(crate) mod quantiles;
pub(crate) mod shares;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::blocks::{Change, window_share};

/// The probability that the interval contains the truth at all looks together.
pub(crate) const LEVEL: f64 = 0.95;

/// An estimate of how far the canary differs from stable, with its interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectEstimate {
    /// The metric's name in the rollout file.
    pub metric: String,
    /// The quantile that is compared, such as `p95`; `None` for shares.
    pub quantile: Option<Cow<'static, str>>,
    /// Over which stretch of the rollout.
    pub since: EffectSince,
    /// What the numbers are.
    pub unit: EffectUnit,
    /// The best single number; `None` without data of both versions.
    pub estimate: Option<f64>,
    /// The interval's lower end; `None` while there is no bound yet.
    pub lower: Option<f64>,
    /// The interval's upper end; `None` while there is no bound yet.
    pub upper: Option<f64>,
    /// The probability that the interval contains the truth, at all looks together: 0.95.
    pub level: f64,
    /// What the metric tolerates, in the same unit; `None` where it isn't one number.
    pub tolerated: Option<f64>,
}

/// Over which stretch of the rollout an effect is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectSince {
    /// Since the epoch's start.
    Start,
    /// Since the present step's start.
    Step,
}

impl EffectSince {
    /// Its word in JSON and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Step => "step",
        }
    }
}

/// What an effect's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectUnit {
    /// Percentage points: the canary's share minus stable's.
    Points,
    /// A ratio: the canary's quantile divided by stable's.
    Ratio,
}

/// What a stretch says about one quantity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EffectReading {
    pub(crate) quantile: Option<Cow<'static, str>>,
    pub(crate) estimate: Option<f64>,
    pub(crate) lower: Option<f64>,
    pub(crate) upper: Option<f64>,
}

impl EffectReading {
    fn effect(self, metric: &str, since: EffectSince, unit: EffectUnit) -> EffectEstimate {
        let Self { quantile, estimate, lower, upper } = self;
        let metric = metric.to_owned();
        EffectEstimate {
            metric,
            quantile,
            since,
            unit,
            estimate,
            lower,
            upper,
            level: LEVEL,
            tolerated: None,
        }
    }
}

/// What is gathered over one stretch.
pub(crate) trait Gathered: Default {
    /// What a block brings to every stretch that it belongs to.
    type Block;
    /// What the numbers are.
    const UNIT: EffectUnit;

    /// Adds what a block brings to the sums.
    fn add(&mut self, block: &Self::Block);

    /// The weight changed: what was pooled at the old one is closed.
    fn change_weight(&mut self) {}

    /// The intervals that are left at this limit of evidence for each side, as a logarithm.
    fn readings(&self, log_limit: f64) -> Vec<EffectReading>;

    /// How many of the canary's requests, clients or values were compared.
    fn canary(&self) -> u64;
}

/// Both stretches of one metric; all of it survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stretches<G> {
    start: G,
    step: G,
    /// The block that was open when the step began belongs to the step before.
    skip: bool,
    /// The window's number, from 1, in rollouts with affinity.
    window: Option<u64>,
    /// The earlier window with the most of the canary's clients.
    widest: Option<ClosedWindow>,
}

/// What a window said when it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ClosedWindow {
    canary: u64,
    readings: Vec<EffectReading>,
}

/// The evidence that excludes a value on one side: ln(2/(1 − level)), more in a window among others.
fn log_limit(window: Option<u64>) -> f64 {
    (2.0 / (1.0 - LEVEL)).ln() - window.map_or(0.0, |window| window_share(window).ln())
}

impl<G: Gathered> Stretches<G> {
    /// Clients are judged, in windows. Before the first line.
    pub(crate) const fn count_clients(&mut self) {
        self.window = Some(1);
    }

    /// A step begins; `open`: a block is open, which holds requests of the step before.
    pub(crate) fn begin_step(&mut self, open: bool) {
        self.step = G::default();
        self.skip = open;
    }

    /// Takes notice of a change before the line that brings it. It discards the open block.
    pub(crate) fn change(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        self.skip = false;
        if change == Change::Window && self.window.is_some() {
            return self.next_window();
        }
        self.start.change_weight();
        self.step.change_weight();
    }

    fn next_window(&mut self) {
        self.widest = self.widest_window();
        self.window = self.window.map(|window| window.saturating_add(1));
        self.start = G::default();
        self.step = G::default();
    }

    /// The window so far with the most of the canary's clients, the present one included.
    fn widest_window(&self) -> Option<ClosedWindow> {
        let canary = self.start.canary();
        if self.widest.as_ref().is_some_and(|widest| widest.canary >= canary) {
            return self.widest.clone();
        }
        Some(ClosedWindow { canary, readings: self.start.readings(log_limit(self.window)) })
    }

    /// Adds a block to the stretches that it belongs to.
    pub(crate) fn add(&mut self, block: &G::Block) {
        self.start.add(block);
        if !std::mem::take(&mut self.skip) {
            self.step.add(block);
        }
    }

    /// The effects of both stretches, since the start first.
    pub(crate) fn effects(&self, metric: &str) -> Vec<EffectEstimate> {
        let start = match self.window {
            None => self.start.readings(log_limit(None)),
            Some(_) => self.widest_window().map(|window| window.readings).unwrap_or_default(),
        };
        let step = self.step.readings(log_limit(None));
        let effect = |since| move |reading: EffectReading| reading.effect(metric, since, G::UNIT);
        let start = start.into_iter().map(effect(EffectSince::Start));
        start.chain(step.into_iter().map(effect(EffectSince::Step))).collect()
    }
}

#[cfg(test)]
mod tests;
