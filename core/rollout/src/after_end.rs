//! After a rollout's end: an Envoy that restarts has lost its runtime and gets the final state back.
//!
//! Keys are set one by one and only where they are *missing*, without lease and owner, so nothing that
//! an operator or another controller has set is ever overwritten. An Envoy whose kill switch was thrown
//! is left alone, and so is one that another controller drives.

use std::collections::BTreeMap;

use super::action::Restoration;
use super::inputs::{EnvoyInput, EnvoyReading};
use super::mismatch::{self, EnvoyMismatch};
use super::state::{Phase, State, WeightTarget};
use super::termination::TerminationReason;
use canary_judge::counts::Pair;
use canary_model::runtime::VersionLabel;
use canary_model::weight::Weight;

/// What the fleet looks like after the end, and what is to be done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AfterEnd {
    /// What Envoys get back. Nothing of it does harm when it is done twice.
    pub restore: Vec<Restoration>,
    /// Envoys that show something other than the final state, which is not set again.
    pub differing: Vec<(String, EnvoyMismatch)>,
    /// Envoys that can't be reached, with what was said.
    pub unreachable: Vec<(String, String)>,
}

/// Compares every Envoy with the final state of a rollout that has ended; before the end, and if
/// another controller took the rollout over, there is nothing to compare.
pub fn after_end(state: &State, envoys: &BTreeMap<String, EnvoyInput>) -> AfterEnd {
    let mut after = AfterEnd::default();
    let Some(target) = final_target(state) else { return after };
    for (name, envoy) in envoys {
        let reading = match envoy {
            EnvoyInput::Unreachable(why) => {
                after.unreachable.push((name.clone(), why.clone()));
                continue;
            }
            EnvoyInput::Reached(reading) => reading,
        };
        if let Some(restoration) = missing(name, &target, reading) {
            after.restore.push(restoration);
        } else if let Some(mismatch) = differs(&target, reading) {
            after.differing.push((name.clone(), mismatch));
        }
    }
    after
}

/// What every Envoy should show after the end.
fn final_target(state: &State) -> Option<WeightTarget> {
    let (weight, enabled) = match (state.phase(), state.ending()) {
        (_, Some(TerminationReason::OtherOwner { .. })) => return None,
        // It ended before anything was written, and so nothing is now.
        (Phase::Degraded, _) if state.untouched => return None,
        (Phase::Degraded, _) => (Weight::ZERO, false),
        _ => (state.final_weight()?, true),
    };
    let labels = state.labels.clone();
    let version = state.canary_version().map(str::to_owned);
    let (epoch, window, lease_seconds, owner) = (state.epoch(), 0, None, None);
    Some(WeightTarget { weight, version, enabled, epoch, window, lease_seconds, owner, labels })
}

/// The keys that are missing on an Envoy that may be written; `None` if there are none.
fn missing(name: &str, target: &WeightTarget, reading: &EnvoyReading) -> Option<Restoration> {
    let thrown = target.enabled && reading.enabled == Some(false);
    if thrown || reading.owner.is_some() || !reading.unreadable.is_empty() {
        return None;
    }
    // 100 % without a version would also hold for the next canary.
    let known = target.version.is_some() || target.weight == Weight::ZERO;
    let weight = reading.weight.is_none().then_some(target.weight).filter(|_| known);
    let enabled = reading.enabled.is_none().then_some(target.enabled);
    let labels = missing_labels(target, reading);
    if weight.is_none() && enabled.is_none() && labels == Pair::default() {
        return None;
    }
    let (envoy, version) = (name.to_owned(), target.version.clone());
    Some(Restoration { envoy, weight, version, enabled, labels })
}

/// The labels whose keys are missing. A label for another configuration than the Envoy's is older than that,
/// and isn't set again.
fn missing_labels(target: &WeightTarget, reading: &EnvoyReading) -> Pair<Option<String>> {
    Pair::ROLES.map(|role| {
        let wanted = target.labels.get(role).as_deref()?;
        let for_this = VersionLabel::parse(wanted).ok().is_some_and(|label| {
            let configured = reading.configured.get(role).as_deref();
            configured.is_none_or(|configured| label.for_configured(configured).is_some())
        });
        (for_this && reading.labels.get(role).is_none()).then(|| wanted.to_owned())
    })
}

/// What differs of the keys that stay after the end: weight and kill switch.
fn differs(target: &WeightTarget, reading: &EnvoyReading) -> Option<EnvoyMismatch> {
    // A configuration that is newer than the labels has versions of its own.
    let labels = Pair::ROLES
        .map(|role| target.labels.get(role).clone().filter(|_| reading.labels.get(role).is_some()));
    let same = WeightTarget {
        labels,
        epoch: reading.epoch.unwrap_or(target.epoch),
        window: reading.window.unwrap_or(target.window),
        ..target.clone()
    };
    let relevant =
        EnvoyReading { epoch: Some(same.epoch), window: Some(same.window), ..reading.clone() };
    mismatch::in_runtime(&same, &relevant, false).or_else(|| mismatch::in_filter(&same, reading))
}

#[cfg(test)]
mod tests;
