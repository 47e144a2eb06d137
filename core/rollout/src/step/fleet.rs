//! Looking at the Envoys: who is there, who confirmed, whose guard tripped, who else writes.

use std::collections::BTreeMap;

use super::StepContext;
use crate::blockers::versions;
use crate::event::RolloutEvent;
use crate::inputs::{EnvoyInput, EnvoyReading};
use crate::mismatch;
use crate::state::{FleetMember, Phase};
use crate::termination::TerminationReason;
use canary_judge::counts::Pair;
use canary_model::runtime::VersionLabel;

/// A larger epoch is none that counts on; nothing has to lie above it.
const LARGEST_EPOCH: u64 = 1 << 53;

impl StepContext<'_> {
    pub(super) fn observe_fleet(&mut self, envoys: &BTreeMap<String, EnvoyInput>) {
        if envoys.is_empty() {
            return;
        }
        self.state.members.retain(|name, _| envoys.contains_key(name));
        for (name, envoy) in envoys {
            match envoy {
                EnvoyInput::Unreachable(why) => self.lost(name, why),
                EnvoyInput::Reached(shown) => self.shows(name, shown),
            }
        }
        self.state.note_outcome_age();
        self.count_trips();
    }

    fn lost(&mut self, name: &str, why: &str) {
        let member = self.state.members.entry(name.to_owned()).or_default();
        if member.lost.is_none() {
            let (envoy, why) = (name.to_owned(), why.to_owned());
            self.events.push(RolloutEvent::EnvoyLost { envoy, why });
        }
        member.lost = Some(why.to_owned());
    }

    fn shows(&mut self, name: &str, shown: &EnvoyReading) {
        let mut member = self.state.members.get(name).cloned().unwrap_or_default();
        if member.lost.take().is_some() {
            self.events.push(RolloutEvent::EnvoyBack { envoy: name.to_owned() });
        }
        let epochs = [shown.epoch, shown.epoch_in_force].into_iter().flatten();
        let highest = epochs.filter(|epoch| *epoch <= LARGEST_EPOCH).max().unwrap_or_default();
        self.state.shown_epoch = self.state.shown_epoch.max(highest);
        self.check_owner(name, &member, shown);
        self.check_switch(name, &member, shown);
        self.check_guard(name, shown);
        self.compare(&mut member, shown);
        self.note_configuration(name, &member, shown);
        let before = versions::canary_on(&self.state, &member);
        member.versions.clone_from(&shown.versions);
        member.configured = configured(shown);
        self.note_version(name, before, &member);
        member.signals.clone_from(&shown.signals);
        member.value_signals.clone_from(&shown.value_signals);
        member.timings.clone_from(&shown.timings);
        member.outcome_age = shown.outcome_age;
        member.outdated = shown.in_force.is_some() && shown.outcome_age.is_none();
        member.endpoints = shown.endpoints;
        member.refused.clone_from(&shown.refused);
        self.state.members.insert(name.to_owned(), member);
    }

    /// Tells when an Envoy begins or stops refusing a configuration.
    fn note_configuration(&mut self, name: &str, member: &FleetMember, shown: &EnvoyReading) {
        let envoy = name.to_owned();
        match (&member.refused, &shown.refused) {
            (None, Some(why)) => {
                let why = why.clone();
                self.events.push(RolloutEvent::ConfigurationRefused { envoy, why });
            }
            (Some(_), None) => self.events.push(RolloutEvent::ConfigurationAccepted { envoy }),
            _ => {}
        }
    }

    /// Tells when an Envoy's canary becomes another version than the rollout's.
    fn note_version(&mut self, name: &str, before: Option<String>, member: &FleetMember) {
        let now = versions::canary_on(&self.state, member);
        if let (Some(version), Some(expected)) = (&now, &self.state.canary_version)
            && version != expected
            && before != now
        {
            let (envoy, version) = (name.to_owned(), version.clone());
            self.events.push(RolloutEvent::OtherVersion { envoy, version });
        }
    }

    /// Two controllers never fight: who sees another's name stops writing.
    fn check_owner(&mut self, name: &str, member: &FleetMember, shown: &EnvoyReading) {
        let state = &self.state;
        let settled = match state.phase {
            Phase::Pending | Phase::Deploying => !state.takeover,
            Phase::Progressing | Phase::Paused => !state.takeover || state.took(member),
            Phase::Promoting | Phase::Finalizing => {
                !state.releasing && (!state.takeover || state.took(member))
            }
            Phase::Healthy | Phase::Measured | Phase::Aborting | Phase::Degraded => false,
        };
        let Some(owner) = shown.owner.as_ref().filter(|owner| **owner != state.owner) else {
            return;
        };
        // The name of a controller that has ended, on an Envoy that this one hasn't written yet.
        let leftover = state.predecessor.as_ref() == Some(owner) && !state.took(member);
        if settled && !leftover {
            let (envoy, owner) = (name.to_owned(), owner.clone());
            self.give_up(TerminationReason::OtherOwner { envoy, owner });
        }
    }

    /// Someone who throws the kill switch wants a rollback, not a controller that sets it back. In Finalizing
    /// there is nothing to roll back to, and it is set back.
    fn check_switch(&mut self, name: &str, member: &FleetMember, shown: &EnvoyReading) {
        if self.state.is_finalizing() {
            return;
        }
        let open = self.state.target.as_ref().is_some_and(|target| target.enabled);
        // Our epoch and owner were written together with an open switch: who shut it came later.
        let written = shown.owner.as_ref() == Some(&self.state.owner)
            && shown.epoch == Some(self.state.epoch);
        if open && (written || self.state.took(member)) && shown.enabled == Some(false) {
            self.request_rollback(TerminationReason::KillSwitch { envoy: name.to_owned() });
        }
    }

    fn check_guard(&mut self, name: &str, shown: &EnvoyReading) {
        let this_epoch = shown.epoch_in_force == Some(self.state.epoch) && self.is_guarded();
        let tripped = shown.guard_tripped == Some(true) && this_epoch;
        if tripped && self.state.tripped.insert(name.to_owned()) {
            self.events.push(RolloutEvent::GuardTripped { envoy: name.to_owned() });
        }
    }

    fn count_trips(&mut self) {
        let reachable = self.state.reachable().count();
        let quorum = usize::try_from(self.spec.guard_quorum).unwrap_or(usize::MAX);
        let tripped = &self.state.tripped;
        if !tripped.is_empty() && tripped.len() >= quorum.min(reachable) && self.is_guarded() {
            let envoys = tripped.iter().cloned().collect();
            self.request_rollback(TerminationReason::Guard { envoys, counts: None });
        }
    }

    fn compare(&self, member: &mut FleetMember, shown: &EnvoyReading) {
        let Some(target) = &self.state.target else {
            (member.mismatch, member.stale) = (None, false);
            return;
        };
        let runtime = mismatch::in_runtime(target, shown, self.state.releasing);
        let lapsed = target.lease_seconds.is_some() && shown.lease_expired == Some(true);
        member.stale = runtime.is_some() || lapsed;
        member.mismatch = runtime.or_else(|| mismatch::in_filter(target, shown));
        if member.mismatch.is_none() {
            member.took = Some(target.epoch);
            member.free &= target.lease_seconds.is_none();
            member.stable |= !target.enabled;
        }
    }
}

/// The configured versions of an Envoy; where its configuration isn't shown, its labels say which they are for.
fn configured(shown: &EnvoyReading) -> Pair<Option<String>> {
    Pair::ROLES.map(|role| {
        let label = || VersionLabel::parse(shown.labels.get(role).as_deref()?).ok();
        shown.configured.get(role).clone().or_else(|| Some(label()?.configured))
    })
}
