//! What happened when: the intervals that excuse failures, and the lives of Envoy's processes.

use std::time::Instant;

use super::plan::ChaosPlace;

/// From one moment to another, in seconds since the beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    /// The first moment that belongs to it.
    pub begin: f64,
    /// The last moment that belongs to it.
    pub end: f64,
}

impl Span {
    /// Whether both have a moment in common.
    #[must_use]
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.begin <= other.end && other.begin <= self.end
    }
}

/// The intervals of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct ChaosTimeline {
    /// When an upstream refused connections.
    pub away: Vec<(ChaosPlace, Span)>,
    /// From each kill of Envoy until it served again.
    pub envoy_down: Vec<Span>,
    /// When nothing could be written to the journals' disk.
    pub disk_full: Vec<Span>,
    /// When this upstream began to refuse connections, while it still does.
    pub(super) open: Vec<(ChaosPlace, f64)>,
}

impl ChaosTimeline {
    /// An upstream is about to refuse connections.
    pub(super) fn leaves(&mut self, place: ChaosPlace, start: Instant) {
        self.open.push((place, start.elapsed().as_secs_f64()));
    }

    /// It lets connections in again.
    pub(super) fn returns(&mut self, place: ChaosPlace, start: Instant) {
        let end = start.elapsed().as_secs_f64();
        let gone = self.open.extract_if(.., |(at, _)| *at == place);
        self.away.extend(gone.map(|(place, begin)| (place, Span { begin, end })));
    }

    /// The journals' disk is full from now on.
    pub(super) fn disk_fills(&mut self, start: Instant) {
        let begin = start.elapsed().as_secs_f64();
        self.disk_full.push(Span { begin, end: f64::INFINITY });
    }

    /// There is space again.
    pub(super) fn disk_is_free(&mut self, start: Instant) {
        if let Some(last) = self.disk_full.last_mut() {
            last.end = start.elapsed().as_secs_f64();
        }
    }

    /// The lives of Envoy's processes: from when one may have served first to its kill.
    #[must_use]
    pub(super) fn lives(&self) -> Vec<Span> {
        let begins = [0.0].into_iter().chain(self.envoy_down.iter().map(|down| down.begin));
        let ends = self.envoy_down.iter().map(|down| down.begin).chain([f64::INFINITY]);
        begins.zip(ends).map(|(begin, end)| Span { begin, end }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_between_two_lives() {
        let down = Span { begin: 3.0, end: 4.0 };
        let timeline = ChaosTimeline { envoy_down: vec![down], ..ChaosTimeline::default() };
        let lives = [Span { begin: 0.0, end: 3.0 }, Span { begin: 3.0, end: f64::INFINITY }];
        assert_eq!(timeline.lives(), lives);
        assert!(down.overlaps(lives[0]) && down.overlaps(lives[1]));
        assert!(!down.overlaps(Span { begin: 4.5, end: 5.0 }));
    }

    #[test]
    fn an_absence_begins_and_ends() {
        let mut timeline = ChaosTimeline::default();
        let start = Instant::now();
        timeline.leaves(ChaosPlace::Canary, start);
        timeline.returns(ChaosPlace::Stable, start);
        assert!(timeline.away.is_empty());
        timeline.returns(ChaosPlace::Canary, start);
        assert!(
            matches!(timeline.away[..], [(ChaosPlace::Canary, span)] if span.end >= span.begin)
        );
    }
}
