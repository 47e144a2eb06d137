//! The judge: the statistics that compare the canary with the stable version.
//!
//! Lines of counts come in ([`observation`]), checked settings say what is tolerated ([`spec`]), and
//! verdicts with all their numbers come out ([`verdict`]). [`Judge`] is the whole: it takes the next
//! line and knows, at any time, whether to roll back, whether a step has seen enough, and why not.
//! [`forecast`] tells beforehand how much traffic that will take.
//!
//! One file for each test, which opens with where the method comes from and what would void it:
//! `failure_abort` and `failure_abort_keyed` (evidence to roll back), `certificate` (evidence to
//! advance), `latency`, `drift`, `conversion`, `split`, `prometheus`; `blocks` says what a
//! block is, `combination` how several metrics share one error rate. All tests are e-processes: they
//! may be looked at after every line, and the error rates hold all the same.

mod blocks;
mod certificate;
mod combination;
mod conversion;
pub mod counts;
mod drift;
mod failure_abort;
mod failure_abort_keyed;
pub mod forecast;
mod latency;
mod metric;
mod mixture;
mod numerics;
pub mod observation;
pub mod prometheus;
mod rate;
pub mod spec;
mod split;
mod standing;
mod two_by_two;
pub mod verdict;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

pub use certificate::BETA;
pub use failure_abort::Tolerated;
pub use split::SampleRatioVerdict;

use blocks::Timeline;
use metric::Metric;
use observation::Observation;
use spec::Analysis;
use split::Split;
use standing::AlphaShare;
use verdict::{Conclusion, Verdict};

/// Judges one rollout: one epoch of one canary. It is its whole state; written as JSON and resumed
/// it goes on exactly as if it had never stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    /// Which analysis and plan it was made for.
    fingerprint: String,
    allowance: AlphaShare,
    /// Whether clients are judged; the first line says.
    keyed: Option<bool>,
    timeline: Timeline,
    metrics: Vec<Metric>,
    split: Split,
    /// Lines that said otherwise about `keyed` than the first.
    foreign: u64,
}

/// Why a state can't be resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumeError {
    /// It is no state of a judge; what the reader says.
    Unreadable(String),
    /// It belongs to another analysis section or plan.
    OtherAnalysis,
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "not a judge's state: {error}"),
            Self::OtherAnalysis => f.write_str(
                "the state was made by another analysis section; replay the observations instead",
            ),
        }
    }
}

impl std::error::Error for ResumeError {}

impl Judge {
    /// A judge before the first line. `planned_seconds` is how long the file plans to take: the sum of
    /// its durations, else of its timeouts, else an hour; start mixtures are spread over as many
    /// blocks.
    pub fn new(analysis: &Analysis, planned_seconds: u64) -> Self {
        let omega = combination::equal_share(analysis.shares());
        let metric = |spec| Metric::new(spec, planned_seconds.max(1));
        Self {
            fingerprint: fingerprint(analysis, planned_seconds),
            allowance: AlphaShare { omega, log_limit: -analysis.false_abort.ln() },
            keyed: None,
            timeline: Timeline::default(),
            metrics: analysis.metrics.iter().map(metric).collect(),
            split: Split::default(),
            foreign: 0,
        }
    }

    /// Goes on from a state that a judge of the same analysis and plan wrote as JSON.
    ///
    /// # Errors
    /// [`ResumeError`] where the text is no such state, or another analysis' or plan's.
    pub fn resume(
        state: &str,
        analysis: &Analysis,
        planned_seconds: u64,
    ) -> Result<Self, ResumeError> {
        let judge: Self =
            serde_json::from_str(state).map_err(|e| ResumeError::Unreadable(e.to_string()))?;
        if judge.fingerprint != fingerprint(analysis, planned_seconds) {
            return Err(ResumeError::OtherAnalysis);
        }
        Ok(judge)
    }

    /// A step of the rollout begins with the next line: certificates count anew, and each metric wants
    /// a block of both versions. `certificate_margin` is the margin of failures that this step
    /// certifies, as a fraction (a harm budget divided by the next weight), if not the file's.
    pub fn begin_step(&mut self, certificate_margin: Option<f64>) {
        for metric in &mut self.metrics {
            metric.begin_step(certificate_margin);
        }
    }

    /// Takes the next line. Gives every metric's verdict, in the file's order.
    pub fn observe(&mut self, line: &Observation) -> Vec<Verdict> {
        self.take(line);
        self.verdicts()
    }

    /// Takes the next line, for those who ask later what came of it: verdicts cost about as much as
    /// taking a line.
    pub fn take(&mut self, line: &Observation) {
        let keyed = self.settle(line);
        for metric in &mut self.metrics {
            metric.measure(line);
        }
        if line.counts_nothing() {
            // Were it to tell of a new weight, the counts after it would pass for counts at that weight.
            return;
        }
        if line.keyed == keyed {
            let moment = self.timeline.advance(line, keyed);
            for metric in &mut self.metrics {
                metric.observe(&moment, line, self.allowance);
            }
            self.split.observe(&moment, line);
        } else {
            // Half of a recording in clients and half in requests can't be compared.
            self.foreign = self.foreign.saturating_add(1);
        }
    }

    /// Whether no line with counts has come yet.
    pub fn has_no_counts(&self) -> bool {
        self.timeline == Timeline::default()
    }

    /// Whether clients are judged. The first line says; from then on it holds.
    fn settle(&mut self, line: &Observation) -> bool {
        if self.keyed.is_none() && line.keyed {
            self.metrics.iter_mut().for_each(Metric::count_clients);
        }
        *self.keyed.get_or_insert(line.keyed)
    }

    /// Every metric's verdict as it stands, in the file's order.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.metrics.iter().map(|metric| metric.verdict(self.allowance)).collect()
    }

    /// The verdict to roll back on, if there is one: that with the largest weighted evidence.
    pub fn abort(&self) -> Option<Verdict> {
        if self.metrics.iter().all(|metric| metric.conclusion() != Conclusion::Fail) {
            return None;
        }
        combination::decisive(&self.verdicts()).cloned()
    }

    /// The metrics that have not yet closed a block with both versions (for Prometheus: taken a good
    /// measurement) since the step's start. A step is left only when there are none.
    pub fn waiting_for_data(&self) -> Vec<&str> {
        let waiting = |metric: &&Metric| metric.conclusion() == Conclusion::Insufficient;
        self.metrics.iter().filter(waiting).map(Metric::name).collect()
    }

    /// The metrics with a certificate that have not reached it since the step's start. A step that waits
    /// for confidence is left when there are none and no metric fails or waits for data.
    pub fn uncertified(&self) -> Vec<&str> {
        let missing = |metric: &&Metric| metric.certified() == Some(false);
        self.metrics.iter().filter(missing).map(Metric::name).collect()
    }

    /// The Prometheus metrics of which more measurements were inconclusive than `inconclusiveLimit`
    /// allows.
    pub fn inconclusive(&self) -> Vec<&str> {
        let inconclusive = |metric: &&Metric| metric.is_inconclusive();
        self.metrics.iter().filter(inconclusive).map(Metric::name).collect()
    }

    /// An operator goes on in spite of inconclusive measurements: every metric of
    /// [`Judge::inconclusive`] counts them from zero again.
    pub fn accept_inconclusive(&mut self) {
        let beyond = self.metrics.iter_mut().filter(|metric| metric.is_inconclusive());
        beyond.for_each(Metric::accept_inconclusive);
    }

    /// Whether the canary gets the share of traffic that its weight says.
    pub fn split(&self) -> SampleRatioVerdict {
        self.split.verdict((-self.allowance.log_limit).exp())
    }

    /// Lines that were passed over because they said otherwise about `keyed` than the first.
    pub const fn foreign_lines(&self) -> u64 {
        self.foreign
    }
}

fn fingerprint(analysis: &Analysis, planned_seconds: u64) -> String {
    let text = format!("{analysis:?} {planned_seconds}");
    format!("{:016x}", xxh64(text.as_bytes(), 0))
}
