//! Blocks of ticks, and what a change of weight or window does to them.
//!
//! A test is updated once a block, not once a line: within a block both versions must share their
//! circumstances, and with only a handful of requests a line would cost much of the power. A block
//! closes at the first line that brings it to 30; that looks at how many requests there were, never
//! at how they ended, so it can't be gamed by outcomes.

use serde::{Deserialize, Serialize};

use super::counts::{Merge, Sides, Trials};
use super::observation::Observation;
use canary_model::weight::Weight;

/// How many requests or observations close a block.
pub(crate) const FULL: u64 = 30;

/// A block that has not closed yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Block<C> {
    content: C,
    size: u64,
}

impl<C: Merge + Default> Block<C> {
    /// Takes a line in; gives the whole block if that closes it.
    pub(crate) fn add(&mut self, content: &C, size: u64) -> Option<C> {
        self.grow(size, |held| held.merge(content))
    }

    /// The same for a line that is not at hand as one value.
    pub(crate) fn grow(&mut self, size: u64, merge: impl FnOnce(&mut C)) -> Option<C> {
        merge(&mut self.content);
        self.size = self.size.saturating_add(size);
        (self.size >= FULL).then(|| self.discard())
    }

    /// Empties the block and gives what was in it.
    pub(crate) fn discard(&mut self) -> C {
        self.size = 0;
        std::mem::take(&mut self.content)
    }

    /// How many requests or observations it holds.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }
}

impl Block<Sides<Trials>> {
    /// Takes a line of requests in: what became of it, and the whole block if that closes it. `left_out`: it
    /// has no stable request.
    pub(crate) fn add_requests(
        &mut self,
        tick: Sides<Trials>,
        left_out: bool,
    ) -> (BlockUpdate, Option<Sides<Trials>>) {
        if left_out {
            return (BlockUpdate::LeftOut, None);
        }
        let size = tick.treatment.trials.saturating_add(tick.control.trials);
        let Some(block) = self.add(&tick, size) else {
            return (BlockUpdate::Open, None);
        };
        let sizes = Sides { treatment: block.treatment.trials, control: block.control.trials };
        (BlockUpdate::closed(sizes), Some(block))
    }
}

/// What became of a line in one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockUpdate {
    /// A part that the test needs is missing: as if the line did not exist.
    Dropped,
    /// Not compared: no stable request, or the weight or window changed.
    LeftOut,
    /// In the open block.
    Open,
    /// It closed a block; whether that holds something of both versions.
    Closed {
        /// Whether it has requests of both versions.
        both: bool,
    },
}

impl BlockUpdate {
    /// A closed block with so many requests on each side.
    pub(crate) const fn closed(sizes: Sides<u64>) -> Self {
        Self::Closed { both: sizes.treatment > 0 && sizes.control > 0 }
    }
}

/// What a line changes before any test reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TickContext {
    /// The line's time in seconds.
    pub(crate) t: f64,
    /// The weight under which the requests were assigned that the line counts at their age.
    pub(crate) weight: Weight,
    /// The weight in force when the line was read: that of what it counts at once or at its end.
    pub(crate) in_force: Weight,
    /// Whether clients are judged.
    pub(crate) sticky: bool,
    /// What is other than on the line before.
    pub(crate) change: Option<Change>,
    /// The window's number, by order of appearance, from 1.
    pub(crate) window: u64,
}

/// A line on which nothing changes, for tests; they change what matters to them.
#[cfg(test)]
pub(crate) const STILL: TickContext = TickContext {
    t: 1.0,
    weight: Weight::ZERO,
    in_force: Weight::ZERO,
    sticky: false,
    change: None,
    window: 1,
};

/// What is other than on the line before.
///
/// Failures and conversions are counted at one age, so a block of totals and failures belongs to the same
/// requests whatever their weights: without affinity no line of theirs is left out. In all other tests a
/// change discards the open block, and the line is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The weight in force changed, and the window did not.
    Weight,
    /// The window, in rollouts with affinity: the proxies forgot which clients they had counted, and
    /// every test starts again.
    Window,
}

/// Follows weight and window from line to line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timeline {
    last: Option<(u32, Option<u64>)>,
    window: u64,
}

impl Timeline {
    /// Takes the next line. The first is no change.
    pub(crate) fn advance(&mut self, line: &Observation, sticky: bool) -> TickContext {
        let in_force = line.weight_in_force();
        let now = (in_force.ppm(), line.window);
        let change = self.last.and_then(|(weight, window)| {
            if sticky && window != now.1 {
                return Some(Change::Window);
            }
            (weight != now.0).then_some(Change::Weight)
        });
        if self.last.is_none() || change == Some(Change::Window) {
            self.window = self.window.saturating_add(1);
        }
        self.last = Some(now);
        let (t, weight) = (line.t, line.weight);
        TickContext { t, weight, in_force, sticky, change, window: self.window }
    }
}

/// Window j's share of the tolerated error: 1/(j(j+1)), which sums to one over all windows.
pub(crate) fn window_share(window: u64) -> f64 {
    let j = window.max(1) as f64;
    1.0 / (j * (j + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_close_at_thirty() {
        let mut block = Block::<u64>::default();
        assert_eq!(block.add(&29, 29), None);
        assert_eq!(block.size(), 29);
        assert_eq!(block.add(&2, 2), Some(31));
        assert_eq!(block, Block::default());
        assert_eq!(block.add(&1_000, 1_000), Some(1_000));
        assert_eq!((block.add(&7, 7), block.discard(), block.size()), (None, 7, 0));
    }

    #[test]
    fn the_weight_in_force_changes_before_that_of_the_requests_at_their_age() {
        let mut timeline = Timeline::default();
        let weight = |percent: u32| Weight::from_ppm(percent * 10_000).unwrap();
        let line = |at_age, in_force: Option<u32>| Observation {
            weight: weight(at_age),
            assigned_weight: in_force.map(weight),
            ..Observation::default()
        };
        let lines = [line(5, None), line(5, Some(25)), line(5, Some(25)), line(25, None)];
        let ticks = lines.map(|line| timeline.advance(&line, false));
        let seen = ticks.map(|tick| (tick.weight, tick.in_force, tick.change));
        let changed = Some(Change::Weight);
        let expected = [
            (weight(5), weight(5), None),
            (weight(5), weight(25), changed),
            (weight(5), weight(25), None),
            (weight(25), weight(25), None),
        ];
        assert_eq!(seen, expected);
    }

    fn changes(lines: &[(u32, Option<u64>)], sticky: bool) -> Vec<(Option<Change>, u64)> {
        let mut timeline = Timeline::default();
        let line = |(ppm, window): &(u32, Option<u64>)| Observation {
            weight: Weight::from_ppm(*ppm).unwrap(),
            window: *window,
            ..Observation::default()
        };
        let tick = |at| timeline.advance(&line(at), sticky);
        lines.iter().map(tick).map(|tick| (tick.change, tick.window)).collect()
    }

    #[test]
    fn the_first_line_is_no_change_and_any_other_window_is_a_new_one() {
        let lines =
            [(5, Some(1)), (5, Some(1)), (9, Some(1)), (9, Some(2)), (5, Some(1)), (5, None)];
        let window = Some(Change::Window);
        assert_eq!(
            changes(&lines, true),
            [
                (None, 1),
                (None, 1),
                (Some(Change::Weight), 1),
                (window, 2),
                (window, 3),
                (window, 4)
            ]
        );
        let weight = Some(Change::Weight);
        assert_eq!(
            changes(&lines, false),
            [(None, 1), (None, 1), (weight, 1), (None, 1), (weight, 1), (None, 1)],
            "without affinity there is one window"
        );
    }

    #[test]
    fn window_shares_sum_to_one() {
        assert_eq!((window_share(1), window_share(2)), (0.5, 1.0 / 6.0));
        let sum: f64 = (1..100_000).map(window_share).sum();
        assert!(sum < 1.0 && sum > 0.9999);
    }
}
