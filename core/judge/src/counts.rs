//! Counts of the two roles, and which of the two a test suspects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use canary_model::histogram::Histogram;
use canary_model::role::Role;

/// One thing for each role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair<T> {
    /// The version that everybody knows.
    pub stable: T,
    /// The version under trial.
    pub canary: T,
}

impl<T> Pair<T> {
    /// The part of one role.
    pub const fn get(&self, role: Role) -> &T {
        match role {
            Role::Stable => &self.stable,
            Role::Canary => &self.canary,
        }
    }

    /// The part of one role, to be changed.
    pub const fn get_mut(&mut self, role: Role) -> &mut T {
        match role {
            Role::Stable => &mut self.stable,
            Role::Canary => &mut self.canary,
        }
    }

    /// The same question of both roles.
    pub fn map<U>(self, mut ask: impl FnMut(T) -> U) -> Pair<U> {
        Pair { stable: ask(self.stable), canary: ask(self.canary) }
    }
}

impl Pair<Role> {
    /// Each role in its own place, to be asked a question with [`Pair::map`].
    pub const ROLES: Self = Self { stable: Role::Stable, canary: Role::Canary };
}

impl<T> Pair<Option<T>> {
    /// Both parts, if neither is missing.
    pub fn both(self) -> Option<Pair<T>> {
        Some(Pair { stable: self.stable?, canary: self.canary? })
    }
}

impl Pair<u64> {
    /// The sum over both roles.
    pub const fn sum(self) -> u64 {
        self.stable.saturating_add(self.canary)
    }
}

/// The same two parts as a one-sided test sees them: the side that might have too many events, and the
/// side that it is compared with. For failures the treatment is the canary; for conversions, of which
/// fewer is worse, the roles are swapped and it is stable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sides<T> {
    pub(crate) treatment: T,
    pub(crate) control: T,
}

impl<T> Pair<T> {
    /// The canary is the treatment: of too many failures.
    pub(crate) fn sides(self) -> Sides<T> {
        Sides { treatment: self.canary, control: self.stable }
    }

    /// Stable is the treatment: of converting more often than the canary.
    pub(crate) fn swapped(self) -> Sides<T> {
        Sides { treatment: self.stable, control: self.canary }
    }
}

/// How often something could have happened, and how often it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trials {
    /// Requests, clients or observations.
    pub trials: u64,
    /// Those among them that failed, converted, or lay in the class or above the edge in question.
    pub events: u64,
}

impl Trials {
    /// The share of events, `None` without trials.
    pub fn share(self) -> Option<f64> {
        (self.trials > 0).then(|| self.events as f64 / self.trials as f64)
    }
}

/// What can be summed over ticks or members of a fleet. Sums stop at the type's largest value.
pub(crate) trait Merge {
    /// Adds `more` to what is held.
    fn merge(&mut self, more: &Self);
}

impl Merge for u64 {
    fn merge(&mut self, more: &Self) {
        *self = self.saturating_add(*more);
    }
}

impl Merge for Trials {
    fn merge(&mut self, more: &Self) {
        self.trials.merge(&more.trials);
        self.events.merge(&more.events);
    }
}

impl<T: Merge> Merge for Pair<T> {
    fn merge(&mut self, more: &Self) {
        self.stable.merge(&more.stable);
        self.canary.merge(&more.canary);
    }
}

impl<T: Merge> Merge for Sides<T> {
    fn merge(&mut self, more: &Self) {
        self.treatment.merge(&more.treatment);
        self.control.merge(&more.control);
    }
}

impl Merge for Histogram {
    fn merge(&mut self, more: &Self) {
        if self.is_empty() {
            more.clone_into(self);
            return;
        }
        Self::merge(self, more);
    }
}

impl<T: Merge + Clone> Merge for BTreeMap<String, T> {
    fn merge(&mut self, more: &Self) {
        for (name, part) in more {
            match self.get_mut(name) {
                Some(held) => held.merge(part),
                None => {
                    self.insert(name.clone(), part.clone());
                }
            }
        }
    }
}
