//! Forecasts and replays, as text.

use std::time::Duration;

use canary_judge::{EffectEstimate, EffectSince};
use canary_rollout::plan::{HandoverPlan, PlanWarning, RolloutPlan};
use canary_rollout::replay::{ReplayReason, Replayed};
use serde_json::{Value, json};

use super::figures::time;
use crate::sentences;

/// `replay -o json`: the reason is a sentence.
pub(crate) fn replayed_json(replayed: &Replayed) -> Value {
    let Replayed { outcome, at, reason, canary_requests, canary_failures, effects } = replayed;
    json!({
        "outcome": outcome,
        "at": at,
        "reason": replay_reason(reason),
        "canary_requests": canary_requests,
        "canary_failures": canary_failures,
        "effects": super::json::effects(effects),
    })
}

/// Why a replay ended as it did.
fn replay_reason(reason: &ReplayReason) -> String {
    match reason {
        ReplayReason::Failed(verdict) => sentences::verdict(verdict),
        ReplayReason::Completed { steps } => {
            let plural = if *steps == 1 { "step" } else { "steps" };
            format!("the conditions of all {steps} {plural} held, and no metric failed")
        }
        ReplayReason::Empty => "the recording is empty".to_owned(),
        ReplayReason::Waits(blockers) => {
            let waits = sentences::waits_for(blockers).unwrap_or_default();
            format!("the recording ends where {waits}")
        }
    }
}

/// The age at which a filter counts outcomes if nobody says otherwise: its default without `overdue`.
const OUTCOME_AGE: Duration = Duration::from_secs(20);

/// The age at which outcomes are counted, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlannedAge {
    /// From the filter's configuration file.
    Configured(Duration),
    /// From the gauge of the filters that run.
    Running(Duration),
    /// Nobody: the filter's default.
    Default,
}

impl PlannedAge {
    /// The `outcome_age`, wherever it comes from.
    pub(crate) const fn age(self) -> Duration {
        match self {
            Self::Configured(age) | Self::Running(age) => age,
            Self::Default => OUTCOME_AGE,
        }
    }
}

/// The text of `replay`.
pub(crate) fn replayed_text(replayed: &Replayed) -> String {
    let Replayed { outcome, at, reason, canary_requests, canary_failures, effects } = replayed;
    let reason = replay_reason(reason);
    let outcome = serde_json::to_value(outcome).ok();
    let outcome = outcome.as_ref().and_then(Value::as_str).unwrap_or_default();
    let at = at.map_or_else(String::new, |at| format!(" at {at} s"));
    let known = |one: &&EffectEstimate| one.since == EffectSince::Start && one.estimate.is_some();
    let effects = effects.iter().filter(known).map(|one| sentences::effect(one) + "\n");
    format!(
        "{outcome}{at}: {reason}\n{canary_requests} canary requests, {canary_failures} of them failed\n{}",
        effects.collect::<String>()
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

/// `plan`. `baseline` is the share of requests that fail today, as a fraction; `age` says where the plan's
/// `outcome_age` comes from.
pub(crate) fn plan_text(plan: &RolloutPlan, baseline: f64, age: PlannedAge) -> String {
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
    let source = match age {
        PlannedAge::Configured(_) => "as the filter's configuration says",
        PlannedAge::Running(_) => "as the running filters say",
        PlannedAge::Default => "the filter's default; --filter FILE reads it",
    };
    text += &format!("{:<26}{} s in each step, {source}\n", "outcome_age", plan.outcome_age);
    for (failing, harm) in plan.harm.iter().rev() {
        let share = failing.parse::<f64>().map_or_else(|_| failing.clone(), percent);
        let abort = plan.abort.get(failing).copied().unwrap_or_default();
        let known = |number: Option<u64>| number.map_or_else(unknown, |n| n.to_string());
        let found = match (harm, abort.median) {
            (Some(harm), Some(median)) => format!(
                "rolled back after {median} canary requests (90 %: {}), {harm:.0} of them failed",
                known(abort.p90)
            ),
            _ => "not found before the steps end".to_owned(),
        };
        text += &format!("{:<26}{found}\n", format!("a canary that fails {share}"));
    }
    text += &format!("{:<26}at most {}\n", "chance of a false abort", share(plan.false_abort));
    let (name, behind) = match plan.handover.requests {
        0 => ("after the last step", "nothing is promoted (goal: measure)".to_owned()),
        _ => ("handover", handover(&plan.handover)),
    };
    text += &format!("{name:<26}{behind}\n");
    text += &format!(
        "\n\"finds failures from\" is the smallest share of failing canary requests that a step detects \
         with\n90 % probability, if {} of requests fail today. \"unknown\": it depends on an operator \
         or on\nmetrics that can't be forecast. A canary is rolled back after at most the first number of \
         requests in\nhalf of all cases, and after the second in 90 %; both include the requests that arrive \
         during outcome_age.\nThe guard, which doesn't wait for that, stops a canary that fails most requests \
         sooner.\n",
        percent(baseline)
    );
    let warnings = plan.warnings.iter().map(|one| warning(plan, *one));
    text + &warnings.map(|warning| format!("warning: {warning}\n")).collect::<String>()
}

/// What the handover of stable's place finds, and how long it takes.
fn handover(plan: &HandoverPlan) -> String {
    let HandoverPlan { requests, seconds, smallest_regression, probability } = plan;
    let found = smallest_regression.map_or_else(
        || "finds nothing".to_owned(),
        |share| {
            let (share, probability) = (percent(share), percent(*probability));
            format!("finds a new stable that fails {share} with {probability} probability")
        },
    );
    let time = time(*seconds as f64);
    format!("{found}, by {requests} requests to each place in {time}")
}

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
        PlanWarning::HandoverFindsNothing => format!(
            "the handover judges {} requests of each place, which is too few to find even a new stable \
             that always fails; raise `deploy.minRequests`",
            plan.handover.requests
        ),
    }
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
