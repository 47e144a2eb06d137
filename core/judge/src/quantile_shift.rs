//! Are the canary's values shifted by more than a factor, at any of nine quantiles? What the tests of
//! latency and of values share.
//!
//! **Source.** At each quantile a two-by-two test (Turner, Ly and Grünwald 2024). *Upwards*: the edge e is
//! that bound of the stable history's bins that lies nearest the quantile, their lower bounds and the last
//! bin's upper one; stable's values at or above e are held against the canary's at or above tolerance · e.
//! H0: at every quantile the canary is at most `tolerance` times as high. *Downwards*, the mirror image: the
//! nine mirrored quantiles (0.5 down to 0.0005); e is a lower bound of a bin; stable's values below e are
//! held against the canary's in bins that lie wholly below e / tolerance. H0: at every quantile the canary is
//! at least stable / tolerance. Six odds ratios for each of the nine, all mixed, with a start mixture in
//! rollouts without affinity. For both directions at once one mean over all 108 bets: ln 2 more evidence.
//!
//! **Why it holds.** The edges are fixed before a block, so the counts beyond them are binomial whatever the
//! distribution: ties, spikes and discrete values can't break it. They can hide: the nearest edge then lies
//! farther from its quantile.
//!
//! **Bins are not rebinned.** They are compared as they came: of the canary only bins count that lie wholly
//! beyond the tolerated edge, so a canary exactly at the tolerance never counts for more than it is. Upwards
//! the last bin's upper bound matters where stable's values fill few bins: if they all lie in one, it is the
//! only edge that separates anything.
//!
//! **History** is all earlier stable observations, those at weight 0 and those that were left out of a
//! comparison too; the test begins when there are 100. **Cold start:** lines that hold any of the
//! canary's first 50 requests don't enter (they do enter the test of failures and the guard).

use serde::{Deserialize, Serialize};

use super::blocks::{Block, BlockUpdate, Change, FULL, TickContext};
use super::counts::{Merge, Pair, Sides, Trials};
use super::effects::EffectEstimate;
use super::effects::quantiles::QuantileEffect;
use super::mixture::Mixture;
use super::numerics::log_add_exp;
use super::quantile_edges::{LOWER_QUANTILES, Tails, edges, lower_edges, wholly_below};
use super::spec::{QUANTILES, Worse};
use super::two_by_two::{equal_shares, tilt};
use super::verdict::InsufficientData;
use canary_model::histogram::{Histogram, MAX_BINS};

/// The alternatives: the canary's odds of lying beyond the edge, in stable's.
const ODDS: [f64; 6] = [1.15, 1.3, 1.6, 2.0, 4.0, 10.0];
/// How many earlier stable observations the test needs.
const HISTORY: u64 = 100;
/// How many canary requests are its cold start.
const COLD: u64 = 50;
/// The test of one or both directions; all of it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct QuantileShift {
    planned_blocks: Option<u64>,
    pub(crate) history: Histogram,
    /// Canary requests of the epoch, up to the line before.
    canary_requests: u64,
    pub(crate) block: Block<Pair<Histogram>>,
    /// One or two directions.
    bets: Vec<ShiftBets>,
    /// The ratio of quantiles with its interval; `None` where nobody will ask for it.
    effect: Option<QuantileEffect>,
}

/// The bets on one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ShiftBets {
    direction: ShiftDirection,
    tolerances: [f64; 9],
    mixture: Mixture<54>,
    quantiles: [AtQuantile; 9],
}

/// Which of a distribution's two tails is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ShiftDirection {
    /// The canary's values may be too high.
    Upwards,
    /// They may be too low.
    Downwards,
}

/// What was counted at one quantile since the test's start or the window's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct AtQuantile {
    edge: Option<f64>,
    counts: Pair<Trials>,
}

/// The quantile with the strongest evidence, and what was counted there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StrongestQuantile {
    pub(crate) quantile: &'static str,
    pub(crate) direction: ShiftDirection,
    /// The edge when last looked at, in the histogram's unit.
    pub(crate) edge: Option<f64>,
    pub(crate) tolerance: f64,
    /// Beyond the edge: stable's, and the canary's beyond the tolerated one.
    pub(crate) counts: Pair<Trials>,
}

impl QuantileShift {
    /// A test with the tolerated factors at each quantile, from the median outwards, its start mixture
    /// spread over `planned_blocks`.
    pub(crate) fn new(worse: Worse, tolerances: [f64; 9], planned_blocks: Option<u64>) -> Self {
        let directions: &[ShiftDirection] = match worse {
            Worse::Higher => &[ShiftDirection::Upwards],
            Worse::Lower => &[ShiftDirection::Downwards],
            Worse::Both => &[ShiftDirection::Upwards, ShiftDirection::Downwards],
        };
        let bets = directions.iter().map(|direction| ShiftBets {
            direction: *direction,
            tolerances,
            mixture: Mixture::new(planned_blocks),
            quantiles: [AtQuantile::default(); 9],
        });
        Self {
            planned_blocks,
            history: Histogram::new(),
            canary_requests: 0,
            block: Block::default(),
            bets: bets.collect(),
            effect: Some(QuantileEffect::default()),
        }
    }

    /// Read first observations, without a start mixture. Before the first line.
    pub(crate) fn count_clients(&mut self) {
        self.planned_blocks = None;
        self.restart();
        if let Some(effect) = &mut self.effect {
            effect.count_clients();
        }
    }

    /// A step begins with the next line.
    pub(crate) fn begin_step(&mut self) {
        if let Some(effect) = &mut self.effect {
            effect.begin_step(self.block.size() > 0);
        }
    }

    /// Leaves out the effect from now on.
    pub(crate) fn without_effect(&mut self) {
        self.effect = None;
    }

    /// The canary's quantiles divided by stable's, since the start and since the step.
    pub(crate) fn effects(&self, metric: &str) -> Vec<EffectEstimate> {
        let tolerated = self.bets.first().map_or([1.0; 9], |bets| match bets.direction {
            ShiftDirection::Upwards => bets.tolerances,
            ShiftDirection::Downwards => bets.tolerances.map(f64::recip),
        });
        self.effect.as_ref().map(|effect| effect.effects(metric, tolerated)).unwrap_or_default()
    }

    /// The evidence is gathered again: in a new window, or because an operator goes on in spite of it.
    pub(crate) fn restart(&mut self) {
        for bets in &mut self.bets {
            bets.mixture = Mixture::new(self.planned_blocks);
            bets.quantiles = [AtQuantile::default(); 9];
        }
    }

    /// Takes a line's values into the open block, and tests the block when that closes it.
    /// `canary_requests` is how many requests the line has, for the cold start.
    pub(crate) fn observe(
        &mut self,
        tick: &TickContext,
        canary_requests: u64,
        values: Option<Pair<&Histogram>>,
    ) -> BlockUpdate {
        let cold = self.is_cold();
        // Answers may come before their requests reach the age at which they are counted.
        let seen = values.map_or(0, |values| values.canary.count()).max(canary_requests);
        self.canary_requests.merge(&seen);
        if tick.change.is_some() {
            let discarded = self.block.discard();
            self.learn(&discarded.stable);
            if let Some(effect) = &mut self.effect {
                effect.change(tick.change);
            }
        }
        if tick.change == Some(Change::Window) {
            self.restart();
        }
        let Some(values) = values else { return BlockUpdate::Dropped };
        let early = cold || self.history.count() < HISTORY;
        if tick.change.is_some() || values.stable.is_empty() || early {
            self.learn(values.stable);
            return BlockUpdate::LeftOut;
        }
        let size = values.stable.count().saturating_add(values.canary.count());
        let merge = |held: &mut Pair<Histogram>| {
            Merge::merge(&mut held.stable, values.stable);
            Merge::merge(&mut held.canary, values.canary);
        };
        let Some(block) = self.block.grow(size, merge) else { return BlockUpdate::Open };
        let tails = Pair { stable: Tails::new(&block.stable), canary: Tails::new(&block.canary) };
        for bets in &mut self.bets {
            bets.update(&self.history, &block, &tails);
        }
        if let Some(effect) = &mut self.effect {
            effect.observe(&self.history, &block, &tails);
        }
        self.learn(&block.stable);
        let sizes = block.map(|values| values.count());
        BlockUpdate::closed(Sides { treatment: sizes.canary, control: sizes.stable })
    }

    fn is_cold(&self) -> bool {
        self.canary_requests < COLD
    }

    fn learn(&mut self, stable: &Histogram) {
        // Envoy's bins are far fewer; a recording with bins of its own must not grow without bound.
        if self.history.len() + stable.len() <= MAX_BINS {
            self.history.merge(stable);
        }
    }

    /// ln of the evidence that the canary is shifted by more than tolerated.
    pub(crate) fn log_e(&self) -> f64 {
        let mut means = self.bets.iter().map(|bets| bets.mixture.log_mean());
        match (means.next(), means.next()) {
            (Some(one), Some(other)) => log_add_exp(one, other) - std::f64::consts::LN_2,
            (Some(one), None) => one,
            (None, _) => 0.0,
        }
    }

    /// The quantile with the strongest evidence.
    pub(crate) fn strongest(&self) -> StrongestQuantile {
        let all = self.bets.iter().flat_map(ShiftBets::by_quantile);
        // Of equals the first, so that the median stands for all when there is nothing to tell.
        let most = all.reduce(|best, next| if next.1 > best.1 { next } else { best });
        most.map_or_else(StrongestQuantile::nothing, |(strongest, _)| strongest)
    }

    /// What the test needs for its first or next block.
    pub(crate) fn missing(&self) -> Option<InsufficientData> {
        if self.is_cold() {
            return Some(InsufficientData::ColdStart { have: self.canary_requests, need: COLD });
        }
        let history = self.history.count();
        if history < HISTORY {
            return Some(InsufficientData::History { have: history, need: HISTORY });
        }
        Some(InsufficientData::Block { have: self.block.size(), need: FULL })
    }
}

impl StrongestQuantile {
    fn nothing() -> Self {
        let (edge, counts) = (None, Pair::default());
        Self { quantile: "p50", direction: ShiftDirection::Upwards, edge, tolerance: 1.0, counts }
    }
}

impl ShiftBets {
    fn update(&mut self, history: &Histogram, block: &Pair<Histogram>, tails: &Pair<Tails>) {
        let (n, edges) = match self.direction {
            ShiftDirection::Upwards => edges(history),
            ShiftDirection::Downwards => lower_edges(history),
        };
        let mut factors = [0.0; 54];
        let mut slots = factors.chunks_exact_mut(ODDS.len());
        for ((at, edge), tolerance) in self.quantiles.iter_mut().zip(edges).zip(self.tolerances) {
            let counts = match self.direction {
                ShiftDirection::Upwards => Pair {
                    stable: tails.stable.at_or_above(edge.from),
                    canary: tails.canary.at_or_above(tolerance * edge.from),
                },
                ShiftDirection::Downwards => Pair {
                    stable: tails.stable.below(edge.bound),
                    canary: wholly_below(&block.canary, edge.bound / tolerance),
                },
            };
            let share = (edge.tail as f64 + 0.5) / (n as f64 + 1.0);
            for (slot, odds) in slots.next().into_iter().flatten().zip(ODDS) {
                *slot = equal_shares(counts, tilt(share, odds), share);
            }
            at.edge = Some(edge.bound);
            at.counts.merge(&counts);
        }
        self.mixture.bet(factors);
    }

    /// Each quantile with its evidence, from the median outwards.
    fn by_quantile(&self) -> impl Iterator<Item = (StrongestQuantile, f64)> + '_ {
        let strongest = |logs: &[f64]| logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let evidence = self.mixture.logs().chunks_exact(ODDS.len()).map(strongest);
        let names = match self.direction {
            ShiftDirection::Upwards => QUANTILES,
            ShiftDirection::Downwards => LOWER_QUANTILES,
        };
        let named = names.into_iter().zip(self.quantiles).zip(self.tolerances).zip(evidence);
        named.map(|((((quantile, _), at), tolerance), evidence)| {
            let AtQuantile { edge, counts } = at;
            let direction = self.direction;
            (StrongestQuantile { quantile, direction, edge, tolerance, counts }, evidence)
        })
    }
}

/// A line's histograms by role. With affinity a line without one role's part is dropped whole; without, a
/// role whose part is missing has no observations.
pub(crate) fn known(parts: Pair<Option<&Histogram>>, sticky: bool) -> Option<Pair<&Histogram>> {
    static NONE: Histogram = Histogram::new();
    if sticky { parts.both() } else { Some(parts.map(|part| part.unwrap_or(&NONE))) }
}
