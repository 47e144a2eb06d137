//! How a test with evidence stands: what it failed on, and what it saw since the step's start.

use serde::{Deserialize, Serialize};

use super::blocks::{BlockUpdate, TickContext, window_share};
use super::numerics::exact;
use super::spec::OnFailure;
use super::verdict::{Conclusion, Evidence, InsufficientData, LineCounts};

/// The part of the tolerated error that a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AlphaShare {
    /// The metric's share of the tolerated error (omega).
    #[serde(with = "exact")]
    pub(crate) omega: f64,
    /// The limit for weighted evidence, ln(1/falseAbort).
    #[serde(with = "exact")]
    pub(crate) log_limit: f64,
}

impl AlphaShare {
    fn evidence(&self, log_e: f64, window: Option<u64>) -> Evidence {
        let window_share = window.map_or(1.0, window_share);
        let Self { omega, log_limit } = *self;
        Evidence { log_e, omega, window_share, window, log_limit }
    }
}

/// The shares of the two classes that divide an error budget among their metrics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BudgetShares {
    /// Each metric's that aborts.
    pub(crate) abort: AlphaShare,
    /// Each metric's that pauses, before its runs divide it.
    pub(crate) pause: AlphaShare,
}

/// What a metric that warns must reach: its error of 5 % isn't divided.
const WARN_E_VALUE: f64 = 20.0;

impl BudgetShares {
    /// The share of a metric of a class in its `run`-th run, from 1. Each time an operator resumes after a
    /// pause, the metric asks again in another run, with 1/(j(j+1)) of its share in run j.
    pub(crate) fn class(&self, class: OnFailure, run: u64) -> AlphaShare {
        match class {
            OnFailure::Abort => self.abort,
            OnFailure::Pause => {
                AlphaShare { omega: self.pause.omega * window_share(run), ..self.pause }
            }
            OnFailure::Warn => AlphaShare { omega: 1.0, log_limit: WARN_E_VALUE.ln() },
        }
    }
}

/// What a test concluded, and what it saw since the step's start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TestStatus {
    failed: Option<DecisiveEvidence>,
    window: Option<u64>,
    /// Blocks closed since the step's start, and whether one had something of both versions.
    closed: u64,
    both: bool,
    lines: LineCounts,
}

/// The tick at which the evidence sufficed. That it did once decides, wherever it goes later.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct DecisiveEvidence {
    #[serde(with = "exact")]
    log_e: f64,
    window: Option<u64>,
}

impl TestStatus {
    /// Forgets the blocks so far: a step wants blocks of its own.
    pub(crate) const fn begin_step(&mut self) {
        self.closed = 0;
        self.both = false;
    }

    /// Forgets that the evidence sufficed: it is gathered again, from blocks of its own.
    pub(crate) const fn restart(&mut self) {
        self.failed = None;
        self.begin_step();
    }

    /// Whether no block since the step's start had something of both versions, failed or not.
    pub(crate) const fn lacks_data(&self) -> bool {
        !self.both
    }

    /// Notes what became of a line, and the evidence after it.
    pub(crate) fn note(
        &mut self,
        update: BlockUpdate,
        tick: &TickContext,
        log_e: f64,
        alpha_share: AlphaShare,
    ) {
        self.window = tick.sticky.then_some(tick.window);
        match update {
            BlockUpdate::Dropped => self.lines.dropped += 1,
            BlockUpdate::LeftOut => self.lines.left_out += 1,
            BlockUpdate::Open => self.lines.used += 1,
            BlockUpdate::Closed { both } => {
                self.lines.used += 1;
                self.closed += 1;
                self.both |= both;
            }
        }
        let closed = matches!(update, BlockUpdate::Closed { .. });
        if closed && self.failed.is_none() && alpha_share.evidence(log_e, self.window).suffices() {
            self.failed = Some(DecisiveEvidence { log_e, window: self.window });
        }
    }

    pub(crate) const fn conclusion(&self) -> Conclusion {
        match (self.failed, self.both) {
            (Some(_), _) => Conclusion::Fail,
            (None, true) => Conclusion::Pass,
            (None, false) => Conclusion::Insufficient,
        }
    }

    /// The evidence that decided, else the present one.
    pub(crate) fn evidence(&self, log_e: f64, alpha_share: AlphaShare) -> Evidence {
        match self.failed {
            Some(failure) => alpha_share.evidence(failure.log_e, failure.window),
            None => alpha_share.evidence(log_e, self.window),
        }
    }

    /// What is missing since the step's start; `next_block` is what the test needs for its next block.
    pub(crate) fn missing(&self, next_block: Option<InsufficientData>) -> Option<InsufficientData> {
        if !self.lacks_data() {
            return None;
        }
        if self.closed > 0 {
            return Some(InsufficientData::BothVersions);
        }
        next_block
    }

    pub(crate) const fn lines(&self) -> LineCounts {
        self.lines
    }
}
