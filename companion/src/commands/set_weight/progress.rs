//! Whether a weight has come into force, and if not, why. Pure.

use canary_model::stat_name::FilterMetric;
use canary_model::weight::Weight;

use crate::envoy::Stats;
use crate::observe::{self, Gauges};

/// What the filter's statistics say at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FilterSample {
    gauges: Gauges,
    heartbeat: Option<u64>,
    polls: Option<u64>,
    failed_polls: Option<u64>,
}

impl FilterSample {
    pub(super) fn from_stats(stats: &Stats, rollout: &str) -> Self {
        Self {
            gauges: observe::gauges(stats, rollout),
            heartbeat: observe::filter_metric(stats, FilterMetric::Heartbeat),
            polls: observe::filter_metric(stats, FilterMetric::PollSuccess),
            failed_polls: observe::filter_metric(stats, FilterMetric::PollFailure),
        }
    }
}

/// How far the weight has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The filter has it.
    InForce,
    /// It never will in this epoch.
    GuardTripped,
    /// Not yet; the text says what the statistics show about it.
    Waiting(String),
}

/// Compares the first sample after the update with the one of now. `new_epoch` says that the update
/// clears a tripped guard, whose gauge then lags behind.
pub(super) fn judge(
    target: Weight,
    new_epoch: bool,
    first: &FilterSample,
    now: &FilterSample,
) -> Progress {
    if now.gauges.in_force == Some(target) {
        return Progress::InForce;
    }
    if now.gauges.guard_tripped == Some(true) && !new_epoch {
        return Progress::GuardTripped;
    }
    let stands = |of: fn(&FilterSample) -> Option<u64>| of(first) == of(now);
    let why = if stands(|sample| sample.heartbeat) && stands(|sample| sample.polls) {
        "the filter's heartbeat stands still: it is not running"
    } else if stands(|sample| sample.polls) && !stands(|sample| sample.failed_polls) {
        "the filter's polls of the admin interface fail: see runtime.cluster in its configuration"
    } else if stands(|sample| sample.polls) {
        "the filter has not polled the runtime"
    } else {
        "the filter polls the runtime but keeps another weight"
    };
    let holds = now.gauges.in_force.map_or("none".to_owned(), |weight| format!("{weight} %"));
    Progress::Waiting(format!("{why} (in force: {holds})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ppm: u32, tripped: bool, heartbeat: u64, polls: u64, failed: u64) -> FilterSample {
        FilterSample {
            gauges: Gauges {
                in_force: Weight::from_ppm(ppm),
                guard_tripped: Some(tripped),
                ..Gauges::default()
            },
            heartbeat: Some(heartbeat),
            polls: Some(polls),
            failed_polls: Some(failed),
        }
    }

    #[test]
    fn says_what_it_waits_for() {
        let five = Weight::from_ppm(50_000).unwrap();
        let first = sample(0, false, 10, 1, 0);
        let judge = |now: &FilterSample| judge(five, false, &first, now);
        assert_eq!(judge(&sample(50_000, false, 10, 1, 0)), Progress::InForce);
        assert_eq!(judge(&sample(0, true, 10, 2, 0)), Progress::GuardTripped);
        let why = |now: &FilterSample| match judge(now) {
            Progress::Waiting(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(&first).contains("stands still"));
        assert!(why(&sample(0, false, 12, 1, 3)).contains("polls of the admin interface fail"));
        assert!(why(&sample(0, false, 12, 1, 0)).contains("has not polled"));
        assert!(why(&sample(10_000, false, 12, 4, 0)).contains("another weight (in force: 1 %)"));
        let lagging = super::judge(five, true, &first, &sample(0, true, 12, 2, 0));
        assert!(matches!(lagging, Progress::Waiting(_)), "a new epoch clears the guard");
    }
}
