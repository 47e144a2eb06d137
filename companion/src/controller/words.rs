//! What happened, as a person reads it. Pure.

use canary_core::duration;
use canary_core::rollout::event::Event;
use canary_core::rollout::spec::Spec;
use canary_core::rollout::state::Phase;

use super::status::Status;

/// One event in a sentence, without its full stop.
pub fn event(event: &Event, spec: &Spec) -> String {
    let gate = |index: &usize| {
        spec.gates.get(*index).map_or_else(|| format!("gate {index}"), |gate| gate.url.clone())
    };
    match event {
        Event::Started { epoch, attempt: 1 } => format!("started (epoch {epoch})"),
        Event::Started { epoch, attempt } => {
            format!("started again, attempt {attempt} (epoch {epoch})")
        }
        Event::Step { step, weight } => {
            format!("step {} of {}: weight {weight} %", step + 1, spec.steps.len())
        }
        Event::Paused { why } => format!("paused: {why}"),
        Event::Resumed => "goes on".to_owned(),
        Event::Promoting => "promoting: weight 100 %".to_owned(),
        Event::Completed { reason } => format!("Healthy: all traffic on the canary; {reason}"),
        Event::Aborting { reason } => format!("rolling back to stable: {reason}"),
        Event::Degraded { reason } => format!("Degraded: {reason}"),
        Event::GuardTripped { envoy } => format!("the guard tripped on {envoy}"),
        Event::EnvoyLost { envoy, why } => {
            let why = why
                .strip_prefix(envoy.as_str())
                .map_or(why.as_str(), |w| w.trim_start_matches(": "));
            format!("{envoy} can't be reached: {why}; its lease brings it back to stable")
        }
        Event::EnvoyBack { envoy } => format!("{envoy} answers again"),
        Event::Outage => "no counts can be read: holding".to_owned(),
        Event::OutageOver => "there are counts again".to_owned(),
        Event::SplitMismatch { weight, measured } => format!(
            "the canary gets {:.3} % of the requests, and its weight is {:.3} %",
            measured * 100.0,
            weight * 100.0
        ),
        Event::GatePassed { gate: index } => format!("{} lets it pass", gate(index)),
        Event::GateHeld { gate: index, said } => format!("{} holds it: {said}", gate(index)),
        Event::NoticeLost { notice } => format!("notification {notice} could not be delivered"),
    }
}

/// What becomes of the weight when the controller stops before the end.
pub fn left_behind(status: &Status, spec: &Spec) -> String {
    let lease = duration::format(std::time::Duration::from_secs(spec.lease_seconds.into()));
    match (status.phase, status.weight.set) {
        (Phase::Pending, _) | (_, None) => "no weight was changed".to_owned(),
        (_, Some(weight)) => format!(
            "the weight stays at {weight} %, and the lease brings everything back to stable within \
             {lease}, unless `canaryctl run` goes on with it before"
        ),
    }
}
