use super::*;
use crate::spec::Spec;
use serde_json::json;

fn spec() -> Spec {
    Spec::read(&json!({"rollout": "r", "manual": true, "steps": [{"setWeight": 5}]})).unwrap()
}

fn ended(phase: Phase) -> State {
    let mut state = State::new(&spec(), "ctl", false).with_canary_version(Some("3.2".to_owned()));
    state.phase = phase;
    state
}

fn look(state: &State, reading: EnvoyReading) -> AfterEnd {
    let envoys = [("a".to_owned(), EnvoyInput::Reached(Box::new(reading)))];
    after_end(state, &envoys.into())
}

fn weight(percent: u32, version: Option<&str>) -> EnvoyReading {
    EnvoyReading {
        weight: Weight::from_ppm(percent * 10_000),
        weight_version: version.map(str::to_owned),
        enabled: Some(true),
        in_force: Weight::from_ppm(percent * 10_000),
        ..EnvoyReading::default()
    }
}

#[test]
fn a_restarted_envoy_gets_the_final_state_back() {
    let after = look(&ended(Phase::Healthy), EnvoyReading::default());
    let update = after.restore[0].update("r").form_body().unwrap();
    assert_eq!(update, "canary.r.enabled=100&canary.r.weight=100%403.2");
    let after = look(&ended(Phase::Degraded), EnvoyReading::default());
    let update = after.restore[0].update("r").form_body().unwrap();
    assert_eq!(update, "canary.r.enabled=0&canary.r.weight=0%403.2");
}

#[test]
fn key_by_key_and_never_over_a_value() {
    let healthy = ended(Phase::Healthy);
    assert_eq!(look(&healthy, weight(100, Some("3.2"))), AfterEnd::default());
    let only_switch = EnvoyReading { enabled: None, ..weight(100, Some("3.2")) };
    let after = look(&healthy, only_switch);
    assert_eq!(after.restore[0].update("r").form_body().unwrap(), "canary.r.enabled=100");
    let set_by_operator = look(&healthy, weight(30, Some("3.2")));
    assert!(set_by_operator.restore.is_empty());
    let shown = Some("30@3.2".to_owned());
    let (key, wanted) = ("weight".to_owned(), "100@3.2".to_owned());
    let expected = EnvoyMismatch::Runtime { key, shown, wanted };
    assert_eq!(set_by_operator.differing, [("a".to_owned(), expected)]);
}

#[test]
fn left_alone() {
    let healthy = ended(Phase::Healthy);
    let thrown = EnvoyReading { enabled: Some(false), ..EnvoyReading::default() };
    let driven = EnvoyReading { owner: Some("bob".to_owned()), ..EnvoyReading::default() };
    let odd = EnvoyReading { unreadable: ["weight".to_owned()].into(), ..EnvoyReading::default() };
    for reading in [thrown, driven, odd] {
        let after = look(&healthy, reading.clone());
        assert!(after.restore.is_empty() && after.differing.len() == 1, "{reading:?}");
    }
    let mut given_up = ended(Phase::Degraded);
    let (envoy, owner) = ("a".to_owned(), "bob".to_owned());
    given_up.ending = Some(TerminationReason::OtherOwner { envoy, owner });
    assert_eq!(look(&given_up, EnvoyReading::default()), AfterEnd::default());
    assert_eq!(look(&ended(Phase::Progressing), EnvoyReading::default()), AfterEnd::default());
}

#[test]
fn a_full_weight_without_a_version_is_never_set() {
    let mut state = ended(Phase::Healthy);
    state.canary_version = None;
    let after = look(&state, EnvoyReading::default());
    assert_eq!(after.restore[0].update("r").form_body().unwrap(), "canary.r.enabled=100");
}

#[test]
fn unreachable_envoys_are_named() {
    let envoys = [("a".to_owned(), EnvoyInput::Unreachable("refused".to_owned()))];
    let after = after_end(&ended(Phase::Healthy), &envoys.into());
    assert_eq!(after.unreachable, [("a".to_owned(), "refused".to_owned())]);
}
