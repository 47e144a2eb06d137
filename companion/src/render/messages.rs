//! Sentences about what happened. Pure.

use canary_model::redact::redacted;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;
use canary_rollout::termination::TerminationReason;

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
        RolloutEvent::Paused { why } => format!("paused: {}", why.sentence()),
        RolloutEvent::Resumed => "resumed".to_owned(),
        RolloutEvent::Promoting => "promoting: weight 100 %".to_owned(),
        RolloutEvent::Completed { reason, unreachable } => completed(Some(reason), unreachable),
        RolloutEvent::Aborting { reason } => format!("rolling back to stable: {reason}"),
        // No rollback came before, which would have said why.
        RolloutEvent::Degraded {
            reason: reason @ TerminationReason::OtherOwner { .. }, ..
        } => {
            format!("Degraded: {reason}")
        }
        RolloutEvent::Degraded { unreachable, .. } => degraded(unreachable),
        RolloutEvent::GuardTripped { envoy } => format!("the guard tripped on {envoy}"),
        RolloutEvent::EnvoyLost { envoy, why } => {
            let why = why
                .strip_prefix(envoy.as_str())
                .map_or(why.as_str(), |w| w.trim_start_matches(": "));
            format!("{envoy} can't be reached: {why}; its lease returns it to stable")
        }
        RolloutEvent::EnvoyBack { envoy } => format!("{envoy} responds again"),
        RolloutEvent::Outage => "statistics can't be read; the rollout holds its weight".to_owned(),
        RolloutEvent::OutageOver => "statistics can be read again".to_owned(),
        RolloutEvent::SplitMismatch { weight, measured } => format!(
            "sample ratio mismatch: the canary receives {:.3} % of requests, expected {:.3} %",
            measured * 100.0,
            weight * 100.0
        ),
        RolloutEvent::GatePassed { gate: index } => format!("{} lets it pass", gate(index)),
        RolloutEvent::GateHeld { gate: index, said } => format!("{} holds it: {said}", gate(index)),
        RolloutEvent::MetricOutage { metric, why } => {
            format!("metric {metric} can't be measured: {why}; holding")
        }
        RolloutEvent::MetricOutageOver { metric } => format!("metric {metric} is measured again"),
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
            let about = topic.map_or(String::new(), |topic| format!(" ({})", topic.as_str()));
            let hook = hook.and_then(|hook| spec.notify.get(hook));
            let to = hook.map_or(String::new(), |hook| format!(" to {}", redacted(&hook.url)));
            format!("notification {notice}{about}{to} could not be delivered")
        }
    }
}

/// The end of a rollout with all traffic on the canary, and the Envoys that can't confirm it.
fn completed(reason: Option<&TerminationReason>, unreachable: &[String]) -> String {
    let reason = reason.map_or_else(String::new, |reason| format!("; {reason}"));
    if unreachable.is_empty() {
        return format!("Healthy: all traffic on the canary{reason}");
    }
    format!(
        "Healthy: all traffic of the Envoys that can be reached is on the canary{reason}. Out of reach: \
         {}, which may serve the stable version",
        unreachable.join(", ")
    )
}

/// The end of a rollback, and the Envoys that can't confirm it.
fn degraded(unreachable: &[String]) -> String {
    if unreachable.is_empty() {
        return "Degraded: all traffic is back on stable".to_owned();
    }
    format!(
        "Degraded: all traffic of the Envoys that can be reached is back on stable. Out of reach: {}, \
         whose leases have run out",
        unreachable.join(", ")
    )
}

/// The events that end a rollout without their reason, for where the reason is shown already; `None` for
/// all others.
pub(crate) fn brief(event: &RolloutEvent) -> Option<String> {
    Some(match event {
        RolloutEvent::Completed { unreachable, .. } => completed(None, unreachable),
        RolloutEvent::Aborting { .. } => "rolling back to stable".to_owned(),
        RolloutEvent::Degraded { unreachable, .. } => degraded(unreachable),
        _ => return None,
    })
}
