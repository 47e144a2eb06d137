//! Deadlines and the age of outcomes: settings that the filter accepts and that leave a hanging or slow
//! version unjudged.

use std::time::Duration;

use canary_model::config::{Config, Overdue, Rollout, Timings};
use canary_model::document::ConfigError;
use serde_json::Value;

/// How much longer than a deadline the age should be: the deadline passes within a tick, and a worker that
/// is late is a second late.
pub(super) const SLACK: Duration = Duration::from_secs(2);

/// Warnings about deadlines and ages. `json` is what the configuration was read from.
pub(crate) fn warnings(config: &Config, json: &Value) -> Vec<ConfigError> {
    let rollouts = config.rollouts.iter().enumerate();
    let of_rollout = |(index, rollout): (usize, &Rollout)| {
        let sets_age = json.pointer(&format!("/rollouts/{index}/outcome_age")).is_some();
        let found = [
            no_deadline(rollout),
            no_first_byte(rollout),
            age_below_deadlines(rollout),
            age_unset(rollout, sets_age),
        ];
        let warning = |(field, message): (&str, String)| {
            let path = format!("rollouts[{index}].{field}");
            ConfigError { path, message }
        };
        found.into_iter().flatten().map(warning).collect::<Vec<_>>()
    };
    rollouts.flat_map(of_rollout).collect()
}

type FieldAndMessage = (&'static str, String);

fn no_deadline(rollout: &Rollout) -> Option<FieldAndMessage> {
    let Overdue { answer, first_byte, idle: _ } = rollout.failure.overdue;
    if answer.is_some() || first_byte.is_some() {
        return None;
    }
    let message = "no deadline for an answer: a version that accepts requests and never answers gives no \
                   data, so it is neither rolled back nor advanced. Set `answer` below your clients' own \
                   timeouts, for example to 10s if they wait for 15s; then a request that hangs is a failure";
    Some(("failure.overdue", message.to_owned()))
}

fn no_first_byte(rollout: &Rollout) -> Option<FieldAndMessage> {
    let streams = rollout.failure.sse.is_some() || rollout.timings != Timings::default();
    if !streams || rollout.failure.overdue.first_byte.is_some() {
        return None;
    }
    let why = if rollout.failure.sse.is_some() { "sse" } else { "timings" };
    let message = format!(
        "`{why}` says that answers are streams, and a stream that has headers and no content meets the \
         deadline `answer`: set `first_byte` to the longest time in which a first token should come"
    );
    Some(("failure.overdue.first_byte", message))
}

fn age_below_deadlines(rollout: &Rollout) -> Option<FieldAndMessage> {
    let Overdue { answer, first_byte, idle: _ } = rollout.failure.overdue;
    let deadlines = [("answer", answer), ("first_byte", first_byte)];
    let known = deadlines.into_iter().filter_map(|(name, deadline)| Some((name, deadline?)));
    let (name, longest) = known.max_by_key(|(_, deadline)| *deadline)?;
    let age = rollout.outcome_age;
    if age >= longest.saturating_add(SLACK) {
        return None;
    }
    let message = format!(
        "{} is less than 2 s longer than the deadline `{name}` of {}: a request that hangs reaches its age \
         before it has failed, and isn't judged. Set it to {} or more",
        text(age),
        text(longest),
        text(longest.saturating_add(SLACK))
    );
    Some(("outcome_age", message))
}

fn age_unset(rollout: &Rollout, sets_age: bool) -> Option<FieldAndMessage> {
    let idle = rollout.failure.overdue.idle.is_some();
    let sse = rollout.failure.sse.is_some();
    if sets_age || !(idle || sse) {
        return None;
    }
    let field = if idle { "overdue.idle" } else { "sse" };
    let message = format!(
        "not set, and `{field}` finds failures at any age: those after {}, the default, are counted and not \
         judged. Set it to the longest stream whose stall or break should roll the canary back",
        text(rollout.outcome_age)
    );
    Some(("outcome_age", message))
}

/// A time as configurations write it.
pub(super) fn text(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}
