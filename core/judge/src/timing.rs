//! What of a request's time is compared.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A duration that the filter measures of each request, and that a latency metric compares.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// From the request's headers to the end of the answer: `rq_time_us`.
    #[default]
    Total,
    /// From the request's headers to the first byte, or the first event with content: `rq_ttfb_us`.
    Ttfb,
    /// The mean time between an answer's chunks, or events with content: `rq_gap_us`.
    Gap,
}

impl Timing {
    /// All timings, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Total, Self::Ttfb, Self::Gap];

    /// The word for it in a rollout file (`of:`), in verdicts and in `get`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Ttfb => "ttfb",
            Self::Gap => "gap",
        }
    }

    /// Whether it is the whole time, which is what a file means that doesn't say.
    pub const fn is_total(&self) -> bool {
        matches!(self, Self::Total)
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
