//! Forecasts and replays, as text.

use canary_rollout::plan::{PlanWarning, RolloutPlan};
use canary_rollout::replay::Replayed;
use serde_json::{Value, json};

/// `replay`.
pub(crate) fn replayed_text(replayed: &Replayed) -> String {
    let Replayed { outcome, at, reason, canary_requests, canary_failures } = replayed;
    let outcome = serde_json::to_value(outcome).ok();
    let outcome = outcome.as_ref().and_then(Value::as_str).unwrap_or_default();
    let at = at.map_or_else(String::new, |at| format!(" at {at} s"));
    format!(
        "{outcome}{at}: {reason}\n{canary_requests} canary requests, {canary_failures} of them failed\n"
    )
}

/// `plan -o json`: the warnings are sentences.
pub(crate) fn plan_json(plan: &RolloutPlan) -> Value {
    let warnings: Vec<String> = plan.warnings.iter().map(|one| warning(plan, *one)).collect();
    let mut value = serde_json::to_value(plan).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("warnings".to_owned(), json!(warnings));
    }
    value
}

/// `plan`.
pub(crate) fn plan_text(plan: &RolloutPlan) -> String {
    let known = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let share = |share: Option<f64>| {
        share.map_or_else(|| "?".to_owned(), |share| format!("{:.3} %", 100.0 * share))
    };
    let mut text =
        String::from("  weight   seconds   canary requests   smallest regression found\n");
    for step in &plan.steps {
        let weight = format!("{} %", step.weight);
        let (seconds, requests) = (known(step.seconds), known(step.canary_requests));
        let found = share(step.smallest_regression);
        text += &format!("{weight:>8}{seconds:>10}{requests:>18}{found:>28}\n");
    }
    text += &format!("\ntime           {} s\n", known(plan.seconds));
    for (failing, harm) in plan.harm.iter().rev() {
        let percent = failing.parse::<f64>().map_or(0.0, |share| 100.0 * share);
        let abort = plan.abort.get(failing).copied().unwrap_or_default();
        let found = match (harm, abort.median) {
            (Some(harm), Some(median)) => format!(
                "rolled back after {median} canary requests (90 %: {}), {harm:.0} of them failed",
                known(abort.p90)
            ),
            _ => "not found before the steps end".to_owned(),
        };
        text += &format!("if {percent:>3} % fail   {found}\n");
    }
    text += &format!("false abort    at most {}\n", share(plan.false_abort));
    for one in &plan.warnings {
        text += &format!("warning: {}\n", warning(plan, *one));
    }
    text + PLAN_LEGEND
}

/// What the columns of a plan mean.
const PLAN_LEGEND: &str = "
smallest regression found: the share of failing canary requests that the step finds in 9 of 10 cases
canary requests until a rollback: in half of all cases at most the first number, in 90 % the second
?: unknown, because it depends on an operator or has no error rate
";

fn warning(plan: &RolloutPlan, warning: PlanWarning) -> String {
    let step = |index: usize| {
        let weight = plan.steps.get(index).map(|step| step.weight).unwrap_or_default();
        format!("step {} ({weight} %)", index + 1)
    };
    match warning {
        PlanWarning::AsksOperator { step: index } => {
            format!("{} waits for an operator, so its length is unknown", step(index))
        }
        PlanWarning::TimesOut { step: index } => format!(
            "{} usually reaches its timeout before the canary is certified, and then waits for an \
             operator; a longer timeout, a larger margin or more traffic helps",
            step(index)
        ),
        PlanWarning::NeverConfident { step: index } => format!(
            "{} can never become confident: at this baseline there is no evidence for its margin; \
             a larger margin helps",
            step(index)
        ),
    }
}
