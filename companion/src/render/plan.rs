//! Forecasts and replays, as text.

use canary_rollout::plan::{PlanWarning, RolloutPlan};
use canary_rollout::replay::Replayed;
use serde_json::Value;

use super::chart::time;
use super::messages;

/// The text of `replay`.
pub(crate) fn replayed_text(replayed: &Replayed) -> String {
    let Replayed { outcome, at, reason, canary_requests, canary_failures } = replayed;
    let outcome = serde_json::to_value(outcome).ok();
    let outcome = outcome.as_ref().and_then(Value::as_str).unwrap_or_default();
    let at = at.map_or_else(String::new, |at| format!(" at {at} s"));
    format!(
        "{outcome}{at}: {reason}\n{canary_requests} canary requests, {canary_failures} of them failed\n"
    )
}

/// `plan -o json`: the forecast, its warnings in sentences, and null for what is unknown.
pub(crate) fn plan_json(plan: &RolloutPlan, warnings: &[PlanWarning]) -> Value {
    let mut json = serde_json::to_value(plan).unwrap_or_default();
    if let Value::Object(fields) = &mut json {
        fields.entry("abort").or_insert(Value::Null);
        let warnings = warnings.iter().map(|warning| messages::plan_warning(*warning).into());
        fields.insert("warnings".to_owned(), Value::Array(warnings.collect()));
    }
    json
}

/// `plan`. `baseline` is the share of requests that fail today, as a fraction.
pub(crate) fn plan_text(plan: &RolloutPlan, baseline: f64, warnings: &[PlanWarning]) -> String {
    let unknown = || "unknown".to_owned();
    let span = |seconds: Option<u64>| seconds.map_or_else(unknown, |seconds| time(seconds as f64));
    let share = |share: Option<f64>| share.map_or_else(unknown, percent);
    let mut text = format!(
        "{:>4}{:>10}{:>12}{:>18}{:>22}\n",
        "step", "weight", "time", "canary requests", "finds failures from"
    );
    for (index, step) in plan.steps.iter().enumerate() {
        let requests = step.canary_requests.map_or_else(unknown, |requests| requests.to_string());
        text += &format!(
            "{:>4}{:>10}{:>12}{requests:>18}{:>22}\n",
            index + 1,
            format!("{} %", step.weight),
            span(step.seconds),
            share(step.smallest_regression),
        );
    }
    text += &format!("\n{:<26}{}\n", "time of all steps", span(plan.seconds));
    for (failing, harm) in plan.harm.iter().rev() {
        let failing = failing.parse::<f64>().map_or_else(|_| failing.clone(), percent);
        let harm = harm.map_or_else(
            || "isn't detected".to_owned(),
            |harm| format!("about {harm:.0} failed requests until it is rolled back"),
        );
        text += &format!("{:<26}{harm}\n", format!("a canary that fails {failing}"));
    }
    text += &format!("{:<26}at most {}\n", "chance of a false abort", share(plan.false_abort));
    text += &format!(
        "\n\"finds failures from\" is the smallest share of failing canary requests that a step detects \
         with\n90 % probability, if {} of requests fail today. \"unknown\": it depends on an operator \
         or on\nmetrics that can't be forecast.\n",
        percent(baseline)
    );
    let warnings = warnings.iter().map(|warning| messages::plan_warning(*warning));
    text + &warnings.map(|warning| format!("warning: {warning}\n")).collect::<String>()
}

/// A fraction as a percentage with two significant digits, but no fewer than the number has before its
/// point.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    let digits = if percent > 0.0 { percent.log10().floor() } else { 0.0 };
    let decimals = (1.0 - digits).clamp(0.0, 6.0) as usize;
    let text = format!("{percent:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text.as_str()
    };
    format!("{text} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_two_digits_that_count() {
        for (share, text) in [
            (0.09984, "10 %"),
            (0.001, "0.1 %"),
            (0.01234, "1.2 %"),
            (0.000_456, "0.046 %"),
            (1.0, "100 %"),
            (0.0, "0 %"),
            (0.333, "33 %"),
        ] {
            assert_eq!(percent(share), text);
        }
    }
}
