//! A rollout over time, in memory: at most [`MAX_POINTS`] points, however long it runs. Adding one takes
//! constant time on average. Pure.

use canary_judge::counts::Pair;
use canary_judge::timing::Timing;
use canary_model::role::Role;
use serde::Serialize;
use serde::ser::Serializer;

use super::sample::VersionSample;

/// The most points that are kept; beyond, neighbors are put together.
pub(crate) const MAX_POINTS: usize = 720;

/// The points of the charts.
#[derive(Clone, Debug)]
pub(crate) struct History {
    points: Vec<Point>,
    /// How many seconds a point spans at most.
    span: f64,
    /// How often neighbors were put together: the indexes of points changed each time.
    thinned: u32,
}

/// A stretch of time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    /// Its end on the rollout's clock, in seconds.
    pub(crate) t: f64,
    /// The weight that its requests were assigned under, in percent.
    pub(crate) weight: f64,
    /// The weight that was written last, in percent; `None` before the first.
    pub(crate) set: Option<f64>,
    /// What the filters said, in percent; `None` where they differed or didn't say.
    pub(crate) in_force: Option<f64>,
    /// What was counted of each version.
    pub(crate) counts: Pair<VersionSample>,
    /// The evidence of each metric, as a part of what makes it act.
    pub(crate) evidence: Vec<f64>,
    /// The non-inferiority test of each metric, as a part of what certifies it; `None` where there is none.
    pub(crate) certified: Vec<Option<f64>>,
}

/// A written report has the points alone.
impl Serialize for History {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.points.serialize(serializer)
    }
}

impl Default for History {
    fn default() -> Self {
        Self { points: Vec::new(), span: 1.0, thinned: 0 }
    }
}

impl History {
    /// The points, oldest first. The last one may still grow.
    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    /// How often the indexes of points have changed.
    pub(crate) const fn thinned(&self) -> u32 {
        self.thinned
    }

    /// Adds a point, into the last one where that is still short and shows the same weights.
    pub(crate) fn add(&mut self, point: Point) {
        self.put(point);
        if self.points.len() > MAX_POINTS {
            self.thin();
        }
    }

    fn put(&mut self, point: Point) {
        let begin = self.points.iter().rev().nth(1).map_or(f64::NEG_INFINITY, |before| before.t);
        let span = self.span;
        match self.points.last_mut() {
            Some(last) if last.like(&point) && point.t - begin <= span => last.join(point),
            _ => self.points.push(point),
        }
    }

    /// Makes room. Weights that change all the time would keep every point apart, so if few were joined,
    /// each is joined with its neighbor.
    fn thin(&mut self) {
        self.span *= 2.0;
        self.thinned = self.thinned.wrapping_add(1);
        for point in std::mem::take(&mut self.points) {
            self.put(point);
        }
        if self.points.len() > MAX_POINTS * 3 / 4 {
            let mut points = std::mem::take(&mut self.points).into_iter();
            while let Some(mut point) = points.next() {
                if let Some(next) = points.next() {
                    point.join(next);
                }
                self.points.push(point);
            }
        }
    }
}

impl Point {
    fn like(&self, other: &Self) -> bool {
        self.weight == other.weight && self.set == other.set && self.in_force == other.in_force
    }

    /// Puts a later point into this one: counts are added, evidence keeps its highest value.
    fn join(&mut self, later: Self) {
        for role in Role::ALL {
            self.counts.get_mut(role).merge(later.counts.get(role));
        }
        (self.t, self.weight) = (later.t, later.weight);
        (self.set, self.in_force) = (later.set, later.in_force);
        self.certified = later.certified;
        if self.evidence.len() != later.evidence.len() {
            self.evidence = later.evidence;
            return;
        }
        for (most, evidence) in self.evidence.iter_mut().zip(later.evidence) {
            *most = most.max(evidence);
        }
    }

    /// The canary's share of the requests, in percent; `None` without requests.
    pub(crate) fn measured(&self) -> Option<f64> {
        let requests = Pair {
            stable: self.counts.stable.requests.trials,
            canary: self.counts.canary.requests.trials,
        };
        (requests.sum() > 0).then(|| 100.0 * requests.canary as f64 / requests.sum() as f64)
    }

    /// A quantile of one version's times, in milliseconds.
    pub(crate) fn quantile_ms(&self, role: Role, timing: Timing, share: f64) -> Option<f64> {
        let recorded = &self.counts.get(role).recorded;
        let times = match timing {
            Timing::Total => &recorded.time_us,
            Timing::Ttfb => &recorded.ttfb_us,
            Timing::Gap => &recorded.gap_us,
        };
        times.quantile(share).map(|us| us / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(t: f64, weight: f64, in_force: Option<f64>) -> Point {
        let mut counts = Pair::<VersionSample>::default();
        counts.stable.requests.trials = 9;
        counts.canary.requests.trials = 1;
        let (set, evidence, certified) = (Some(weight), vec![t], vec![None]);
        Point { t, weight, set, in_force, counts, evidence, certified }
    }

    fn requests(history: &History) -> u64 {
        history.points().iter().map(|point| point.counts.stable.requests.trials).sum()
    }

    #[test]
    fn a_day_fits_and_nothing_is_lost() {
        let mut history = History::default();
        for t in 0..86_400u32 {
            let weight = if t < 3_600 { 5.0 } else { 50.0 };
            history.add(point(f64::from(t), weight, Some(weight)));
            assert!(history.points().len() <= MAX_POINTS);
        }
        assert_eq!(requests(&history), 9 * 86_400);
        let last = history.points().last().unwrap();
        assert_eq!((last.t, last.measured()), (86_399.0, Some(10.0)));
        assert_eq!(last.evidence, [86_399.0], "the highest of each stretch");
        let change = history.points().iter().position(|point| point.weight == 50.0).unwrap();
        let before = &history.points()[change - 1];
        assert_eq!((before.t, before.weight), (3_599.0, 5.0), "a change of weight stays sharp");
    }

    #[test]
    fn weights_that_change_all_the_time_are_bounded_as_well() {
        let mut history = History::default();
        for t in 0..20_000u32 {
            let flaps = if t.is_multiple_of(2) { None } else { Some(5.0) };
            history.add(point(f64::from(t), 5.0, flaps));
            assert!(history.points().len() <= MAX_POINTS);
        }
        assert_eq!(requests(&history), 9 * 20_000);
        assert!(history.thinned() < 100, "thinned {} times", history.thinned());
    }
}
