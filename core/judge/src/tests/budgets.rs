//! Metrics that pause or warn: a budget for each class, and what operators decide about them.

use super::*;

fn with_actions() -> Analysis {
    analysis(json!([
        failures(),
        {"name": "pauses", "kind": "failureRate", "margin": "0%", "onFailure": "pause"},
        {"name": "also", "kind": "latency", "onFailure": "pause"},
        {"name": "warns", "kind": "failureRate", "margin": "0%", "onFailure": "warn"},
    ]))
}

fn evidence(judge: &Judge, metric: &str) -> verdict::Evidence {
    let verdicts = judge.verdicts();
    verdicts.iter().find(|one| one.metric == metric).unwrap().evidence.unwrap()
}

#[test]
fn each_action_has_a_budget_of_its_own() {
    let judge = Judge::new(&with_actions(), 3_600);
    let (abort, pause, warn) =
        (evidence(&judge, "failures"), evidence(&judge, "pauses"), evidence(&judge, "warns"));
    let near = |log: f64, e: f64| assert!((log - e.ln()).abs() < 1e-9, "{log} {e}");
    near(abort.log_needed(), 100.0);
    // Two metrics share 5 %, and the first run has half of that.
    near(pause.log_needed(), 2.0 * 20.0 * 2.0);
    near(warn.log_needed(), 20.0);
}

#[test]
fn a_metric_that_pauses_asks_again_with_less_of_its_budget() {
    let spec = with_actions();
    let mut judge = Judge::new(&spec, 3_600);
    let bad = |t| line(t, 5, [50, 5, 950, 1]);
    while judge.pause().is_none() {
        judge.observe(&bad(1));
    }
    assert_eq!(judge.failing(OnFailure::Pause), ["pauses"]);
    judge.ask_again();
    assert_eq!(judge.pause(), None);
    let again = evidence(&judge, "pauses");
    assert!((again.log_needed() - (2.0 * 20.0 * 6.0f64).ln()).abs() < 1e-9, "1/(2 * 3)");
    assert!(again.log_e < 0.0, "the evidence is gathered again");
    let text = serde_json::to_string(&judge).unwrap();
    assert_eq!(Judge::resume(&text, &spec, 3_600).unwrap(), judge);
    while judge.pause().is_none() {
        judge.observe(&bad(2));
    }
    judge.overrule();
    for t in 3..9 {
        judge.observe(&bad(t));
        assert_eq!(judge.pause(), None, "overruled for the rest of the rollout");
    }
    let verdict = judge.verdicts().swap_remove(1);
    assert!(verdict.overruled && verdict.conclusion == Conclusion::Pass);
    assert_eq!(judge.failing(OnFailure::Warn), ["warns"]);
    assert_eq!(judge.abort().unwrap().metric, "failures", "its class is not touched");
}

#[test]
fn only_metrics_that_abort_must_be_certified() {
    let mut judge = Judge::new(&with_actions(), 3_600);
    assert_eq!(judge.uncertified(), ["failures"]);
    judge.overrule();
    assert!(judge.failing(OnFailure::Abort).is_empty());
}

/// A mismatch says that the comparison can't be trusted: the same counts certify where the file only warns.
#[test]
fn while_the_sample_ratio_does_not_match_nothing_is_certified() {
    for (mismatch, certified) in [(SplitMismatch::Hold, false), (SplitMismatch::Warn, true)] {
        let metrics = json!([{"name": "failures", "kind": "failureRate", "margin": "1%"}]);
        let spec = Analysis { split_mismatch: mismatch, ..analysis(metrics) };
        let mut judge = Judge::new(&spec, 3_600);
        for t in 0..60 {
            judge.observe(&line(t, 5, [200, 0, 800, 0]));
        }
        assert!(judge.split().mismatch, "20 % of requests at a weight of 5 %");
        assert_eq!(judge.is_split_held(), !certified);
        assert_eq!(judge.uncertified().is_empty(), certified, "{mismatch:?}");
        let figures = judge.verdicts().swap_remove(0).non_inferiority.unwrap();
        assert_eq!(figures.certified_at.is_some(), certified, "{mismatch:?}");
    }
}

/// The judge of another layout is made again, but an operator's word holds for the rest of the rollout.
#[test]
fn what_operators_decided_is_kept_from_a_judge_of_another_layout() {
    let spec = with_actions();
    let mut judge = Judge::new(&spec, 3_600);
    let paused = |judge: &mut Judge| {
        while judge.pause().is_none() {
            judge.observe(&line(1, 5, [50, 5, 950, 1]));
        }
    };
    paused(&mut judge);
    judge.ask_again();
    let asked: serde_json::Value = serde_json::to_value(&judge).unwrap();
    paused(&mut judge);
    judge.overrule();
    let overruled = serde_json::to_value(&judge).unwrap();
    let kept = |older: &serde_json::Value| {
        let mut fresh = Judge::new(&spec, 3_600);
        fresh.keep_decisions(older);
        (fresh.verdicts().swap_remove(1).overruled, evidence(&fresh, "pauses").log_needed())
    };
    let needed = |run: f64| (2.0 * 20.0 * run * (run + 1.0)).ln();
    for (older, expected) in
        [(asked, (false, 2.0)), (overruled, (true, 2.0)), (json!({}), (false, 1.0))]
    {
        let (overruled, limit) = kept(&older);
        assert_eq!(overruled, expected.0, "{older}");
        assert!((limit - needed(expected.1)).abs() < 1e-9, "{older}");
    }
}
