//! Any rollout file: it is refused with a reason, or within every limit and ready to run, and its
//! state is read back as it was written.
#![no_main]

use std::time::Duration;

use canary_judge::Judge;
use canary_model::names::is_rollout_name;
use canary_model::weight::{PPM, Weight};
use canary_rollout::{
    plan::{TrafficEstimate, plan},
    spec::Spec,
    state::State,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let Ok(value) = serde_json::from_slice(json) else {
        return;
    };
    match Spec::read(&value) {
        Ok(spec) => holds(&spec),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            assert!(problems.iter().all(|problem| !problem.message.is_empty()));
        }
    }
});

fn holds(spec: &Spec) {
    assert!(is_rollout_name(&spec.rollout) && (1..=86_400).contains(&spec.lease_seconds));
    assert!(!spec.steps.is_empty() && spec.steps.len() <= 200 && spec.envoys.len() <= 1_000);
    let weights: Vec<_> = spec.steps.iter().map(|step| step.weight.ppm()).collect();
    assert!(weights.is_sorted_by(|a, b| a < b), "the weights rise: {weights:?}");
    assert!(weights.iter().all(|ppm| (1..PPM).contains(ppm)));
    assert_eq!(spec.weight_after(spec.steps.len()), Weight::FULL);
    assert!(spec.manual || !spec.analysis.metrics.is_empty(), "nothing can roll it back");
    let false_abort = spec.analysis.false_abort;
    assert!(false_abort > 0.0 && false_abort <= 0.5);
    for place in 0..spec.steps.len() {
        let margin = spec.certificate_margin(place);
        assert!(margin.is_none_or(|margin| margin > 0.0 && margin.is_finite()), "{margin:?}");
    }
    let state = State::new(spec, "me", false);
    let written = serde_json::to_string(&state).expect("a state can be written");
    assert!(State::resume(&written, spec).expect("and read back") == state);
    let judge = Judge::new(&spec.analysis, spec.planned_seconds());
    assert_eq!(judge.verdicts().len(), spec.analysis.metrics.len());
    let traffic = TrafficEstimate { rps: 100.0, baseline: 0.01 };
    let plan = plan(spec, traffic, Duration::from_secs(20));
    assert_eq!(plan.steps.len(), spec.steps.len());
}
