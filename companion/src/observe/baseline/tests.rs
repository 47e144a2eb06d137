use std::time::Duration;

use canary_judge::counts::Pair;
use canary_model::role::Role;

use canary_model::runtime::{RolloutRuntime, Snapshot};

use super::super::counters::Counter;
use super::super::{Configuration, Gauges};
use super::*;
use crate::error::Error;

const FIVE: u32 = 50_000;

fn report(url: &str, ppm: u32, total: u64, failure: u64) -> EnvoyReply<Scrape> {
    let mut counters = RolloutCounters::default();
    let counts = [
        (Role::Canary, Counter::Judged, total),
        (Role::Canary, Counter::JudgedFailures, failure),
        (Role::Canary, Counter::Assigned, total),
        (Role::Stable, Counter::Judged, 10 * total),
    ];
    for (role, count, value) in counts {
        let version = counters.versions.entry((role, "1".to_owned())).or_default();
        version.counts.insert(count, value);
    }
    let scrape = Scrape {
        gauges: Gauges { in_force: Weight::from_ppm(ppm), ..Gauges::default() },
        counters,
        runtime: RolloutRuntime::new(&Snapshot::default(), "scorer"),
        configuration: Configuration::default(),
        endpoints: Pair::default(),
    };
    EnvoyReply { url: url.to_owned(), result: Ok(scrape) }
}

fn silent(url: &str) -> EnvoyReply<Scrape> {
    let error = Error::Unreachable { url: url.to_owned(), cause: "refused".to_owned() };
    EnvoyReply { url: url.to_owned(), result: Err(error) }
}

/// With requests that are judged at once: the weight at the age is the present one.
fn update(
    baseline: &mut CounterBaseline,
    reports: Vec<EnvoyReply<Scrape>>,
    ppm: u32,
) -> FleetScrape {
    let now = Weight::from_ppm(ppm).unwrap();
    let expected = ExpectedWeights { now, at_age: Some(now), ..ExpectedWeights::default() };
    let at = baseline.last.map_or_else(Instant::now, |last| last + Duration::from_secs(1));
    baseline.update(reports, expected, at)
}

fn take(baseline: &mut CounterBaseline, reports: Vec<EnvoyReply<Scrape>>) -> Option<(u64, u64)> {
    let look = update(baseline, reports, FIVE);
    let canary = look.observation?.roles.canary;
    Some((canary.total?, canary.failure?))
}

#[test]
fn sums_what_happened_since_the_look_before() {
    let mut baseline = CounterBaseline::default();
    let first = vec![report("a", FIVE, 100, 7), report("b", FIVE, 50, 0)];
    let before = take(&mut baseline, first);
    assert_eq!(before, Some((0, 0)), "what was before the rollout does not count");
    let next = vec![report("a", FIVE, 103, 8), report("b", FIVE, 54, 0)];
    assert_eq!(take(&mut baseline, next), Some((7, 1)));
}

#[test]
fn an_envoy_that_was_away_brings_everything_with_it() {
    let mut baseline = CounterBaseline::default();
    take(&mut baseline, vec![report("a", FIVE, 10, 0), report("b", FIVE, 10, 0)]);
    let look = update(&mut baseline, vec![silent("a"), report("b", FIVE, 11, 0)], FIVE);
    assert!(matches!(&look.envoys["a"], EnvoyInput::Unreachable(why) if why.contains("refused")));
    assert_eq!(look.errors.len(), 1);
    let back = vec![report("a", FIVE, 15, 2), report("b", FIVE, 11, 0)];
    assert_eq!(take(&mut baseline, back), Some((5, 2)));
}

#[test]
fn a_restart_loses_nothing_that_was_counted() {
    let mut baseline = CounterBaseline::default();
    take(&mut baseline, vec![report("a", FIVE, 100, 9)]);
    assert_eq!(take(&mut baseline, vec![report("a", FIVE, 104, 9)]), Some((4, 0)));
    assert_eq!(take(&mut baseline, vec![report("a", FIVE, 3, 1)]), Some((3, 1)));
    assert_eq!(take(&mut baseline, vec![report("a", FIVE, 5, 1)]), Some((2, 0)));
}

/// What is counted at once of the canary.
fn assigned(baseline: &mut CounterBaseline, reports: Vec<EnvoyReply<Scrape>>) -> Option<u64> {
    update(baseline, reports, FIVE).observation?.roles.canary.assigned
}

#[test]
fn another_split_takes_no_part() {
    let mut baseline = CounterBaseline::default();
    let both =
        |a, total_a, b, total_b| vec![report("a", a, total_a, 0), report("b", b, total_b, 0)];
    assigned(&mut baseline, both(10_000, 100, 10_000, 100));
    assert_eq!(assigned(&mut baseline, both(10_000, 101, 10_000, 101)), Some(0), "not there yet");
    assert_eq!(assigned(&mut baseline, both(FIVE, 103, FIVE, 103)), Some(0), "mixed");
    assert_eq!(assigned(&mut baseline, both(FIVE, 110, FIVE, 110)), Some(14));
    let expired = assigned(&mut baseline, both(0, 120, FIVE, 111));
    assert_eq!(expired, Some(1), "one is back on stable by itself");
    let again = assigned(&mut baseline, both(FIVE, 130, FIVE, 112));
    assert_eq!(again, Some(1), "and mixed when it is back");
}

#[test]
fn who_follows_at_once_takes_part_in_what_the_judge_leaves_out() {
    let mut baseline = CounterBaseline::default();
    update(&mut baseline, vec![report("a", 10_000, 100, 0)], 10_000);
    assert_eq!(assigned(&mut baseline, vec![report("a", FIVE, 103, 0)]), Some(3));
    assert_eq!(assigned(&mut baseline, vec![report("a", FIVE, 107, 0)]), Some(4));
}

/// An Envoy that is back on stable for a while leaves out what it assigned then, when that comes of age;
/// until then it goes on with what it assigned before.
#[test]
fn what_was_assigned_under_another_weight_is_left_out_at_its_age() {
    let mut baseline = CounterBaseline::default();
    let five = Weight::from_ppm(FIVE).unwrap();
    let age = Duration::from_secs(10);
    let expected = ExpectedWeights { now: five, age, at_age: Some(five) };
    let begin = Instant::now();
    let left_out = (0..40).filter(|second| {
        let ppm = if *second == 20 { 0 } else { FIVE };
        let at = begin + Duration::from_secs(*second);
        let look = baseline.update(vec![report("a", ppm, *second, 0)], expected, at);
        *second > 0 && look.observation.unwrap().roles.canary.total == Some(0)
    });
    let left_out: Vec<u64> = left_out.collect();
    assert!(left_out.contains(&30) && left_out.contains(&31), "{left_out:?}");
    assert!(left_out.iter().all(|second| (29..=32).contains(second)), "{left_out:?}");
}

#[test]
fn half_a_reading_waits_for_the_other_half() {
    let mut baseline = CounterBaseline::default();
    take(&mut baseline, vec![report("a", FIVE, 10, 0)]);
    assert_eq!(take(&mut baseline, vec![report("a", FIVE, 10, 1)]), None);
    assert_eq!(take(&mut baseline, vec![report("a", FIVE, 11, 1)]), Some((1, 1)));
    for _ in 0..MAX_IMPOSSIBLE {
        assert_eq!(take(&mut baseline, vec![report("a", FIVE, 11, 2)]), None);
    }
    let look = update(&mut baseline, vec![report("a", FIVE, 11, 2)], FIVE);
    assert!(look.notes[0].contains("contradict"), "{:?}", look.notes);
    assert_eq!(take(&mut baseline, vec![report("a", FIVE, 12, 2)]), Some((1, 0)));
}

#[test]
fn a_member_that_left_begins_anew() {
    let mut baseline = CounterBaseline::default();
    take(&mut baseline, vec![report("a", FIVE, 10, 0), report("b", FIVE, 1, 0)]);
    take(&mut baseline, vec![report("b", FIVE, 1, 0)]);
    let back = vec![report("a", FIVE, 500, 100), report("b", FIVE, 2, 0)];
    assert_eq!(take(&mut baseline, back), Some((1, 0)));
}
