//! What keeps a rollout from moving a weight although time and data would let it: the checks before
//! the first weight, and what holds it on the way.

use std::collections::BTreeSet;

use super::Blocker;
use super::versions::{canary_on, canary_version, without_configuration};
use crate::spec::Spec;
use crate::state::{FleetMember, State};
use canary_judge::spec::MetricRule;
use canary_judge::timing::Timing;
use canary_model::role::Role;

/// The checks that must pass before the first weight (DESIGN 7.1), as far as the Envoys' configuration
/// is known; empty if they all pass.
pub(crate) fn before_first_weight(spec: &Spec, state: &State) -> Vec<Blocker> {
    let mut failing = while_under_way(state);
    failing.extend(unknown_versions(state));
    failing.extend(missing_signals(spec, state));
    failing.extend(missing_timings(spec, state));
    failing.extend(Role::ALL.into_iter().filter_map(|role| no_endpoints(state, role)));
    failing
}

/// The checks that must pass before a version is deployed into the canary's place: what comes with the
/// version, such as its endpoints, isn't among them.
pub(crate) fn before_deploy(state: &State) -> Vec<Blocker> {
    let mut failing = while_under_way(state);
    failing.extend(unknown_versions(state));
    failing
}

/// The versions that a weight or a label must name, and that aren't known.
fn unknown_versions(state: &State) -> Vec<Blocker> {
    if state.reachable().next().is_none() {
        return Vec::new();
    }
    let canary = canary_version(state).is_none().then_some(Blocker::CanaryVersion);
    canary.into_iter().chain(without_configuration(state)).collect()
}

/// What holds a rollout that has begun: a refused configuration, another version, filters that count
/// outcomes at no age or at different ones.
pub(crate) fn while_under_way(state: &State) -> Vec<Blocker> {
    let mut holding = Vec::new();
    let refused = named(state, |member| member.refused.clone());
    if !refused.is_empty() {
        holding.push(Blocker::RefusedConfiguration { envoys: refused });
    }
    if let Some(expected) = canary_version(state) {
        let other =
            |member: &FleetMember| canary_on(state, member).filter(|version| *version != expected);
        let envoys = named(state, other);
        if !envoys.is_empty() {
            holding.push(Blocker::OtherVersion { expected, envoys });
        }
    }
    holding.extend(ages(state));
    holding
}

/// Counts at different ages can't be added up, and the judge can't use counts at the end.
fn ages(state: &State) -> Vec<Blocker> {
    let outdated = state.reachable().filter(|(_, member)| member.outdated);
    let outdated: Vec<String> = outdated.map(|(name, _)| name.clone()).collect();
    let known = state
        .reachable()
        .filter_map(|(name, member)| member.outcome_age.map(|age| (name.clone(), age)));
    let known: Vec<(String, u64)> = known.collect();
    let one = known.first().map(|(_, age)| *age);
    let differ = known.iter().any(|(_, age)| Some(*age) != one);
    let outdated = (!outdated.is_empty()).then_some(Blocker::OutdatedFilter { envoys: outdated });
    let differ = differ.then_some(Blocker::OneOutcomeAge { envoys: known });
    outdated.into_iter().chain(differ).collect()
}

/// The reachable Envoys about which there is something to say, with what it is.
fn named(state: &State, say: impl Fn(&FleetMember) -> Option<String>) -> Vec<(String, String)> {
    let of_member =
        |(name, member): (&String, &FleetMember)| say(member).map(|what| (name.clone(), what));
    state.reachable().filter_map(of_member).collect()
}

fn missing_signals(spec: &Spec, state: &State) -> Vec<Blocker> {
    let signal = |rule: &MetricRule| match rule {
        MetricRule::Distribution { signal, .. }
        | MetricRule::Values { signal, .. }
        | MetricRule::Conversion { signal, .. } => Some(signal.clone()),
        MetricRule::FailureRate { .. } | MetricRule::Latency { .. } | MetricRule::Prometheus(_) => {
            None
        }
    };
    let mut missing = Vec::new();
    for metric in &spec.analysis.metrics {
        let Some(signal) = signal(&metric.rule) else { continue };
        let values = matches!(metric.rule, MetricRule::Values { .. });
        let lacking = |member: &FleetMember| {
            let known = if values { &member.value_signals } else { &member.signals };
            known.as_ref().filter(|known| !known.contains(&signal)).cloned()
        };
        let lacking: Vec<(String, BTreeSet<String>)> = state
            .reachable()
            .filter_map(|(name, member)| Some((name.clone(), lacking(member)?)))
            .collect();
        if lacking.is_empty() {
            continue;
        }
        let known: BTreeSet<String> =
            lacking.iter().flat_map(|(_, known)| known.iter().cloned()).collect();
        missing.push(Blocker::Signal {
            metric: metric.name.clone(),
            signal,
            values,
            envoys: lacking.into_iter().map(|(name, _)| name).collect(),
            known: known.into_iter().collect(),
        });
    }
    missing
}

fn no_endpoints(state: &State, role: Role) -> Option<Blocker> {
    let empty = |(_, member): &(&String, &FleetMember)| *member.endpoints.get(role) == Some(0);
    let envoys: Vec<String> =
        state.reachable().filter(empty).map(|(name, _)| name.clone()).collect();
    (!envoys.is_empty()).then_some(Blocker::Endpoints { role, envoys })
}

/// A timing that a latency metric compares must be measured: `of: ttfb` without `timings` has no data.
fn missing_timings(spec: &Spec, state: &State) -> Vec<Blocker> {
    let mut missing = Vec::new();
    for metric in &spec.analysis.metrics {
        let MetricRule::Latency { timing: of, .. } = &metric.rule else { continue };
        if *of == Timing::Total {
            continue;
        }
        let lacks = |member: &FleetMember| {
            member.timings.as_ref().is_some_and(|known| !known.contains(of.as_str()))
        };
        let envoys = state.reachable().filter(|(_, member)| lacks(member));
        let envoys: Vec<String> = envoys.map(|(name, _)| name.clone()).collect();
        if !envoys.is_empty() {
            let (metric, timing) = (metric.name.clone(), of.to_string());
            missing.push(Blocker::Timing { metric, timing, envoys });
        }
    }
    missing
}

/// Envoys that don't show the target yet.
pub(super) fn confirmation(state: &State) -> Option<Blocker> {
    if state.reachable().next().is_none() {
        return Some(Blocker::AnyEnvoy);
    }
    let mismatch = |(name, member): (&String, &FleetMember)| {
        member.mismatch.as_ref().map(|mismatch| (name.clone(), mismatch.clone()))
    };
    let envoys: Vec<_> = state.reachable().filter_map(mismatch).collect();
    (!envoys.is_empty()).then_some(Blocker::Confirmation { envoys })
}

/// Counts that can't be read.
pub(super) fn outage(state: &State) -> Option<Blocker> {
    let since = state.outage?;
    Some(Blocker::Counts { missing: state.clock.passed.saturating_sub(since) })
}
