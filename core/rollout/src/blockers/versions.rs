//! Which versions the Envoys run, and which labels the rollout gives them.

use super::Blocker;
use crate::state::{FleetMember, State};
use crate::versions::in_force;
use canary_judge::counts::Pair;
use canary_model::role::Role;
use canary_model::runtime::VersionLabel;

/// The canary version that the rollout is about; before its start, if the caller didn't know it, what
/// the first Envoy that says anything says. Envoys that say something else hold the rollout.
pub(crate) fn canary_version(state: &State) -> Option<String> {
    let shown = || state.reachable().find_map(|(_, member)| member.versions.canary.clone());
    state.canary_version.clone().or_else(shown)
}

/// The version that a role's configuration names: what the first Envoy that shows it says. If none does
/// and nobody named a version, the role was in force without a label.
pub(crate) fn configured(state: &State, role: Role) -> Option<String> {
    let shown = state.reachable().find_map(|(_, member)| member.configured.get(role).clone());
    let unlabeled = || match role {
        Role::Stable => state.stable_version.clone(),
        Role::Canary => state.canary_version.clone(),
    };
    shown.or_else(|| unlabeled().filter(|_| state.named.get(role).is_none()))
}

/// The labels for the versions that somebody named, as the runtime has them.
pub(crate) fn labels(state: &State) -> Pair<Option<String>> {
    Pair::ROLES.map(|role| label(state, role, state.named.get(role).as_deref()?))
}

/// The label that makes a role run a version; `None` if no Envoy says what is configured.
pub(crate) fn label(state: &State, role: Role, version: &str) -> Option<String> {
    Some(VersionLabel::new(&configured(state, role)?, version).to_string())
}

/// The roles that need a label, and no Envoy says for which configured version.
pub(crate) fn without_configuration(state: &State) -> impl Iterator<Item = Blocker> {
    let labels = labels(state);
    let lacks = |role: &Role| state.named.get(*role).is_some() && labels.get(*role).is_none();
    let lacking: Vec<Role> = Role::ALL.into_iter().filter(lacks).collect();
    lacking.into_iter().map(|role| Blocker::ConfiguredVersion { role })
}

/// The canary version that an Envoy runs once it shows the rollout's labels, as far as it is known.
pub(crate) fn canary_on(state: &State, member: &FleetMember) -> Option<String> {
    let Some(named) = &state.named.canary else { return member.versions.canary.clone() };
    // Whatever an Envoy shows that doesn't say its configuration is about to be replaced.
    let configured = member.configured.canary.as_deref()?;
    let label = state.labels.canary.clone().or_else(|| labels(state).canary);
    // The first Envoy that is looked at is the one that labels are made for.
    label.map_or_else(|| Some(named.clone()), |label| Some(in_force(configured, Some(&label))))
}
