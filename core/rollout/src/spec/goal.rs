//! What a rollout is for: to put a new version into service, or to measure how it differs.

use super::Spec;
use canary_judge::spec::MetricRule;
use canary_model::document::{ConfigErrors, Node, Object};

/// What a rollout is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// Behind the last step, all traffic goes to the canary.
    #[default]
    Promote,
    /// An A/B test: behind the last step nothing is promoted, and the effects with their intervals are the
    /// result.
    Measure(Afterwards),
}

/// The weight after a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Afterwards {
    /// Everybody is back on stable: weight 0.
    #[default]
    Stable,
    /// The last step's weight stays.
    Keep,
}

impl Goal {
    /// The words of `goal` in a rollout file.
    pub const WORDS: [&'static str; 2] = ["promote", "measure"];

    /// Whether nothing is ever promoted.
    pub const fn is_measure(self) -> bool {
        matches!(self, Self::Measure(_))
    }

    /// Whether the last step's weight stays after the end.
    pub const fn keeps_weight(self) -> bool {
        matches!(self, Self::Measure(Afterwards::Keep))
    }
}

impl Afterwards {
    /// The words of `afterwards` in a rollout file.
    pub const WORDS: [&'static str; 2] = ["stable", "keep"];
}

/// Reads `goal` and `afterwards`.
pub(super) fn goal(fields: &Object<'_>, problems: &mut ConfigErrors) -> Option<Goal> {
    let [promote, measure] = Goal::WORDS;
    let is_measure = match fields.get("goal") {
        None => Some(false),
        Some(node) => {
            let read = |text: &str| match text {
                _ if text == promote => Some(false),
                _ if text == measure => Some(true),
                _ => None,
            };
            node.parsed("promote or measure", read, problems)
        }
    };
    let [stable, keep] = Afterwards::WORDS;
    let afterwards = match fields.get("afterwards") {
        None => Some(Afterwards::default()),
        Some(node) => {
            if is_measure == Some(false) {
                let what = "only a measurement has it, and this rollout promotes: add `goal: measure` or \
                            remove the field";
                node.problem(problems, what);
                return None;
            }
            let read = |text: &str| match text {
                _ if text == stable => Some(Afterwards::Stable),
                _ if text == keep => Some(Afterwards::Keep),
                _ => None,
            };
            node.parsed("stable (weight 0) or keep (the last step's weight)", read, problems)
        }
    };
    let afterwards = afterwards?;
    Some(if is_measure? { Goal::Measure(afterwards) } else { Goal::Promote })
}

/// Names the fields that make no sense in a file that measures: whatever is about the promotion.
pub(super) fn refuse_promotion(fields: &Object<'_>, problems: &mut ConfigErrors) {
    if let Some(steps) = fields.get("steps") {
        refuse_steps(&steps, problems);
    }
    let gates = fields.get("gates").and_then(|gates| gates.value().as_array().cloned());
    for (index, gate) in gates.unwrap_or_default().iter().enumerate() {
        if gate.get("before").and_then(serde_json::Value::as_str) == Some("promotion") {
            let what =
                "goal: measure never promotes: name the weight of a step, or remove the gate";
            problems.add(&format!("gates[{index}].before"), what);
        }
    }
    let requests =
        fields.get("deploy").and_then(|deploy| deploy.value().get("minRequests").cloned());
    if requests.is_some_and(|requests| !requests.is_null()) {
        let what =
            "is for the handover after a promotion, and goal: measure never promotes: remove it";
        problems.add("deploy.minRequests", what);
    }
}

fn refuse_steps(steps: &Node<'_>, problems: &mut ConfigErrors) {
    if steps.value().as_str() == Some("auto") {
        let what =
            "`auto` is a ladder to 100 %, and goal: measure never promotes: name the weights";
        return steps.problem(problems, what);
    }
    let entries = steps.value().as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, entry) in entries.iter().enumerate() {
        let weight = entry.get("setWeight").and_then(serde_json::Value::as_f64);
        if weight.is_some_and(|weight| weight >= 100.0) {
            let what = "at 100 % there is no stable traffic to compare with, and goal: measure never \
                        promotes: end the steps below it";
            problems.add(&format!("steps[{index}].setWeight"), what);
        }
    }
}

/// Why a file that measures would have no result; `None` if it has one.
pub(super) fn measures_nothing(spec: &Spec) -> Option<&'static str> {
    let has_effect = |rule: &MetricRule| match rule {
        MetricRule::FailureRate { .. }
        | MetricRule::Conversion { .. }
        | MetricRule::Latency { .. }
        | MetricRule::Values { .. } => true,
        MetricRule::Distribution { .. } | MetricRule::Prometheus(_) => false,
    };
    let none = !spec.analysis.metrics.iter().any(|metric| has_effect(&metric.rule));
    (spec.goal.is_measure() && none).then_some(
        "goal: measure has nothing to measure: name a metric of kind failureRate, conversion, latency or values",
    )
}
