//! Forecasts and replays, as text.

use canary_rollout::plan::RolloutPlan;
use canary_rollout::replay::Replayed;
use serde_json::Value;

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
        let harm = harm
            .map_or_else(|| "not found".to_owned(), |harm| format!("{harm:.0} failed requests"));
        text += &format!("if {percent:>3} % fail   {harm}\n");
    }
    text + &format!("false abort    at most {}\n", share(plan.false_abort))
}
