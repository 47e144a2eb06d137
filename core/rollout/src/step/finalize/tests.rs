use super::*;
use crate::plan::{PlanWarning, TrafficEstimate, plan};
use canary_model::document::ConfigError;
use serde_json::json;

/// A small generator of random numbers (splitmix64), the same in every run.
struct Draws(u64);

impl Draws {
    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn failures(&mut self, requests: u64, share: f64) -> u64 {
        (0..requests).filter(|_| self.draw() < share).count() as u64
    }
}

fn spec() -> Result<Spec, Vec<ConfigError>> {
    Spec::read(&json!({"rollout": "r", "manual": true, "steps": [{"setWeight": 5}]}))
}

/// In how many of 400 handovers the new stable, which fails this often, is found worse before both places have
/// so many requests judged, at 50 a second for each.
fn found(need: u64, new_stable: f64, canary: f64) -> u32 {
    let analysis = handover_analysis(&spec().unwrap());
    let mut draws = Draws(need);
    let handover = |_: &u32| {
        let mut judge = Judge::new(&analysis, PLANNED_SECONDS);
        (1..=need / 50).any(|second| {
            let mut line = Observation { t: second as f64, weight: HALF, ..Observation::default() };
            // As `count_handover` swaps them.
            for (role, share) in [(Role::Canary, new_stable), (Role::Stable, canary)] {
                let counts = line.roles.get_mut(role);
                (counts.total, counts.failure) = (Some(50), Some(draws.failures(50, share)));
            }
            judge.take(&line);
            judge.abort().is_some()
        })
    };
    (0..400).filter(handover).count() as u32
}

/// DESIGN 9.2: 500 requests find a new stable that fails 5 % in 99 % of cases, 100 in 5 %.
#[test]
fn what_the_handover_finds() {
    let (most, few, none) =
        (found(500, 0.05, 0.0), found(100, 0.05, 0.0), found(500, 0.001, 0.001));
    assert!(most >= 390, "{most} of 400");
    assert!(few <= 60, "{few} of 400");
    assert!(none <= 8, "{none} of 400");
}

/// The handover's metric decides, whatever the file's does in the steps, and has falseAbort for itself.
#[test]
fn the_handovers_metric_aborts_whatever_the_files_does() {
    let file = |action: &str| {
        let metrics = json!([
            {"name": "errors", "kind": "failureRate", "margin": "2%", "onFailure": action},
            {"name": "latency", "kind": "latency"},
        ]);
        json!({"rollout": "r", "steps": [{"setWeight": 5}], "analysis": {"metrics": metrics}})
    };
    for action in ["abort", "pause", "warn"] {
        let analysis = handover_analysis(&Spec::read(&file(action)).unwrap());
        let [metric] = analysis.metrics.as_slice() else { panic!("{:?}", analysis.metrics) };
        assert_eq!((metric.name.as_str(), metric.on_failure), ("errors", OnFailure::Abort));
        assert_eq!(metric.rule, MetricRule::FailureRate { ratio: 1.0, margin: 0.02 });
        let evidence = Judge::new(&analysis, PLANNED_SECONDS).verdicts().swap_remove(0).evidence;
        assert!((evidence.unwrap().log_needed() - 100f64.ln()).abs() < 1e-9, "{action}");
    }
}

/// What `plan` says that a handover finds, its judge does find with about that probability.
#[test]
fn the_plan_says_what_the_handover_finds() {
    for (need, baseline) in [(200, 0.0), (500, 0.0), (500, 0.001), (1_000, 0.01), (2_000, 0.001)] {
        let file = json!({"rollout": "r", "manual": true, "steps": [{"setWeight": 5}],
            "deploy": {"minRequests": need}});
        let traffic = TrafficEstimate { rps: 100.0, baseline };
        let plan = plan(&Spec::read(&file).unwrap(), traffic, Duration::from_secs(5)).handover;
        assert_eq!((plan.requests, plan.seconds), (need, need / 50 + 5));
        let smallest = plan.smallest_regression.unwrap();
        let share = f64::from(found(need, smallest, baseline)) / 400.0;
        let near = (plan.probability - 0.1..=1.0).contains(&share);
        assert!(near, "{need} requests, {baseline}: {smallest} is found in {share}");
        // It isn't said of a share that is found almost always, either.
        let half = f64::from(found(need, baseline + (smallest - baseline) / 2.0, baseline)) / 400.0;
        assert!(half < 0.6, "{need} requests, {baseline}: half of {smallest} is found in {half}");
    }
    let few = json!({"rollout": "r", "manual": true, "steps": [{"setWeight": 5}],
        "deploy": {"minRequests": 1}});
    let traffic = TrafficEstimate { rps: 1.0, baseline: 0.0 };
    let plan = plan(&Spec::read(&few).unwrap(), traffic, Duration::ZERO);
    assert_eq!(plan.handover.smallest_regression, None);
    assert_eq!(plan.warnings, [PlanWarning::HandoverFindsNothing]);
}
