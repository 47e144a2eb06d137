//! How a test with evidence stands: what it failed on, and what it saw since the step's start.

use serde::{Deserialize, Serialize};

use super::blocks::{Taken, TickContext, window_share};
use super::numerics::exact;
use super::verdict::{Conclusion, Evidence, Lack, Lines, Missing};

/// The part of the tolerated error that a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AlphaShare {
    /// The metric's share.
    #[serde(with = "exact")]
    pub(crate) omega: f64,
    /// ln(1/falseAbort).
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

/// A test's standing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TestStatus {
    failed: Option<Failure>,
    window: Option<u64>,
    /// Blocks closed since the step's start, and whether one had something of both versions.
    closed: u64,
    both: bool,
    lines: Lines,
}

/// The moment at which the evidence sufficed. That it did once decides, wherever it goes later.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Failure {
    #[serde(with = "exact")]
    log_e: f64,
    window: Option<u64>,
}

impl TestStatus {
    /// A step begins.
    pub(crate) const fn begin_step(&mut self) {
        self.closed = 0;
        self.both = false;
    }

    /// Notes what became of a line, and the evidence after it.
    pub(crate) fn note(
        &mut self,
        taken: Taken,
        moment: &TickContext,
        log_e: f64,
        allowance: AlphaShare,
    ) {
        self.window = moment.keyed.then_some(moment.window);
        match taken {
            Taken::Dropped => self.lines.dropped += 1,
            Taken::LeftOut => self.lines.left_out += 1,
            Taken::Open => self.lines.used += 1,
            Taken::Closed { both } => {
                self.lines.used += 1;
                self.closed += 1;
                self.both |= both;
            }
        }
        let closed = matches!(taken, Taken::Closed { .. });
        if closed && self.failed.is_none() && allowance.evidence(log_e, self.window).suffices() {
            self.failed = Some(Failure { log_e, window: self.window });
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
    pub(crate) fn evidence(&self, log_e: f64, allowance: AlphaShare) -> Evidence {
        match self.failed {
            Some(failure) => allowance.evidence(failure.log_e, failure.window),
            None => allowance.evidence(log_e, self.window),
        }
    }

    /// What is missing since the step's start; `of_test` is what the test lacks for its next block.
    pub(crate) fn missing(&self, of_test: Option<Missing>) -> Option<Missing> {
        if self.conclusion() != Conclusion::Insufficient {
            return None;
        }
        if self.closed > 0 {
            return Some(Missing { what: Lack::BothVersions, have: 0, need: 1 });
        }
        of_test
    }

    pub(crate) const fn lines(&self) -> Lines {
        self.lines
    }
}
