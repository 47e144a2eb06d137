//! Looking at the Envoys: who is there, who confirmed, whose guard tripped, who else writes.

use std::collections::BTreeMap;

use super::StepContext;
use crate::event::RolloutEvent;
use crate::inputs::{EnvoyInput, EnvoyReading};
use crate::state::{FleetMember, Phase, WeightTarget};
use crate::termination::TerminationReason;
use canary_model::runtime::Lease;

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
        self.state.members.insert(name.to_owned(), member);
    }

    /// Two controllers never fight: who sees another's name stops writing.
    fn check_owner(&mut self, name: &str, member: &FleetMember, shown: &EnvoyReading) {
        let state = &self.state;
        let settled = match state.phase {
            Phase::Pending => !state.takeover,
            Phase::Progressing | Phase::Paused => !state.takeover || state.took(member),
            Phase::Promoting => !state.releasing && (!state.takeover || state.took(member)),
            Phase::Healthy | Phase::Aborting | Phase::Degraded => false,
        };
        let Some(owner) = shown.owner.as_ref().filter(|owner| **owner != state.owner) else {
            return;
        };
        if settled {
            let (envoy, owner) = (name.to_owned(), owner.clone());
            self.give_up(TerminationReason::OtherOwner { envoy, owner });
        }
    }

    /// Someone who throws the kill switch wants a rollback, not a controller that sets it back.
    fn check_switch(&mut self, name: &str, member: &FleetMember, shown: &EnvoyReading) {
        let open = self.state.target.as_ref().is_some_and(|target| target.enabled);
        // Our epoch and owner were written together with an open switch: who shut it came later.
        let written = shown.owner.as_ref() == Some(&self.state.owner)
            && shown.epoch == Some(self.state.epoch);
        if open && (written || self.state.took(member)) && shown.enabled == Some(false) {
            self.request_rollback(TerminationReason::KillSwitch { envoy: name.to_owned() });
        }
    }

    fn check_guard(&mut self, name: &str, shown: &EnvoyReading) {
        let this_epoch = shown.epoch_in_force == Some(self.state.epoch) && self.under_way();
        let tripped = shown.guard_tripped == Some(true) && this_epoch;
        if tripped && self.state.tripped.insert(name.to_owned()) {
            self.events.push(RolloutEvent::GuardTripped { envoy: name.to_owned() });
        }
    }

    fn count_trips(&mut self) {
        let reachable = self.state.reachable().count();
        let quorum = usize::try_from(self.spec.guard_quorum).unwrap_or(usize::MAX);
        let tripped = &self.state.tripped;
        if !tripped.is_empty() && tripped.len() >= quorum.min(reachable) && self.under_way() {
            let envoys = tripped.iter().cloned().collect();
            self.request_rollback(TerminationReason::Guard { envoys });
        }
    }

    fn compare(&self, member: &mut FleetMember, shown: &EnvoyReading) {
        let Some(target) = &self.state.target else {
            (member.mismatch, member.stale) = (None, false);
            return;
        };
        let runtime = runtime_amiss(target, shown, self.state.releasing);
        let lapsed = target.lease_seconds.is_some() && shown.lease_expired == Some(true);
        member.stale = runtime.is_some() || lapsed;
        member.mismatch = runtime.or_else(|| filter_amiss(target, shown));
        if member.mismatch.is_none() {
            member.took = Some(target.epoch);
            member.free &= target.lease_seconds.is_none();
            member.stable |= !target.enabled;
        }
    }
}

/// What the runtime does not show as written.
fn runtime_amiss(target: &WeightTarget, shown: &EnvoyReading, releasing: bool) -> Option<String> {
    fn differs<T: PartialEq + std::fmt::Display>(
        what: &str,
        shown: Option<T>,
        wanted: &T,
    ) -> Option<String> {
        let is = match shown {
            Some(shown) if shown == *wanted => return None,
            Some(shown) => shown.to_string(),
            None => "nothing".to_owned(),
        };
        Some(format!("its runtime shows {what} {is} instead of {wanted}"))
    }
    let switch = |enabled: bool| if enabled { 100 } else { 0 };
    let owner = || match (&target.owner, &shown.owner) {
        (Some(wanted), shown) => differs("owner", shown.as_ref(), &wanted),
        // Whoever came after us may be there already.
        (None, Some(owner)) if !releasing => Some(format!("its runtime still shows owner {owner}")),
        (None, _) => None,
    };
    differs("weight", shown.weight, &target.weight)
        .or_else(|| differs("enabled", shown.enabled.map(switch), &switch(target.enabled)))
        .or_else(|| differs("epoch", shown.epoch, &target.epoch))
        .or_else(|| differs("window", shown.window, &target.window))
        .or_else(owner)
        .or_else(|| lease_amiss(target, shown.lease.as_deref()))
}

fn lease_amiss(target: &WeightTarget, shown: Option<&str>) -> Option<String> {
    let shown = shown.and_then(|text| Lease::parse(text).ok());
    let ours = |lease: &Lease| lease.nonce().starts_with(&format!("{}-", target.epoch));
    match (target.lease_seconds, shown) {
        (Some(seconds), Some(lease)) if lease.seconds() == seconds && ours(&lease) => None,
        (Some(_), _) => Some("its runtime does not show our lease".to_owned()),
        (None, Some(lease)) if ours(&lease) => Some("its runtime still shows our lease".to_owned()),
        (None, _) => None,
    }
}

/// What the filter has not taken up. With the kill switch thrown the filter isn't needed.
fn filter_amiss(target: &WeightTarget, shown: &EnvoyReading) -> Option<String> {
    if !target.enabled || shown.in_force == Some(target.weight) {
        return None;
    }
    // A tripped guard keeps the weight at 0, whatever is set; the quorum decides what that means.
    let tripped = shown.guard_tripped == Some(true) && shown.epoch_in_force == Some(target.epoch);
    if tripped {
        return None;
    }
    Some(match shown.in_force {
        None => "its filter reports no weight".to_owned(),
        Some(_) if shown.lease_expired == Some(true) => "its lease ran out".to_owned(),
        Some(weight) => format!("weight {weight} is still in force, {} is set", target.weight),
    })
}
