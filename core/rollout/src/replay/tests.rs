use serde_json::{Value, json};

use super::*;
use canary_judge::observation::read_lines;
use canary_judge::verdict::Findings;

fn spec(steps: Value) -> Spec {
    let metrics = json!([{"name": "failures", "kind": "failureRate", "margin": "0%"}]);
    Spec::read(&json!({"rollout": "r", "steps": steps, "analysis": {"metrics": metrics}})).unwrap()
}

fn line(t: f64, weight: f64, [nc, ec, ns, es]: [u64; 4]) -> String {
    let role = |total, failure| json!({"total": total, "failure": failure});
    let line = json!({"t": t, "weight": weight, "canary": role(nc, ec), "stable": role(ns, es)});
    format!("{line}\n")
}

fn steady(lines: u32, weight: f64) -> String {
    (0..lines).map(|t| line(100.0 + f64::from(t), weight, [50, 0, 950, 1])).collect()
}

/// What the rollout waits for where a recording ends.
fn waited_for(replayed: &Replayed) -> serde_json::Value {
    let ReplayReason::Waits(blockers) = &replayed.reason else { panic!("{replayed:?}") };
    serde_json::to_value(blockers).unwrap()
}

fn run(spec: &Spec, text: &str) -> Replayed {
    replay(spec, read_lines(text.lines())).unwrap()
}

#[test]
fn steps_advance_by_their_conditions_whatever_weight_was_recorded() {
    let spec = spec(json!([
        {"setWeight": 1}, {"pause": {"duration": "10s"}},
        {"setWeight": 5}, {"pause": {"duration": "5s", "minRequests": 400}},
        {"setWeight": 50},
    ]));
    let replayed = run(&spec, &steady(60, 5.0));
    // 10 s; then 8 lines of 50 requests; then one block.
    assert_eq!((replayed.outcome, replayed.at), (ReplayOutcome::Completed, Some(119.0)));
    assert_eq!((replayed.canary_requests, replayed.canary_failures), (20 * 50, 0));
    assert_eq!(replayed.reason, ReplayReason::Completed { steps: 3 });
}

#[test]
fn a_recording_that_ends_too_soon_says_what_was_missing() {
    let spec = spec(json!([
        {"setWeight": 1}, {"pause": {"duration": "10s"}},
        {"setWeight": 5}, {"pause": {"duration": "1h", "minRequests": 100000}},
    ]));
    let replayed = run(&spec, &steady(30, 5.0));
    assert_eq!((replayed.outcome, replayed.at), (ReplayOutcome::Insufficient, Some(129.0)));
    assert_eq!(
        waited_for(&replayed),
        json!({"step": {"number": 2, "of": 2, "weight": 5}, "unreachable": [], "waiting_for": [
            {"for": "time", "have": 19.0, "need": 3600.0},
            {"for": "requests", "have": 950, "need": 100_000, "left": 1981.0},
        ]})
    );
    let empty = run(&spec, "\n\n");
    assert_eq!(
        (empty.outcome, empty.at, empty.canary_requests),
        (ReplayOutcome::Insufficient, None, 0)
    );
    assert_eq!(empty.reason, ReplayReason::Empty);
}

#[test]
fn abort_wins_over_completion_and_the_rest_is_not_read() {
    let spec = spec(json!([{"setWeight": 5}, {"pause": {"duration": "10s"}}]));
    let mut text = steady(10, 5.0) + &line(110.0, 5.0, [50, 40, 950, 1]);
    text += "this is not read {{{\n";
    let replayed = run(&spec, &text);
    assert_eq!((replayed.outcome, replayed.at), (ReplayOutcome::Aborted, Some(110.0)));
    assert_eq!((replayed.canary_requests, replayed.canary_failures), (550, 40));
    let ReplayReason::Failed(verdict) = replayed.reason else { panic!("{replayed:?}") };
    let Findings::Shares { counts, .. } = verdict.findings else { panic!("{verdict:?}") };
    assert_eq!((counts.canary.events, counts.canary.trials), (40, 550));
    let broken = steady(3, 5.0) + "this is read\n";
    assert_eq!(replay(&spec, read_lines(broken.lines())).unwrap_err().line, 4);
}

#[test]
fn nobody_is_asked() {
    let steps = json!([{"setWeight": 5}, {"pause": {}}, {"setWeight": 20}, {"pause": {}}]);
    assert_eq!(run(&spec(steps), &steady(9, 5.0)).outcome, ReplayOutcome::Completed);
}

#[test]
fn a_timeout_stays_a_question() {
    let waits = json!({"untilConfident": true, "timeout": "30s"});
    let spec = spec(json!([{"setWeight": 5}, {"pause": waits}]));
    let replayed = run(&spec, &steady(120, 5.0));
    assert_eq!(replayed.outcome, ReplayOutcome::Insufficient);
    assert_eq!(
        waited_for(&replayed)["waiting_for"],
        json!([{"for": "operator", "why": "timeout"}])
    );
    let text = steady(60, 5.0) + &line(160.0, 5.0, [50, 40, 950, 1]);
    assert_eq!(run(&spec, &text).outcome, ReplayOutcome::Aborted);
}

#[test]
fn without_data_no_step_is_left() {
    let spec = spec(json!([{"setWeight": 5}, {"pause": {"duration": "5s"}}]));
    let text: String = (0..60).map(|t| line(f64::from(t), 5.0, [0, 0, 950, 1])).collect();
    let replayed = run(&spec, &text);
    assert_eq!(replayed.outcome, ReplayOutcome::Insufficient);
    let waiting = &waited_for(&replayed)["waiting_for"][0];
    assert_eq!((&waiting["for"], &waiting["metric"]), (&json!("data"), &json!("failures")));
}

#[test]
fn tenths_of_seconds_do_not_drift() {
    let spec = spec(json!([{"setWeight": 5}, {"pause": {"duration": "10s"}}]));
    let at = |tenth: u32| f64::from(tenth) / 10.0;
    let text: String = (1..200).map(|tenth| line(at(tenth), 5.0, [5, 0, 95, 0])).collect();
    let replayed = run(&spec, &text);
    assert_eq!((replayed.outcome, replayed.at), (ReplayOutcome::Completed, Some(10.1)));
}

#[test]
fn certain_steps_are_left_early() {
    let waits = json!({"untilConfident": true});
    let metrics = json!([{"name": "failures", "kind": "failureRate", "margin": "1%"}]);
    let file = json!({"rollout": "r", "steps": [{"setWeight": 5}, {"pause": waits}],
        "analysis": {"metrics": metrics}});
    let replayed = run(&Spec::read(&file).unwrap(), &steady(600, 5.0));
    assert_eq!(replayed.outcome, ReplayOutcome::Completed);
    // Some 400 canary requests certify one point at a baseline of 0.1 %.
    assert!((200..800).contains(&replayed.canary_requests), "{replayed:?}");
}

/// The last bin's upper bound is an edge too: without it these recordings complete.
#[test]
fn a_slower_canary_is_rolled_back_though_stable_fills_one_bin() {
    let file = json!({"rollout": "r", "steps": [{"setWeight": 5}, {"pause": {"duration": "1m"}}],
        "analysis": {"metrics": [{"name": "latency", "kind": "latency"}]}});
    let spec = Spec::read(&file).unwrap();
    let recorded = |stable: [u64; 2], canary: [u64; 2]| -> String {
        let role = |total: u64, [lower, width]: [u64; 2]| json!({"total": total, "failure": 0, "rq_time_us": [[lower, width, total]]});
        let line =
            |t| json!({"t": t, "weight": 5, "stable": role(95, stable), "canary": role(5, canary)});
        (0..90).map(|t| format!("{}\n", line(t))).collect()
    };
    // 0.52 s against 1.55 s; 52 ms against 15 s.
    for (stable, canary) in
        [([520_000, 10_000], [1_500_000, 100_000]), ([52_000, 1_000], [15_000_000, 1_000_000])]
    {
        let replayed = run(&spec, &recorded(stable, canary));
        assert_eq!(replayed.outcome, ReplayOutcome::Aborted, "{replayed:?}");
        let ReplayReason::Failed(verdict) = replayed.reason else { panic!("{replayed:?}") };
        assert_eq!(verdict.metric, "latency");
    }
    for canary in [[520_000, 10_000], [570_000, 10_000], [51_000, 1_000]] {
        let replayed = run(&spec, &recorded([520_000, 10_000], canary));
        assert_eq!(replayed.outcome, ReplayOutcome::Completed, "{replayed:?}");
    }
}

/// A mistyped pointer gives no data, however many answers there were.
#[test]
fn a_signal_that_nobody_can_read_holds_the_rollout() {
    let file = json!({"rollout": "r", "steps": [{"setWeight": 5}, {"pause": {"duration": "10s"}}],
        "analysis": {"metrics": [{"name": "answers", "kind": "distribution", "signal": "label"}]}});
    let spec = Spec::read(&file).unwrap();
    let recorded = |stable: &str, canary: &str| -> String {
        let signal = json!({"stable": {stable: 95}, "canary": {canary: 5}});
        let line = |t| {
            json!({"t": t, "weight": 5, "stable": {"total": 95}, "canary": {"total": 5},
            "signals": {"label": signal}})
        };
        (0..60).map(|t| format!("{}\n", line(t))).collect()
    };
    let replayed = run(&spec, &recorded("unreadable", "unreadable"));
    assert_eq!(replayed.outcome, ReplayOutcome::Insufficient, "{replayed:?}");
    let lacks = &waited_for(&replayed)["waiting_for"][0]["lacks"]["data"];
    assert_eq!((&lacks["what"], &lacks["signal"]), (&json!("readableValues"), &json!("label")));
    assert_eq!(run(&spec, &recorded("cat", "cat")).outcome, ReplayOutcome::Completed);
    assert_eq!(run(&spec, &recorded("cat", "unreadable")).outcome, ReplayOutcome::Aborted);
}

#[test]
fn a_metric_that_pauses_ends_the_replay_as_paused() {
    let file = |action: &str| {
        let metrics = json!([
            {"name": "failures", "kind": "failureRate", "margin": "50%"},
            {"name": "quality", "kind": "failureRate", "margin": "0%", "onFailure": action},
        ]);
        let steps = json!([{"setWeight": 5}, {"pause": {"duration": "20s"}}]);
        Spec::read(&json!({"rollout": "r", "steps": steps, "analysis": {"metrics": metrics}}))
            .unwrap()
    };
    let text = steady(10, 5.0)
        + &(0..30).map(|t| line(110.0 + f64::from(t), 5.0, [50, 9, 950, 1])).collect::<String>();
    let paused = run(&file("pause"), &text);
    assert_eq!(paused.outcome, ReplayOutcome::Paused);
    let ReplayReason::Failed(verdict) = paused.reason else { panic!("{:?}", paused.reason) };
    assert_eq!(verdict.metric, "quality");
    assert_eq!(run(&file("warn"), &text).outcome, ReplayOutcome::Completed, "warned, and went on");
    assert!(!paused.effects.is_empty());
}

#[test]
fn a_sample_ratio_mismatch_holds_unless_the_file_only_warns() {
    let file = |mismatch: &str| {
        let metrics = json!([{"name": "failures", "kind": "failureRate", "margin": "1%"}]);
        let steps = json!([{"setWeight": 5}, {"pause": {"duration": "20s"}}]);
        let analysis = json!({"metrics": metrics, "splitMismatch": mismatch});
        Spec::read(&json!({"rollout": "r", "steps": steps, "analysis": analysis})).unwrap()
    };
    let role = |total| json!({"total": total, "failure": 0, "assigned": total});
    let line = |t| json!({"t": t, "weight": 5, "canary": role(200), "stable": role(800)});
    let text: String = (0..40).map(|t| format!("{}\n", line(t))).collect();
    assert_eq!(run(&file("warn"), &text).outcome, ReplayOutcome::Completed);
    let held = run(&file("hold"), &text);
    assert_eq!(held.outcome, ReplayOutcome::Insufficient);
    let waits = waited_for(&held);
    assert_eq!(waits["waiting_for"][0]["for"], json!("sampleRatio"), "{waits}");
    assert_eq!(waits["waiting_for"][0]["measured"], json!(0.2), "{waits}");
}

#[test]
fn a_measurement_ends_as_measured_with_its_effects() {
    let metrics = json!([{"name": "failures", "kind": "failureRate", "margin": "1%"}]);
    let steps = json!([{"setWeight": 50}, {"pause": {"duration": "20s"}}]);
    let file = json!({"rollout": "r", "goal": "measure", "steps": steps, "analysis": {"metrics": metrics}});
    let line = |t| {
        let role = |failure| json!({"total": 500, "failure": failure});
        json!({"t": t, "weight": 50, "canary": role(0), "stable": role(5)})
    };
    let text: String = (0..40).map(|t| format!("{}\n", line(t))).collect();
    let measured = run(&Spec::read(&file).unwrap(), &text);
    assert_eq!(measured.outcome, ReplayOutcome::Measured);
    assert_eq!(measured.reason, ReplayReason::Completed { steps: 1 });
    assert!(measured.effects[0].upper.unwrap() < 0.0, "{:?}", measured.effects[0]);
}
