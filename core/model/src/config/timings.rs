//! Reads `timings`: what is measured of a response's progress.

use crate::document::{ConfigErrors, Node};

/// What is measured of a response's progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// The time to the first byte, `rq_ttfb_us`.
    pub ttfb: bool,
    /// The mean time between chunks, `rq_gap_us`.
    pub gap: bool,
}

impl Timings {
    /// Reads the list; each timing at most once.
    pub(super) fn read(node: &Node<'_>, problems: &mut ConfigErrors) -> Self {
        let mut timings = Self::default();
        for item in node.list(2, problems).unwrap_or_default() {
            let timing = match item.value().as_str() {
                Some("ttfb") => &mut timings.ttfb,
                Some("gap") => &mut timings.gap,
                _ => {
                    item.expected(problems, "a timing such as ttfb or gap");
                    continue;
                }
            };
            if std::mem::replace(timing, true) {
                item.problem(problems, "duplicate entry: a timing is measured once");
            }
        }
        timings
    }
}
