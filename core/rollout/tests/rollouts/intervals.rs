//! External metrics are measured at their interval, however long an answer takes and however late a step
//! comes.

use std::time::Duration;

use canary_judge::counts::Pair;
use canary_judge::observation::Measurement;
use canary_rollout::action::Action;
use canary_rollout::inputs::{EnvoyInput, EnvoyReading, Inputs};
use canary_rollout::spec::Spec;
use canary_rollout::state::State;
use canary_rollout::{HostClocks, step};
use serde_json::json;

fn spec(interval: &str) -> Spec {
    Spec::read(&json!({
        "rollout": "r", "steps": [{"setWeight": 5}, {"pause": {"duration": "1h"}}],
        "analysis": {"metrics": [
            {"name": "failures", "kind": "failureRate", "margin": "1%"},
            {"name": "gpu", "kind": "prometheus", "address": "http://p:9090", "query": "gpu",
             "failureCondition": "result > 0.9", "interval": interval},
        ]},
    }))
    .unwrap()
}

/// Takes steps at these times, with answers so many steps late; gives when the metric was asked.
fn asked(interval: &str, times: impl Iterator<Item = u64>, late: usize) -> Vec<u64> {
    let spec = spec(interval);
    let mut state = State::new(&spec, "ctl", false);
    let (mut asked, mut answers): (Vec<u64>, Vec<usize>) = (Vec::new(), Vec::new());
    for (number, millis) in times.enumerate() {
        let versions = Pair { stable: Some("1".to_owned()), canary: Some("2".to_owned()) };
        let reading = EnvoyReading { versions, ..EnvoyReading::default() };
        let mut seen = Inputs::default();
        seen.envoys.insert("a".to_owned(), EnvoyInput::Reached(Box::new(reading)));
        if answers.contains(&number) {
            seen.measurements.insert("gpu".to_owned(), Measurement::Values(vec![0.1]));
        }
        let now = HostClocks { monotonic: Duration::from_millis(millis), unix: 1_700_000_000 };
        let stepped = step(&spec, state, seen, now);
        let measure = |action: &Action| matches!(action, Action::Measure { .. });
        if stepped.actions.iter().any(measure) {
            asked.push(millis);
            answers.push(number + late);
        }
        state = stepped.state;
    }
    asked
}

#[test]
fn measurements_stay_on_their_interval_although_answers_and_steps_come_late() {
    for late in [1, 2, 4] {
        // A step each 1.3 s: no multiple of the interval.
        for (interval, seconds) in [("5s", 5), ("2s", 2), ("7s", 7)] {
            let times = (0..2_000).map(|number| number * 1_300);
            let asked = asked(interval, times, late);
            let first = asked[0];
            for (index, at) in asked.iter().enumerate() {
                let due = first + index as u64 * seconds * 1_000;
                assert!(
                    *at >= due && *at < due + 1_300,
                    "{interval}, {late} late: {at}, due {due}"
                );
            }
        }
    }
}

#[test]
fn an_interval_of_a_second_keeps_its_rate() {
    // Each step takes 20 ms longer than the interval.
    let asked = asked("1s", (0..1_000).map(|number| number * 1_020), 1);
    assert!(asked.len() >= 980, "{}", asked.len());
    let every_half = |number: u64| number * 500;
    let half = self::asked("1s", (0..1_000).map(every_half), 1);
    assert!(half.windows(2).all(|pair| pair[1] - pair[0] == 1_000), "{half:?}");
}

#[test]
fn after_a_gap_the_schedule_goes_on_where_it_was() {
    let times = [0, 1_000, 2_000, 10_700].into_iter().chain((11..40).map(|number| number * 1_000));
    let asked = asked("3s", times, 1);
    let rest = &asked[asked.iter().position(|at| *at > 10_000).unwrap()..];
    // What was missed is measured once; then every 3 s, on the first grid again.
    assert_eq!(rest[0], 10_700, "{asked:?}");
    assert!(rest[1..].iter().all(|at| (at - asked[0]) % 3_000 == 0), "{asked:?}");
    assert!(rest[1..].windows(2).all(|pair| pair[1] - pair[0] == 3_000), "{asked:?}");
}
