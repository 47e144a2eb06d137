//! A rollout as a person sees it: many Envoys' observations made into one. Pure.
//!
//! Counts are since the start of each Envoy. The measured share is the canary's part of the compared
//! requests: since the start, or between two looks where there is an earlier one.

use std::collections::{BTreeMap, BTreeSet};

use canary_model::role::Role;
use canary_model::runtime::Reading;
use canary_model::weight::Weight;

use crate::observe::{Counts, Observation};

/// One Envoy's part, by how results call it.
pub type Observed = BTreeMap<String, Observation>;

/// A rollout over all Envoys that answered.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Its name.
    pub rollout: String,
    /// The weight that the runtime sets, else the configuration's; `None` where Envoys differ.
    pub set: Option<Weight>,
    /// The weight in force; `None` where Envoys differ.
    pub in_force: Option<Weight>,
    /// The canary's share of the compared requests, 0 to 1; `None` without requests.
    pub measured: Option<f64>,
    /// The version that serves by default.
    pub stable: Side,
    /// The version under trial.
    pub canary: Side,
    /// Whether the guard has tripped on any Envoy.
    pub guard_tripped: Option<bool>,
    /// Whether the lease ran out on any Envoy.
    pub lease_expired: Option<bool>,
    /// Whether the kill switch sends everything to stable on any Envoy.
    pub killed: bool,
    /// Who drives the rollout, as the owner keys say.
    pub owners: BTreeSet<String>,
    /// What a person should know about these figures.
    pub remarks: Vec<String>,
}

/// One version's figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// The version's label, where it is known.
    pub version: Option<String>,
    /// What it did.
    pub counts: Counts,
}

impl View {
    /// The view of a rollout; `earlier` is what the same Envoys said at the look before.
    pub fn of(rollout: &str, now: &Observed, earlier: Option<&Observed>) -> Self {
        let mut remarks = Vec::new();
        let set = agreed("weight set", now, set_weight, &mut remarks);
        let in_force = agreed("weight in force", now, |one| one.gauges.in_force, &mut remarks);
        let stable = side(Role::Stable, now, earlier, &mut remarks);
        let canary = side(Role::Canary, now, earlier, &mut remarks);
        remarks.extend(unreadable(now));
        Self {
            rollout: rollout.to_owned(),
            set,
            in_force,
            measured: measured(now, earlier, &stable, &canary),
            guard_tripped: any(now.values().map(|one| one.gauges.guard_tripped)),
            lease_expired: any(now.values().map(|one| one.gauges.lease_expired)),
            killed: now.values().any(|one| one.runtime.enabled == Reading::Set(false)),
            owners: now.values().filter_map(|one| one.runtime.owner.value().cloned()).collect(),
            stable,
            canary,
            remarks,
        }
    }
}

/// What one Envoy was told: the runtime, else its configuration.
fn set_weight(one: &Observation) -> Option<Weight> {
    match &one.runtime.weight {
        Reading::Set(value) => Some(value.weight),
        Reading::Absent => one.configured.as_ref().map(|configured| configured.weight),
        Reading::Unreadable(..) => None,
    }
}

/// The weight that all Envoys agree on; where they differ, a remark says who has what.
fn agreed(
    what: &str,
    now: &Observed,
    weight: impl Fn(&Observation) -> Option<Weight>,
    remarks: &mut Vec<String>,
) -> Option<Weight> {
    let mut by_weight: BTreeMap<Option<Weight>, Vec<&str>> = BTreeMap::new();
    for (url, one) in now {
        by_weight.entry(weight(one)).or_default().push(url);
    }
    if let [only] = by_weight.keys().collect::<Vec<_>>().as_slice() {
        return **only;
    }
    let say = |weight: &Option<Weight>| {
        weight.map_or("unknown".to_owned(), |weight| format!("{weight} %"))
    };
    let parts: Vec<String> = by_weight
        .iter()
        .map(|(weight, urls)| format!("{} on {}", say(weight), urls.join(", ")))
        .collect();
    if !parts.is_empty() {
        remarks.push(format!("the Envoys differ in the {what}: {}", parts.join("; ")));
    }
    None
}

/// The figures of a role's current version.
fn side(role: Role, now: &Observed, earlier: Option<&Observed>, remarks: &mut Vec<String>) -> Side {
    let Some(version) = configured_version(role, now, remarks)
        .or_else(|| counted_version(role, now, earlier, remarks))
    else {
        return Side::default();
    };
    let mut counts = Counts::default();
    for one in now.values() {
        if let Some(more) = one.versions.get(&(role, version.clone())) {
            counts.merge(more);
        }
    }
    Side { version: Some(version), counts }
}

/// A role's version as most of the configurations have it.
fn configured_version(role: Role, now: &Observed, remarks: &mut Vec<String>) -> Option<String> {
    let mut envoys: BTreeMap<&str, usize> = BTreeMap::new();
    for configured in now.values().filter_map(|one| one.configured.as_ref()) {
        let version = if role == Role::Stable { &configured.stable } else { &configured.canary };
        *envoys.entry(version).or_default() += 1;
    }
    if envoys.len() > 1 {
        let versions: Vec<&str> = envoys.keys().copied().collect();
        remarks.push(format!("the Envoys differ in the {role} version: {}", versions.join(", ")));
    }
    envoys.into_iter().max_by_key(|(_, count)| *count).map(|(version, _)| version.to_owned())
}

/// The only version of a role that was counted. Of several, the one with most requests since the
/// earlier look, else since the start; a remark says that this is a guess.
fn counted_version(
    role: Role,
    now: &Observed,
    earlier: Option<&Observed>,
    remarks: &mut Vec<String>,
) -> Option<String> {
    let counted: BTreeSet<&str> = now.values().flat_map(|one| one.counted(role)).collect();
    let lately = |version: &str| requests(role, version, now, earlier);
    let ever = |version: &str| requests(role, version, now, None);
    let version = *counted.iter().max_by_key(|version| (lately(version), ever(version)))?;
    if counted.len() > 1 {
        let all: Vec<&str> = counted.iter().copied().collect();
        remarks.push(format!(
            "versions {} were counted as {role} and no configuration says which is current; showing \
             {version}, which has most requests",
            all.join(", ")
        ));
    }
    Some(version.to_owned())
}

/// A version's compared requests, since the earlier look where there is one. An Envoy that was not
/// there then, or has restarted since, counts from its start.
fn requests(role: Role, version: &str, now: &Observed, earlier: Option<&Observed>) -> u64 {
    let key = (role, version.to_owned());
    let total = |one: &Observation| one.versions.get(&key).map_or(0, |counts| counts.requests);
    let since = |(url, one): (&String, &Observation)| {
        let before = earlier.and_then(|earlier| earlier.get(url)).map_or(0, total);
        total(one).checked_sub(before).unwrap_or_else(|| total(one))
    };
    now.iter().map(since).sum()
}

/// The canary's share of what was counted.
fn measured(
    now: &Observed,
    earlier: Option<&Observed>,
    stable: &Side,
    canary: &Side,
) -> Option<f64> {
    let of = |role, side: &Side| {
        side.version.as_ref().map_or(0, |version| requests(role, version, now, earlier))
    };
    let (stable, canary) = (of(Role::Stable, stable), of(Role::Canary, canary));
    let all = stable + canary;
    (all > 0).then(|| canary as f64 / all as f64)
}

/// True where any is, unknown where none is known.
fn any(flags: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    flags.flatten().reduce(|one, other| one || other)
}

/// A remark for each runtime value that the filter can't read either.
fn unreadable(now: &Observed) -> Vec<String> {
    let of = |(url, one): (&String, &Observation)| {
        let problems = one.runtime.unreadable().into_iter();
        let say = |(setting, text, error)| {
            format!("{url}: the runtime's {setting} \"{text}\" is unreadable: {error}")
        };
        problems.map(say).collect::<Vec<_>>()
    };
    now.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests;
