//! Sentences about what happened. Pure.

use std::path::Path;
use std::time::Duration;

use canary_judge::{EffectEstimate, EffectSince};
use canary_model::redact::redacted;
use canary_model::weight::Weight;
use canary_rollout::action::Notification;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::{Spec, Topic};
use canary_rollout::termination::TerminationReason;

use crate::sentences;

/// A rollout that draws each request anew, so a key decides nothing.
pub(crate) fn no_affinity(filter: &Path, rollout: &str) -> String {
    format!(
        "{}: rollout \"{rollout}\" has no `affinity`, so its requests are assigned at random and no key \
         has a version",
        filter.display()
    )
}

/// A line without an affinity key, counted from 1.
pub(crate) fn empty_key(file: &str, line: u64) -> String {
    format!("{file}: line {line} is empty; expected one affinity key per line")
}

/// A line whose key no JSON string can hold, counted from 1.
pub(crate) fn key_is_not_text(file: &str, line: u64) -> String {
    format!("{file}: line {line} is not UTF-8, so JSON can't hold this key; use the text output")
}

/// One event in a sentence, without its full stop.
pub(crate) fn event(event: &RolloutEvent, spec: &Spec) -> String {
    let gate = |index: &usize| {
        spec.gates.get(*index).map_or_else(|| format!("gate {index}"), |gate| redacted(&gate.url))
    };
    match event {
        RolloutEvent::Started { epoch, attempt: 1 } => format!("started (epoch {epoch})"),
        RolloutEvent::Started { epoch, attempt } => {
            format!("started again, attempt {attempt} (epoch {epoch})")
        }
        RolloutEvent::Step { step, weight } => {
            format!("step {} of {}: weight {weight} %", step + 1, spec.steps.len())
        }
        RolloutEvent::Paused { why } => format!("paused: {}", sentences::pause(why)),
        RolloutEvent::Resumed => "resumed".to_owned(),
        RolloutEvent::Promoting => "promoting: weight 100 %".to_owned(),
        RolloutEvent::Completed { reason, unreachable } => {
            format!("{}. {}", completed_because(reason, unreachable), left_to_do(spec))
        }
        RolloutEvent::Deploying { .. }
        | RolloutEvent::Deployed { .. }
        | RolloutEvent::Abandoned { .. }
        | RolloutEvent::Finalizing { .. }
        | RolloutEvent::HandingOver { .. }
        | RolloutEvent::Finished { .. } => release(event),
        RolloutEvent::Measured { weight, effects, unreachable } => {
            measured_because(*weight, effects, unreachable)
        }
        RolloutEvent::Aborting { reason } => {
            format!("rolling back to stable: {}", sentences::termination(reason))
        }
        // No rollback came before, which would have said why.
        RolloutEvent::Degraded {
            reason: reason @ TerminationReason::OtherOwner { .. }, ..
        } => {
            format!("Degraded: {}", sentences::termination(reason))
        }
        RolloutEvent::Degraded { unreachable, .. } => rolled_back(unreachable),
        RolloutEvent::GuardTripped { envoy } => format!("the guard tripped on {envoy}"),
        RolloutEvent::EnvoyLost { envoy, why } => envoy_lost(envoy, why),
        RolloutEvent::EnvoyBack { envoy } => format!("{envoy} responds again"),
        RolloutEvent::Outage => "statistics can't be read; the rollout holds its weight".to_owned(),
        RolloutEvent::OutageOver => "statistics can be read again".to_owned(),
        RolloutEvent::SplitMismatch { weight, measured } => split_mismatch(*weight, *measured),
        RolloutEvent::Warned { metric }
        | RolloutEvent::Overruled { metric }
        | RolloutEvent::AsksAgain { metric }
        | RolloutEvent::MetricOutage { metric, .. }
        | RolloutEvent::MetricOutageOver { metric } => by_metric(event, metric),
        RolloutEvent::GatePassed { gate: index } => format!("{} lets it pass", gate(index)),
        RolloutEvent::GateHeld { gate: index, said } => format!("{} holds it: {said}", gate(index)),
        RolloutEvent::ConfigurationRefused { envoy, why } => {
            format!("{envoy} refuses a configuration that was pushed to it: {why}; holding")
        }
        RolloutEvent::ConfigurationAccepted { envoy } => {
            format!("{envoy} no longer refuses a configuration")
        }
        RolloutEvent::OtherVersion { envoy, version } => {
            format!("the canary of {envoy} is version {version} now, not the rollout's; holding")
        }
        RolloutEvent::EpochRenewed { epoch } => format!(
            "an older canaryctl began this rollout: its decisions stay, and the evidence is collected \
             again (epoch {epoch})"
        ),
        RolloutEvent::NoticeLost { notice, topic, hook } => {
            notice_lost(*notice, *topic, *hook, spec)
        }
    }
}

fn split_mismatch(weight: f64, measured: f64) -> String {
    let (measured, weight) = (measured * 100.0, weight * 100.0);
    format!(
        "sample ratio mismatch: the canary receives {measured:.3} % of requests, expected {weight:.3} %"
    )
}

/// What a metric brought about that pauses, warns, or can't be measured; empty for everything else.
fn by_metric(event: &RolloutEvent, metric: &str) -> String {
    match event {
        RolloutEvent::Warned { .. } => {
            format!("{metric} finds the canary worse than tolerated (onFailure: warn)")
        }
        RolloutEvent::Overruled { .. } => {
            format!("an operator overruled {metric} for the rest of the rollout")
        }
        RolloutEvent::AsksAgain { .. } => format!("an operator resumed: {metric} asks again"),
        RolloutEvent::MetricOutage { why, .. } => {
            let why = sentences::no_answer(why);
            format!("metric {metric} can't be measured: {why}; holding")
        }
        RolloutEvent::MetricOutageOver { .. } => format!("metric {metric} is measured again"),
        _ => String::new(),
    }
}

fn envoy_lost(envoy: &str, why: &str) -> String {
    let why = why.strip_prefix(envoy).map_or(why, |why| why.trim_start_matches(": "));
    format!("{envoy} can't be reached: {why}; its lease returns it to stable")
}

fn notice_lost(notice: u64, topic: Option<Topic>, hook: Option<usize>, spec: &Spec) -> String {
    let about = topic.map_or(String::new(), |topic| format!(" ({})", topic.as_str()));
    let to = hook.map_or(String::new(), |hook| to_hook(hook, spec));
    format!("notification {notice}{about}{to} could not be delivered")
}

/// What happens beside the steps of a release; empty for everything else.
fn release(event: &RolloutEvent) -> String {
    match event {
        RolloutEvent::Deploying { role, version, attempt: 1 } => {
            format!("deploying version {version} into {role}'s place")
        }
        RolloutEvent::Deploying { role, version, attempt } => {
            format!("deploying version {version} into {role}'s place (call {attempt} of the hook)")
        }
        RolloutEvent::Deployed { role, version } => {
            format!("version {version} serves in {role}'s place")
        }
        RolloutEvent::Abandoned { reason } => {
            format!("Degraded: no weight has moved; {}", sentences::termination(reason))
        }
        RolloutEvent::Finalizing { version } => format!(
            "finalizing: version {version} takes over stable's place; until that is done, an abort can't go \
             back to stable"
        ),
        RolloutEvent::HandingOver { weight } => {
            format!("handing over: weight {weight} %, the new stable is judged")
        }
        RolloutEvent::Finished { version, reason, unreachable } => {
            finished_because(version, reason, unreachable)
        }
        _ => String::new(),
    }
}

/// A notification that was given up `within` after the rollout's end.
pub(crate) fn undelivered(notice: &Notification, spec: &Spec, within: Duration) -> String {
    let (topic, to) = (notice.topic.as_str(), to_hook(notice.hook, spec));
    let seconds = within.as_secs();
    format!("notification \"{topic}\"{to} could not be delivered within {seconds} s of the end")
}

/// Where a notification goes, behind what it is; empty if the file has no such hook.
fn to_hook(hook: usize, spec: &Spec) -> String {
    let hook = spec.notify.get(hook);
    hook.map_or(String::new(), |hook| format!(" to {}", redacted(&hook.url)))
}

fn completed_because(reason: &TerminationReason, unreachable: &[String]) -> String {
    let (all, reason) = (completed(unreachable), sentences::termination(reason));
    match out_of_reach(unreachable) {
        None => format!("{all}; {reason}"),
        Some(lost) => format!("{all}; {reason}. {lost}, which may serve the stable version"),
    }
}

/// What a rollout without a deploy hook leaves to the operator.
fn left_to_do(spec: &Spec) -> String {
    format!(
        "Left to do: put the new version in stable's place, then run `canaryctl finish {} -f FILE`. Until \
         then, an Envoy that restarts while no controller watches it returns its traffic to the old version",
        spec.rollout
    )
}

fn finished_because(version: &str, reason: &TerminationReason, unreachable: &[String]) -> String {
    let finished = finished(version, unreachable);
    let because = format!("{finished}; {}", sentences::termination(reason));
    out_of_reach(unreachable).map_or_else(
        || because.clone(),
        |lost| format!("{because}. {lost}, which may still use the canary's place"),
    )
}

/// The end of a measurement with its result: every effect over the whole of it.
fn measured_because(weight: Weight, effects: &[EffectEstimate], unreachable: &[String]) -> String {
    let over = measured(weight, unreachable);
    let whole = effects.iter().filter(|effect| effect.since == EffectSince::Start);
    let results: Vec<String> = whole.map(sentences::effect).collect();
    match results.is_empty() {
        true => over,
        false => format!("{over}. Canary against stable: {}", results.join(" · ")),
    }
}

fn measured(weight: Weight, unreachable: &[String]) -> String {
    let stays = match weight {
        Weight::ZERO => "all traffic is back on stable".to_owned(),
        weight => format!("the canary keeps {weight} % of requests"),
    };
    out_of_reach(unreachable).map_or_else(
        || format!("Measured: {stays}"),
        |lost| {
            format!(
                "Measured: on the Envoys that can be reached, {stays}. {lost}, whose leases return them to \
                 stable"
            )
        },
    )
}

fn finished(version: &str, unreachable: &[String]) -> String {
    let of = if unreachable.is_empty() { "" } else { " of the Envoys that can be reached" };
    format!("Healthy: all traffic{of} is in stable's place, and both places run version {version}")
}

fn completed(unreachable: &[String]) -> String {
    if unreachable.is_empty() {
        return "Healthy: all traffic on the canary".to_owned();
    }
    "Healthy: all traffic of the Envoys that can be reached is on the canary".to_owned()
}

fn rolled_back(unreachable: &[String]) -> String {
    out_of_reach(unreachable).map_or_else(
        || "Degraded: all traffic is back on stable".to_owned(),
        |lost| {
            format!(
                "Degraded: all traffic of the Envoys that can be reached is back on stable. {lost}, whose \
                 leases have run out"
            )
        },
    )
}

fn out_of_reach(envoys: &[String]) -> Option<String> {
    (!envoys.is_empty()).then(|| format!("Out of reach: {}", envoys.join(", ")))
}

/// The events that end a rollout without their reason, for where the reason is shown already; `None` for
/// all others.
pub(crate) fn brief(event: &RolloutEvent) -> Option<String> {
    match event {
        RolloutEvent::Completed { unreachable, .. } => {
            let all = completed(unreachable);
            Some(out_of_reach(unreachable).map_or(all.clone(), |lost| format!("{all}. {lost}")))
        }
        RolloutEvent::Finished { version, unreachable, .. } => {
            let all = finished(version, unreachable);
            Some(out_of_reach(unreachable).map_or(all.clone(), |lost| format!("{all}. {lost}")))
        }
        RolloutEvent::Measured { weight, unreachable, .. } => Some(measured(*weight, unreachable)),
        RolloutEvent::Aborting { .. } => Some("rolling back to stable".to_owned()),
        RolloutEvent::Abandoned { .. } => Some("Degraded: no weight has moved".to_owned()),
        RolloutEvent::Degraded { reason: TerminationReason::OtherOwner { .. }, .. } => None,
        RolloutEvent::Degraded { unreachable, .. } => Some(rolled_back(unreachable)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A closing message never claims an Envoy that nobody could ask, on a terminal or elsewhere.
    #[test]
    fn closing_messages_name_unreachable_envoys() {
        let file = serde_json::json!({
            "rollout": "r", "steps": [{"setWeight": 5}, {"pause": {}}], "manual": true,
        });
        let spec = Spec::read(&file).unwrap();
        let texts =
            |closing: &RolloutEvent| [event(closing, &spec), brief(closing).unwrap_or_default()];
        let lost = || vec!["http://gone:9901".to_owned()];
        let reason = || TerminationReason::Completed;
        for closing in [
            RolloutEvent::Completed { reason: reason(), unreachable: lost() },
            RolloutEvent::Degraded { reason: reason(), unreachable: lost() },
        ] {
            for text in texts(&closing) {
                assert!(text.contains("Out of reach: http://gone:9901"), "{text}");
                assert!(text.contains("all traffic of the Envoys that can be reached"), "{text}");
            }
        }
        let all = RolloutEvent::Completed { reason: reason(), unreachable: Vec::new() };
        for text in texts(&all) {
            assert!(text.starts_with("Healthy: all traffic on the canary"), "{text}");
        }
        let (envoy, owner) = ("a".to_owned(), "bob".to_owned());
        let taken = TerminationReason::OtherOwner { envoy, owner };
        let taken = RolloutEvent::Degraded { reason: taken, unreachable: Vec::new() };
        assert_eq!(brief(&taken), None, "nothing is known about where its traffic goes");
    }
}
