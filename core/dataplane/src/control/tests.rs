use serde_json::json;

use super::*;
use canary_model::config::Config;
use canary_model::runtime::Snapshot;

const SECOND: u64 = 1_000_000_000;

fn runtime(settings: &[(&str, &str)]) -> RolloutRuntime {
    let entries: serde_json::Map<_, _> = settings
        .iter()
        .map(|(key, value)| (format!("canary.r.{key}"), json!({"final_value": value})))
        .collect();
    let answer = json!({"layers": [], "entries": entries}).to_string();
    RolloutRuntime::new(&Snapshot::read(answer.as_bytes(), |_| true).unwrap(), "r")
}

fn rollout(weight: f64) -> Rollout {
    let config = json!({"rollouts": [{"name": "r", "weight": weight,
        "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"}}]});
    Config::parse(config.to_string().as_bytes()).unwrap().rollouts.remove(0)
}

fn percent(text: &str) -> Weight {
    Weight::parse_percent(text).unwrap()
}

#[test]
fn precedence() {
    let configured = rollout(7.0);
    let mut control = Control::default();
    assert_eq!(
        control.in_force(&configured, 0),
        InForce { weight: percent("7"), reason: WeightReason::Config }
    );
    control.apply(&runtime(&[("weight", "5"), ("lease", "30:a")]), &rollout(0.0), 0);
    assert_eq!(
        control.in_force(&configured, 0),
        InForce { weight: percent("5"), reason: WeightReason::Runtime }
    );
    let expired = InForce { weight: Weight::ZERO, reason: WeightReason::LeaseExpired };
    assert_eq!(control.in_force(&configured, 30 * SECOND), expired);
    assert!(control.trip(control.epoch_generation()));
    let tripped = InForce { weight: Weight::ZERO, reason: WeightReason::GuardTripped };
    assert_eq!(control.in_force(&configured, 30 * SECOND), tripped);
}

#[test]
fn a_raised_weight_is_shown_once_all_workers_have_had_time_to_read_it() {
    let tick = SECOND / 16;
    let mut control = Control::default();
    let shown = |control: &Control, before: &str, now: u64| {
        control.weight_to_show(&rollout(0.0), percent(before), now, tick)
    };
    control.apply(&runtime(&[("weight", "5")]), &rollout(0.0), SECOND);
    control.apply(&runtime(&[("weight", "5")]), &rollout(0.0), SECOND + tick);
    assert_eq!(shown(&control, "0", SECOND + tick), Weight::ZERO);
    assert_eq!(shown(&control, "0", SECOND + 2 * tick), percent("5"));
    control.apply(&runtime(&[("weight", "2")]), &rollout(0.0), 2 * SECOND);
    assert_eq!(shown(&control, "5", 2 * SECOND), percent("2"), "a lower one at once");
    assert!(control.trip(control.epoch_generation()));
    assert_eq!(shown(&control, "2", 2 * SECOND), Weight::ZERO);
    control.apply(&runtime(&[("weight", "2"), ("epoch", "1")]), &rollout(0.0), 3 * SECOND);
    assert_eq!(shown(&control, "0", 3 * SECOND), Weight::ZERO, "a cleared guard raises it");
    assert_eq!(shown(&control, "0", 4 * SECOND), percent("2"));
}

#[test]
fn the_same_lease_runs_on_and_any_other_renews() {
    let mut control = Control::default();
    let leases = |control: &mut Control, text: &str, at: u64| {
        control.apply(&runtime(&[("weight", "5"), ("lease", text)]), &rollout(0.0), at * SECOND);
    };
    leases(&mut control, "10:a", 0);
    leases(&mut control, "10:a", 9);
    assert!(!control.lease_expired(10 * SECOND - 1) && control.lease_expired(10 * SECOND));
    leases(&mut control, "10:b", 12);
    assert!(!control.lease_expired(22 * SECOND - 1) && control.lease_expired(22 * SECOND));
    leases(&mut control, "10:a", 23);
    assert!(!control.lease_expired(32 * SECOND));
    control.apply(&runtime(&[("weight", "5")]), &rollout(0.0), 50 * SECOND);
    assert!(!control.lease_expired(u64::MAX), "a removed lease key is no lease");
}

#[test]
fn an_unreadable_value_leaves_the_last_good_one_and_is_reported_once() {
    let mut control = Control::default();
    control.apply(
        &runtime(&[("weight", "5"), ("lease", "10:a"), ("epoch", "1")]),
        &rollout(0.0),
        0,
    );
    let garbage = runtime(&[
        ("weight", "05"),
        ("lease", "x"),
        ("epoch", "-1"),
        ("window", "1.5"),
        ("stable_version", "2"),
        ("canary_version", "2=3=4"),
        ("enabled", "maybe"),
    ]);
    let faults = control.apply(&garbage, &rollout(0.0), SECOND);
    assert_eq!(faults.len(), 7, "{faults:?}");
    assert_eq!(faults[0].found, "05");
    assert_eq!(control.apply(&garbage, &rollout(0.0), 2 * SECOND), []);
    assert_eq!(control.in_force(&rollout(0.0), 2 * SECOND).weight, percent("5"));
    assert!(control.lease_expired(10 * SECOND), "the last good lease runs on");
    assert_eq!(control.epoch(), Some(1));
    let other = control.apply(&runtime(&[("weight", "abc")]), &rollout(0.0), 3 * SECOND);
    assert_eq!(other.len(), 1);
    control.apply(&runtime(&[("weight", "6")]), &rollout(0.0), 4 * SECOND);
    assert_eq!(
        control.apply(&runtime(&[("weight", "abc")]), &rollout(0.0), 5 * SECOND).len(),
        1,
        "reported again"
    );
    control.apply(&runtime(&[]), &rollout(0.0), 6 * SECOND);
    assert_eq!(
        control.in_force(&rollout(7.0), 6 * SECOND),
        InForce { weight: percent("7"), reason: WeightReason::Config }
    );
}

#[test]
fn every_change_of_the_epoch_clears_a_trip() {
    let mut control = Control::default();
    let generation = control.epoch_generation();
    assert!(control.trip(generation) && control.guard_tripped());
    assert!(!control.trip(generation), "tripped already");
    for (epoch, changes) in
        [(Some("1"), true), (Some("1"), false), (Some("2"), true), (None, true), (Some("2"), true)]
    {
        let before = control.epoch_generation();
        control.trip(before);
        let settings: Vec<_> = epoch.map(|value| ("epoch", value)).into_iter().collect();
        control.apply(&runtime(&settings), &rollout(0.0), 0);
        assert_eq!(control.guard_tripped(), !changes, "{epoch:?}");
        assert!(!control.trip(before), "a trip for a passed epoch, or a second one");
    }
}

#[test]
fn a_weight_for_another_version_is_zero() {
    let ours = rollout(7.0);
    let mut control = Control::default();
    for (text, weight, reason) in [
        ("5@2", "5", WeightReason::Runtime),
        ("5@3", "0", WeightReason::Version),
        ("0@3", "0", WeightReason::Version),
        ("5", "5", WeightReason::Runtime),
    ] {
        control.apply(&runtime(&[("weight", text), ("lease", "10:a")]), &rollout(0.0), 0);
        let expected = InForce { weight: percent(weight), reason };
        assert_eq!(control.in_force(&ours, 0), expected, "{text}");
    }
    control.apply(&runtime(&[("weight", "5@3"), ("lease", "10:a")]), &rollout(0.0), 0);
    assert_eq!(control.in_force(&ours, 10 * SECOND).reason, WeightReason::LeaseExpired);
    control.apply(&runtime(&[("weight", "5@ 2")]), &rollout(0.0), 11 * SECOND);
    assert_eq!(control.weight_version(), Some("3"), "an unreadable value changes nothing");
}
