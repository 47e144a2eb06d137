//! How a response's body progresses: when its first byte came, and how far its chunks lie apart.

/// The times of a body's chunks, or of a stream's events with content, in nanoseconds of the host's
/// monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyTimer {
    first_ns: Option<u64>,
    last_ns: u64,
    count: u64,
}

impl BodyTimer {
    /// So many chunks or events have come at once.
    pub fn mark(&mut self, count: u64, now_ns: u64) {
        if count > 0 {
            self.first_ns.get_or_insert(now_ns);
            self.last_ns = now_ns;
            self.count += count;
        }
    }

    /// When the first one came; `None` if none has come yet.
    pub fn first_ns(&self) -> Option<u64> {
        self.first_ns
    }

    /// The mean time between two of them in microseconds, (last − first) ÷ (n − 1); `None` below two.
    pub fn gap_us(&self) -> Option<u64> {
        let gaps = self.count.checked_sub(1).filter(|gaps| *gaps > 0)?;
        Some(self.last_ns.saturating_sub(self.first_ns?) / gaps / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(marks_us: &[u64]) -> BodyTimer {
        let mut timer = BodyTimer::default();
        marks_us.iter().for_each(|at| timer.mark(1, at * 1_000));
        timer.mark(0, 1_000_000);
        timer
    }

    #[test]
    fn the_gap_is_the_mean_of_all_gaps() {
        for (marks, first, gap) in [
            (&[][..], None, None),
            (&[7], Some(7_000), None),
            (&[7, 7], Some(7_000), Some(0)),
            (&[10, 20], Some(10_000), Some(10)),
            (&[10, 11, 40], Some(10_000), Some(15)),
            (&[0, 1, 2, 100], Some(0), Some(33)),
        ] {
            assert_eq!((timer(marks).first_ns(), timer(marks).gap_us()), (first, gap), "{marks:?}");
        }
    }
}
