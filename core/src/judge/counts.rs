//! Counts of the two roles, and which of the two a test suspects.

use serde::{Deserialize, Serialize};

use crate::role::Role;

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
    pub const fn of(&self, role: Role) -> &T {
        match role {
            Role::Stable => &self.stable,
            Role::Canary => &self.canary,
        }
    }

    /// The part of one role, to be changed.
    pub const fn of_mut(&mut self, role: Role) -> &mut T {
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

impl<T> Pair<Option<T>> {
    /// Both parts, if neither is missing.
    pub fn both(self) -> Option<Pair<T>> {
        Some(Pair { stable: self.stable?, canary: self.canary? })
    }
}

impl Pair<u64> {
    /// Both roles together.
    pub const fn sum(self) -> u64 {
        self.stable.saturating_add(self.canary)
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
