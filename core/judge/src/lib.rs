//! The judge: the statistics that compare the canary with the stable version.
//!
//! Lines of counts come in ([`observation`]), checked settings say what is tolerated ([`spec`]), and
//! verdicts with all their numbers come out ([`verdict`]). [`Judge`] is the whole: it takes the next
//! line and knows, at any time, whether to roll back, whether a step has seen enough, and why not.
//! [`forecast`] tells beforehand how much traffic that will take.
//!
//! One file for each test, which opens with where the method comes from and what would void it:
//! `failure_abort` and `failure_abort_sticky` (evidence to roll back), `non_inferiority` (evidence to
//! advance), `latency` and `values` (which share `quantile_shift`), `drift`, `conversion_abort`, `sample_ratio`,
//! `prometheus`; `effects` says how large a difference is; `blocks` says what a block is, `combination` how several metrics share one error rate. All tests are e-processes: they
//! may be looked at after every line, and the error rates hold all the same.

mod blocks;
mod centered_bets;
mod combination;
pub mod condition;
mod conversion;
mod conversion_abort;
pub mod counts;
mod drift;
mod effects;
mod failure_abort;
mod failure_abort_sticky;
mod fingerprint;
pub mod forecast;
mod latency;
mod metric;
mod mixture;
mod non_inferiority;
mod numerics;
pub mod observation;
mod prometheus;
mod quantile_edges;
mod quantile_shift;
mod rate;
mod readable;
mod sample_ratio;
pub mod spec;
mod test_status;
pub mod timing;
mod two_by_two;
mod values;
pub mod verdict;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use effects::{EffectEstimate, EffectSince, EffectUnit};
pub use failure_abort::Tolerated;
pub use fingerprint::{canonical_json, fingerprint};
pub use non_inferiority::BETA;
pub use sample_ratio::SampleRatioVerdict;

use blocks::Timeline;
use metric::{MetricState, OperatorDecision};
use observation::Observation;
use sample_ratio::SampleRatio;
use spec::{Analysis, OnFailure, SplitMismatch};
use test_status::{AlphaShare, BudgetShares};
use verdict::Verdict;

/// The layout of a judge's state. Another layout is another number, and has its golden file.
const STATE_VERSION: u32 = 5;

/// Judges one rollout: one epoch of one canary.
///
/// All fields survive a restart: the judge is its whole state, and written as JSON and resumed it goes
/// on exactly as if it had never stopped. A state of another layout or analysis can't be resumed
/// ([`ResumeError`]); then the journal's observations make a new judge, by way of
/// [`Judge::take`] and [`Judge::begin_step`].
///
/// Who writes what: [`Judge::new`] the version, the fingerprint and the alpha shares, for good; the
/// first line `sticky`; every line the timeline, the metrics, the sample ratio and `foreign`;
/// [`Judge::begin_step`] and what operators decide ([`Judge::accept_inconclusive`], [`Judge::ask_again`],
/// [`Judge::overrule`]) the metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    /// The state's layout: [`STATE_VERSION`].
    version: u32,
    /// Which analysis and plan it was made for.
    fingerprint: String,
    alpha_share: AlphaShare,
    /// That of the metrics that pause, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pause_share: Option<AlphaShare>,
    /// Whether clients are judged; `None` before the first line.
    sticky: Option<bool>,
    timeline: Timeline,
    metrics: Vec<MetricState>,
    sample_ratio: SampleRatio,
    /// Whether a sample ratio mismatch also means that no metric is certified.
    #[serde(default, skip_serializing_if = "SplitMismatch::is_hold")]
    split_mismatch: SplitMismatch,
    /// Lines that differed from the first in whether clients are judged.
    foreign: u64,
}

/// Why a state can't be resumed. In every case a new judge that replays the observations can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumeError {
    /// It is not the state of a judge; what the reader says.
    Unreadable(String),
    /// Another version of this software wrote it, in another layout.
    OtherVersion {
        /// The layout's number; 0 is from before layouts had numbers.
        found: u32,
        /// The number that this version reads.
        expected: u32,
    },
    /// It belongs to another analysis section or plan.
    OtherAnalysis,
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "not the state of a judge: {error}"),
            Self::OtherVersion { found, expected } => write!(
                f,
                "the state has layout {found}, expected {expected}: replay the observations instead"
            ),
            Self::OtherAnalysis => f.write_str(
                "the state was made by another analysis section: replay the observations instead",
            ),
        }
    }
}

impl std::error::Error for ResumeError {}

/// What every layout has.
#[derive(Deserialize)]
struct StateHeader {
    #[serde(default)]
    version: u32,
}

impl Judge {
    /// A judge before the first line. `planned_seconds` is how long the file plans to take: the sum of
    /// its durations, else of its timeouts, else an hour; start mixtures are spread over as many
    /// blocks.
    pub fn new(analysis: &Analysis, planned_seconds: u64) -> Self {
        let share = |class, error: f64| {
            let omega = combination::equal_share(analysis.shares_of(class));
            AlphaShare { omega, log_limit: -error.ln() }
        };
        let pauses = analysis.metrics.iter().any(|one| one.on_failure == OnFailure::Pause);
        let metric = |spec| MetricState::new(spec, planned_seconds.max(1));
        Self {
            version: STATE_VERSION,
            fingerprint: fingerprint(analysis, planned_seconds),
            alpha_share: share(OnFailure::Abort, analysis.false_abort),
            pause_share: pauses.then(|| share(OnFailure::Pause, analysis.false_pause)),
            sticky: None,
            timeline: Timeline::default(),
            metrics: analysis.metrics.iter().map(metric).collect(),
            sample_ratio: SampleRatio::new(analysis.false_split, planned_seconds.max(1)),
            split_mismatch: analysis.split_mismatch,
            foreign: 0,
        }
    }

    /// Goes on from a state that a judge of the same analysis and plan wrote as JSON.
    ///
    /// # Errors
    /// [`ResumeError`] where the text is not such a state, or is another version's, analysis' or plan's.
    pub fn resume(
        state: &str,
        analysis: &Analysis,
        planned_seconds: u64,
    ) -> Result<Self, ResumeError> {
        let unreadable = |error: serde_json::Error| ResumeError::Unreadable(error.to_string());
        let header: StateHeader = serde_json::from_str(state).map_err(unreadable)?;
        if header.version != STATE_VERSION {
            let (found, expected) = (header.version, STATE_VERSION);
            return Err(ResumeError::OtherVersion { found, expected });
        }
        let judge: Self = serde_json::from_str(state).map_err(unreadable)?;
        if judge.fingerprint != fingerprint(analysis, planned_seconds) {
            return Err(ResumeError::OtherAnalysis);
        }
        Ok(judge)
    }

    /// A step of the rollout begins with the next line: non-inferiority tests start again, and each
    /// metric wants a block of both versions. `step_margin` is the margin of failures that this step
    /// certifies, as a fraction (a harm budget divided by the next weight), if not the file's.
    pub fn begin_step(&mut self, step_margin: Option<f64>) {
        for metric in &mut self.metrics {
            metric.begin_step(step_margin);
        }
    }

    /// Outcomes are counted at the age `outcome_age`, so what the next line counts of failures and
    /// conversions is the first that was assigned in the present step: their non-inferiority tests start
    /// again, and they want blocks of their own. To be called that long after [`Judge::begin_step`], with
    /// the same margin; until then a step can't be left on their account. Where lines are at their age
    /// from the step's start, as in a replay, [`Judge::begin_step`] alone does.
    pub fn begin_counting(&mut self, step_margin: Option<f64>) {
        for metric in &mut self.metrics {
            metric.begin_counting(step_margin);
        }
    }

    /// Takes the next line. Gives every metric's verdict, in the file's order.
    pub fn observe(&mut self, line: &Observation) -> Vec<Verdict> {
        self.take(line);
        self.verdicts()
    }

    /// Takes the next line without giving verdicts, which cost about as much as taking a line.
    pub fn take(&mut self, line: &Observation) {
        let shares = self.shares();
        let sticky = self.fix_unit(line);
        for metric in &mut self.metrics {
            metric.measure(line);
        }
        if line.counts_nothing() {
            // Were it to tell of a new weight, the counts after it would pass for counts at that weight.
            return;
        }
        if line.sticky == sticky {
            let tick = self.timeline.advance(line, sticky);
            for metric in &mut self.metrics {
                metric.observe(&tick, line, shares);
            }
            self.sample_ratio.observe(&tick, line);
        } else {
            // Half of a recording in clients and half in requests can't be compared.
            self.foreign = self.foreign.saturating_add(1);
        }
    }

    fn shares(&self) -> BudgetShares {
        let abort = self.alpha_share;
        BudgetShares { abort, pause: self.pause_share.unwrap_or(abort) }
    }

    /// Whether no line with counts has come yet.
    pub fn has_no_counts(&self) -> bool {
        self.timeline == Timeline::default()
    }

    /// Whether clients are judged. The first line says; from then on it holds.
    fn fix_unit(&mut self, line: &Observation) -> bool {
        if self.sticky.is_none() && line.sticky {
            self.metrics.iter_mut().for_each(MetricState::count_clients);
            self.sample_ratio.count_clients();
        }
        *self.sticky.get_or_insert(line.sticky)
    }

    /// Every metric's verdict as it stands, in the file's order.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let shares = self.shares();
        let mut verdicts: Vec<Verdict> =
            self.metrics.iter().map(|metric| metric.verdict(shares)).collect();
        if self.is_split_held() {
            for figures in verdicts.iter_mut().filter_map(|one| one.non_inferiority.as_mut()) {
                figures.certified_at = None;
            }
        }
        verdicts
    }

    /// How far the canary differs from stable, with intervals that may be read at any time, in the file's
    /// order. Nothing is decided on them.
    pub fn effects(&self) -> Vec<EffectEstimate> {
        self.metrics.iter().flat_map(MetricState::effects).collect()
    }

    /// The same judge without [`Judge::effects`], which cost more than the verdicts: for simulations.
    #[must_use]
    pub fn without_effects(mut self) -> Self {
        self.metrics.iter_mut().for_each(MetricState::without_effects);
        self
    }

    /// The verdict to roll back on, if there is one: that with the largest weighted evidence.
    pub fn abort(&self) -> Option<Verdict> {
        self.decisive(OnFailure::Abort)
    }

    /// The verdict to pause on, if there is one, likewise. It stays until an operator decides:
    /// [`Judge::ask_again`] or [`Judge::overrule`].
    pub fn pause(&self) -> Option<Verdict> {
        self.decisive(OnFailure::Pause)
    }

    fn decisive(&self, class: OnFailure) -> Option<Verdict> {
        if self.metrics.iter().all(|metric| !metric.fails_to(class)) {
            return None;
        }
        combination::decisive(&self.verdicts(), class).cloned()
    }

    /// Keeps what operators decided about metrics that paused, from another judge's state in whatever layout:
    /// that one was overruled, and how often one asked again. Evidence isn't kept.
    pub fn keep_decisions(&mut self, older: &serde_json::Value) {
        let metrics = older.get("metrics").and_then(serde_json::Value::as_array);
        for older in metrics.into_iter().flatten() {
            let Ok(decision) = OperatorDecision::deserialize(older) else { continue };
            self.metrics.iter_mut().for_each(|metric| metric.keep_decision(&decision));
        }
    }

    /// The metrics of a class that find the canary worse than tolerated.
    pub fn failing(&self, class: OnFailure) -> Vec<&str> {
        let failing = self.metrics.iter().filter(|metric| metric.fails_to(class));
        failing.map(MetricState::name).collect()
    }

    /// An operator resumes after a pause: the metrics that paused start again. In run j each has 1/(j(j+1))
    /// of its share of falsePause, so all false pauses of a rollout together stay within it.
    pub fn ask_again(&mut self) {
        let pausing = self.metrics.iter_mut().filter(|metric| metric.fails_to(OnFailure::Pause));
        pausing.for_each(MetricState::ask_again);
    }

    /// An operator goes on in spite of the metrics that paused: they pass for the rest of the rollout.
    pub fn overrule(&mut self) {
        let pausing = self.metrics.iter_mut().filter(|metric| metric.fails_to(OnFailure::Pause));
        pausing.for_each(MetricState::overrule);
    }

    /// The metrics that have not yet closed a block with both versions (for Prometheus: taken a good
    /// measurement) since the step's start. A step is left only when there are none.
    pub fn waiting_for_data(&self) -> Vec<&str> {
        let waiting = |metric: &&MetricState| metric.waits_for_data();
        self.metrics.iter().filter(waiting).map(MetricState::name).collect()
    }

    /// The metrics that abort with a non-inferiority test that has not certified the canary since the step's start.
    /// A step that waits for confidence is left when there are none and no metric fails or waits for
    /// data.
    pub fn uncertified(&self) -> Vec<&str> {
        // While the sample ratio doesn't match, what was certified can't be trusted either.
        let held = self.is_split_held();
        let missing = |metric: &&MetricState| {
            let lacking = |certified: bool| held || !certified;
            metric.on_failure().is_abort() && metric.certified().is_some_and(lacking)
        };
        self.metrics.iter().filter(missing).map(MetricState::name).collect()
    }

    /// The Prometheus metrics of which more measurements were inconclusive than `inconclusiveLimit`
    /// allows: an operator decides. They also count as waiting for data until
    /// [`Judge::accept_inconclusive`].
    pub fn inconclusive(&self) -> Vec<&str> {
        let inconclusive = |metric: &&MetricState| metric.is_inconclusive();
        self.metrics.iter().filter(inconclusive).map(MetricState::name).collect()
    }

    /// An operator goes on in spite of inconclusive measurements: every metric of
    /// [`Judge::inconclusive`] counts them from zero again.
    pub fn accept_inconclusive(&mut self) {
        let beyond = self.metrics.iter_mut().filter(|metric| metric.is_inconclusive());
        beyond.for_each(MetricState::accept_inconclusive);
    }

    /// Whether the canary gets the share of traffic that its weight says.
    pub fn split(&self) -> SampleRatioVerdict {
        self.sample_ratio.verdict()
    }

    /// Whether the sample ratio doesn't match and the file doesn't merely warn of it: then no metric is
    /// certified, and no step may be left.
    pub fn is_split_held(&self) -> bool {
        self.split_mismatch.is_hold() && self.split().mismatch
    }

    /// Lines that were passed over because they differed from the first in whether clients are judged.
    pub const fn foreign_lines(&self) -> u64 {
        self.foreign
    }
}
