use canary_model::role::Role;

use super::super::counters::Count;
use super::*;

const FIVE: u32 = 50_000;

fn report(url: &str, ppm: u32, total: u64, failure: u64) -> EnvoyReply<Member> {
    let counts = [
        ((Role::Canary, Count::Total), total),
        ((Role::Canary, Count::Failure), failure),
        ((Role::Stable, Count::Total), 10 * total),
    ];
    let shown = EnvoyReading { in_force: Weight::from_ppm(ppm), ..EnvoyReading::default() };
    let counters = Counters { counts: counts.into(), ..Counters::default() };
    EnvoyReply { url: url.to_owned(), result: Ok(Member { shown, counters }) }
}

fn silent(url: &str) -> EnvoyReply<Member> {
    let error = Error::Unreachable { url: url.to_owned(), cause: "refused".to_owned() };
    EnvoyReply { url: url.to_owned(), result: Err(error) }
}

fn take(ledger: &mut CounterBaseline, reports: Vec<EnvoyReply<Member>>) -> Option<(u64, u64)> {
    let look = ledger.take(reports, Weight::from_ppm(FIVE).unwrap());
    let canary = look.observation?.roles.canary;
    Some((canary.total?, canary.failure?))
}

#[test]
fn sums_what_happened_since_the_look_before() {
    let mut ledger = CounterBaseline::default();
    let first = vec![report("a", FIVE, 100, 7), report("b", FIVE, 50, 0)];
    let before = take(&mut ledger, first);
    assert_eq!(before, Some((0, 0)), "what was before the rollout does not count");
    let next = vec![report("a", FIVE, 103, 8), report("b", FIVE, 54, 0)];
    assert_eq!(take(&mut ledger, next), Some((7, 1)));
}

#[test]
fn an_envoy_that_was_away_brings_everything_with_it() {
    let mut ledger = CounterBaseline::default();
    take(&mut ledger, vec![report("a", FIVE, 10, 0), report("b", FIVE, 10, 0)]);
    let look = ledger.take(vec![silent("a"), report("b", FIVE, 11, 0)], Weight::ZERO);
    assert!(matches!(&look.envoys["a"], EnvoyInput::Unreachable(why) if why.contains("refused")));
    assert_eq!(look.errors.len(), 1);
    let back = vec![report("a", FIVE, 15, 2), report("b", FIVE, 11, 0)];
    assert_eq!(take(&mut ledger, back), Some((5, 2)));
}

#[test]
fn a_restart_loses_nothing_that_was_counted() {
    let mut ledger = CounterBaseline::default();
    take(&mut ledger, vec![report("a", FIVE, 100, 9)]);
    assert_eq!(take(&mut ledger, vec![report("a", FIVE, 104, 9)]), Some((4, 0)));
    assert_eq!(take(&mut ledger, vec![report("a", FIVE, 3, 1)]), Some((3, 1)));
    assert_eq!(take(&mut ledger, vec![report("a", FIVE, 5, 1)]), Some((2, 0)));
}

#[test]
fn another_split_takes_no_part() {
    let mut ledger = CounterBaseline::default();
    let both =
        |a, total_a, b, total_b| vec![report("a", a, total_a, 0), report("b", b, total_b, 0)];
    take(&mut ledger, both(10_000, 100, 10_000, 100));
    assert_eq!(take(&mut ledger, both(10_000, 101, 10_000, 101)), Some((0, 0)), "not there yet");
    assert_eq!(take(&mut ledger, both(FIVE, 103, FIVE, 103)), Some((0, 0)), "mixed");
    assert_eq!(take(&mut ledger, both(FIVE, 110, FIVE, 110)), Some((14, 0)));
    let expired = take(&mut ledger, both(0, 120, FIVE, 111));
    assert_eq!(expired, Some((1, 0)), "one is back on stable by itself");
    let again = take(&mut ledger, both(FIVE, 130, FIVE, 112));
    assert_eq!(again, Some((1, 0)), "and mixed when it is back");
}

#[test]
fn who_follows_at_once_takes_part_in_what_the_judge_leaves_out() {
    let mut ledger = CounterBaseline::default();
    ledger.take(vec![report("a", 10_000, 100, 0)], Weight::from_ppm(10_000).unwrap());
    assert_eq!(take(&mut ledger, vec![report("a", FIVE, 103, 0)]), Some((3, 0)));
    assert_eq!(take(&mut ledger, vec![report("a", FIVE, 107, 0)]), Some((4, 0)));
}

#[test]
fn half_a_reading_waits_for_the_other_half() {
    let mut ledger = CounterBaseline::default();
    take(&mut ledger, vec![report("a", FIVE, 10, 0)]);
    assert_eq!(take(&mut ledger, vec![report("a", FIVE, 10, 1)]), None);
    assert_eq!(take(&mut ledger, vec![report("a", FIVE, 11, 1)]), Some((1, 1)));
    for _ in 0..PATIENCE {
        assert_eq!(take(&mut ledger, vec![report("a", FIVE, 11, 2)]), None);
    }
    let look = ledger.take(vec![report("a", FIVE, 11, 2)], Weight::ZERO);
    assert!(look.notes[0].contains("contradict"), "{:?}", look.notes);
    assert_eq!(take(&mut ledger, vec![report("a", FIVE, 12, 2)]), Some((1, 0)));
}

#[test]
fn a_member_that_left_begins_anew() {
    let mut ledger = CounterBaseline::default();
    take(&mut ledger, vec![report("a", FIVE, 10, 0), report("b", FIVE, 1, 0)]);
    take(&mut ledger, vec![report("b", FIVE, 1, 0)]);
    let back = vec![report("a", FIVE, 500, 100), report("b", FIVE, 2, 0)];
    assert_eq!(take(&mut ledger, back), Some((1, 0)));
}
