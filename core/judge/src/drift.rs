//! Does the canary answer differently? Comparing the classes of a signal's values.
//!
//! **Source.** With tolerance 0 the mean of two kinds of e-values, each built on plug-in shares from
//! earlier observations (Turner, Ly and Grünwald 2024): (i) a multinomial one, whose alternative is
//! the canary's past smoothed towards stable's with weight κ of 10 to 10,000; (ii) for each class
//! against the rest a two-by-two test with ten odds ratios to both sides. H0: both versions' values
//! have the same distribution. With a tolerance δ, for each class and both directions the
//! information projection of "differs by at most δ", for shares 1, 3, 10 and 25 points beyond it.
//! A start mixture in rollouts without affinity.
//!
//! **ClassPairs** are those that the lines named so far, also with a count of zero. A block that names a
//! new one is learnt from, not tested: which classes there are must be settled before a block's
//! outcomes are seen. Values that a proxy could not read are a class of their own, so a version whose
//! answers can't be read any more is found. If neither version's can, the signal has no data: the
//! metric holds the rollout.
//!
//! **What voids it.** Several observations of one client (with affinity, first observations are read);
//! different inputs for the canary; a class that only one version can have, when that was intended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::blocks::{Block, BlockUpdate, Change, FULL, TickContext};
use super::counts::{Merge, Pair, Sides, Trials};
use super::mixture::Mixture;
use super::numerics::{exact, log_add_exp, log_mean_exp, times_ln};
use super::observation::Observation;
use super::readable::{ReadableCount, UNREADABLE};
use super::two_by_two::{equal_shares, tilt, tolerated_difference};
use super::verdict::{Findings, InsufficientData};

/// How many observations stable's past weighs against the canary's own.
const KAPPAS: [f64; 4] = [10.0, 100.0, 1e3, 1e4];
/// The alternatives for a class against the rest: the canary's odds, in stable's.
const ODDS: [f64; 10] = [0.25, 0.5, 0.67, 0.83, 0.92, 1.09, 1.2, 1.5, 2.0, 4.0];
/// The alternatives beyond a tolerance, as differences of shares.
const BEYOND: [f64; 4] = [0.01, 0.03, 0.1, 0.25];
/// The most classes that are told apart; a later one is passed over.
const MAX_CLASSES: usize = 256;

/// Counts by class and role.
type ClassPairs = BTreeMap<String, Pair<u64>>;

/// The drift test; all of it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drift {
    signal: String,
    #[serde(with = "exact")]
    tolerance: f64,
    planned_blocks: Option<u64>,
    /// All earlier observations of both versions.
    history: ClassPairs,
    block: Block<ClassPairs>,
    multinomial: Mixture<4>,
    classes: BTreeMap<String, ClassBets>,
    /// Of the values compared since the step's start.
    step: ReadableCount,
}

/// The bets on one class, and what was counted while they ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ClassBets {
    equal: Mixture<10>,
    tolerated: Mixture<8>,
    counts: Pair<Trials>,
}

impl ClassBets {
    fn joining(others: &Mixture<4>) -> Self {
        let (equal, tolerated) = (Mixture::joining(others), Mixture::joining(others));
        Self { equal, tolerated, counts: Pair::default() }
    }

    fn update(&mut self, counts: Pair<Trials>, stable: f64, tolerance: f64) {
        self.counts.merge(&counts);
        if tolerance <= 0.0 {
            self.equal.bet(ODDS.map(|odds| equal_shares(counts, tilt(stable, odds), stable)));
            return;
        }
        let rest = |side: Trials| Trials {
            events: side.trials.saturating_sub(side.events),
            trials: side.trials,
        };
        let mut factors = [0.0; 8];
        let (more, fewer) = factors.split_at_mut(BEYOND.len());
        for ((more, fewer), beyond) in more.iter_mut().zip(fewer).zip(BEYOND) {
            let bet = |counts, stable: f64| {
                tolerated_difference(counts, stable + tolerance + beyond, stable, tolerance)
            };
            *more = bet(counts, stable);
            *fewer = bet(counts.map(rest), 1.0 - stable);
        }
        self.tolerated.bet(factors);
    }

    fn log_mean(&self, tolerance: f64) -> f64 {
        if tolerance > 0.0 { self.tolerated.log_mean() } else { self.equal.log_mean() }
    }
}

impl Drift {
    /// A test of a signal, its start mixture spread over `planned_blocks`.
    pub(crate) fn new(signal: &str, tolerance: f64, planned_blocks: Option<u64>) -> Self {
        Self {
            signal: signal.to_owned(),
            tolerance,
            planned_blocks,
            history: ClassPairs::new(),
            block: Block::default(),
            multinomial: Mixture::new(planned_blocks),
            classes: BTreeMap::new(),
            step: ReadableCount::default(),
        }
    }

    /// A step begins: it wants values of its own that can be read.
    pub(crate) fn begin_step(&mut self) {
        self.step = ReadableCount::default();
    }

    /// The evidence is gathered again: in a new window, or because an operator goes on in spite of it.
    pub(crate) fn restart(&mut self) {
        self.multinomial = Mixture::new(self.planned_blocks);
        for bets in self.classes.values_mut() {
            *bets = ClassBets::joining(&self.multinomial);
        }
    }

    /// Read first observations, without a start mixture. Before the first line.
    pub(crate) fn count_clients(&mut self) {
        self.planned_blocks = None;
        self.multinomial = Mixture::new(None);
    }

    /// Takes the next line into the open block, and tests the block when that closes it.
    pub(crate) fn observe(&mut self, tick: &TickContext, line: &Observation) -> BlockUpdate {
        if tick.change.is_some() {
            let discarded = self.block.discard();
            self.learn(&discarded);
        }
        if tick.change == Some(Change::Window) {
            self.restart();
        }
        let Some(seen) = counts(line, tick.sticky, &self.signal) else {
            return BlockUpdate::Dropped;
        };
        if tick.change.is_some() {
            self.learn(&seen);
            return BlockUpdate::LeftOut;
        }
        let sizes = totals(&seen);
        if sizes.stable == 0 {
            return BlockUpdate::LeftOut;
        }
        let Some(block) = self.block.add(&seen, sizes.sum()) else { return BlockUpdate::Open };
        self.note_readable(&block);
        if block.keys().all(|class| self.classes.contains_key(class)) {
            self.update(&block);
        }
        self.learn(&block);
        let sizes = totals(&block);
        BlockUpdate::closed(Sides { treatment: sizes.canary, control: sizes.stable })
    }

    /// Adds to the history, and gives classes that are new their bets.
    fn learn(&mut self, seen: &ClassPairs) {
        for (class, counts) in seen {
            if !self.classes.contains_key(class) {
                if self.classes.len() >= MAX_CLASSES {
                    continue;
                }
                self.classes.insert(class.clone(), ClassBets::joining(&self.multinomial));
            }
            self.history.entry(class.clone()).or_default().merge(counts);
        }
    }

    fn update(&mut self, block: &ClassPairs) {
        if self.classes.len() < 2 {
            return;
        }
        let past = totals(&self.history);
        let sizes = totals(block);
        let smoothed = past.stable as f64 + 0.5 * self.classes.len() as f64;
        let mut multinomial = [0.0; 4];
        for (class, bets) in &mut self.classes {
            let held = self.history.get(class).copied().unwrap_or_default();
            let now = block.get(class).copied().unwrap_or_default();
            let stable = (held.stable as f64 + 0.5) / smoothed;
            for (sum, kappa) in multinomial.iter_mut().zip(KAPPAS) {
                let canary = (held.canary as f64 + kappa * stable) / (past.canary as f64 + kappa);
                *sum += class_factor(now, sizes, Pair { stable, canary });
            }
            let trials = |events: u64, trials: u64| Trials { trials, events };
            let counts = Pair {
                stable: trials(now.stable, sizes.stable),
                canary: trials(now.canary, sizes.canary),
            };
            bets.update(counts, stable, self.tolerance);
        }
        self.multinomial.bet(multinomial);
    }

    /// ln of the evidence that the canary's values differ by more than is tolerated.
    pub(crate) fn log_e(&self) -> f64 {
        if self.classes.is_empty() {
            return self.multinomial.log_mean();
        }
        let tolerance = self.tolerance;
        let classes = log_mean_exp(self.classes.values().map(|bets| bets.log_mean(tolerance)));
        if tolerance > 0.0 {
            return classes;
        }
        log_add_exp(self.multinomial.log_mean(), classes) - std::f64::consts::LN_2
    }

    /// The class with the strongest evidence.
    pub(crate) fn findings(&self) -> Findings {
        let evidence = |bets: &ClassBets| bets.log_mean(self.tolerance);
        let most = self.classes.iter().max_by(|a, b| evidence(a.1).total_cmp(&evidence(b.1)));
        Findings::Class {
            signal: self.signal.clone(),
            class: most.map(|(class, _)| class.clone()),
            counts: most.map_or_else(Pair::default, |(_, bets)| bets.counts),
            tolerance: self.tolerance,
        }
    }

    /// What the test needs for its next block.
    pub(crate) const fn missing(&self) -> Option<InsufficientData> {
        Some(InsufficientData::Block { have: self.block.size(), need: FULL })
    }

    /// Nothing could be read since the step's start: all that both versions' blocks held is
    /// [`UNREADABLE`]. A signal that only one version leaves unreadable is compared like any other.
    pub(crate) fn unreadable(&self) -> Option<InsufficientData> {
        self.step.missing(&self.signal)
    }

    fn note_readable(&mut self, block: &ClassPairs) {
        for (class, counts) in block {
            let sum = counts.sum();
            let (readable, unreadable) = if class == UNREADABLE { (0, sum) } else { (sum, 0) };
            self.step.note(readable, unreadable);
        }
    }
}

/// One class's part of the multinomial factor.
fn class_factor(counts: Pair<u64>, sizes: Pair<u64>, bets: Pair<f64>) -> f64 {
    let (nc, ns) = (sizes.canary as f64, sizes.stable as f64);
    let pooled = (nc * bets.canary + ns * bets.stable) / (nc + ns);
    times_ln(counts.canary as f64, bets.canary / pooled)
        + times_ln(counts.stable as f64, bets.stable / pooled)
}

fn totals(classes: &ClassPairs) -> Pair<u64> {
    let mut sum = Pair::default();
    classes.values().for_each(|counts| sum.merge(counts));
    sum
}

/// The line's counts of a signal. With affinity a line without one role's part is dropped whole; without, a
/// role whose part is missing has no observations.
fn counts(line: &Observation, sticky: bool, signal: &str) -> Option<ClassPairs> {
    let signals = if sticky { &line.signals_first } else { &line.signals };
    let by_role = signals.get(signal).cloned().unwrap_or_default();
    let by_role = if sticky { by_role.both()? } else { by_role.map(Option::unwrap_or_default) };
    let mut classes = ClassPairs::new();
    for (class, count) in by_role.stable {
        classes.entry(class).or_default().stable = count;
    }
    for (class, count) in by_role.canary {
        classes.entry(class).or_default().canary = count;
    }
    Some(classes)
}

#[cfg(test)]
mod tests;
