//! Does the canary convert less often than tolerated? And, as the plain case: does it fail more?
//!
//! **Source.** Both are the tests of failures (their files say how they work): a conversion is an event of
//! which *fewer* is worse, so the roles are swapped, and stable's conversions are held against the
//! canary's. H0: `p_stable ≤ p_canary + margin`. The rule that leaves out lines without a stable request
//! stays as it is.
//!
//! With affinity the conversions read are those of first observations, the clients at risk those that
//! were seen and have not converted.
//!
//! **What voids it.** As for failures; and a version that merely converts *later*: the non-inferiority test with
//! a margin counts clients from their first request on, so conversions must come with first
//! observations, not in some later visit.

use serde::{Deserialize, Serialize};

use super::counts::{Pair, Sides, Trials};
use super::failure_abort_sticky::ClientTick;
use super::non_inferiority::NonInferiorityTick;
use super::observation::{ClientCounts, Observation, RoleCounts, SignalCounts};
use canary_model::role::Role;

/// The class of a conversion signal that counts.
const CONVERTED: &str = "converted";

/// What is counted, and so which role is the treatment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Events {
    /// Failures; the canary is the treatment.
    Failures,
    /// Conversions of a signal; stable is.
    Conversions(String),
}

impl Events {
    pub(crate) fn sides<T>(&self, roles: Pair<T>) -> Sides<T> {
        match self {
            Self::Failures => roles.sides(),
            Self::Conversions(_) => roles.swapped(),
        }
    }

    pub(crate) fn roles<T>(&self, sides: Sides<T>) -> Pair<T> {
        match self {
            Self::Failures => Pair { stable: sides.control, canary: sides.treatment },
            Self::Conversions(_) => Pair { stable: sides.treatment, canary: sides.control },
        }
    }

    /// Suspect : control, as the weight has it.
    pub(crate) fn nominal_split(&self, weight: f64) -> f64 {
        let sides = self.sides(Pair { stable: 1.0 - weight, canary: weight });
        sides.treatment / sides.control
    }

    /// Requests and events; a role whose total or events are not known has none.
    pub(crate) fn of_requests(&self, line: &Observation) -> Pair<Trials> {
        let counts = |role: Role| {
            let part = line.roles.get(role);
            let events = match self {
                Self::Failures => part.failure,
                Self::Conversions(signal) => converted(line.signals.get(signal), role),
            };
            let known = part.total.zip(events);
            known.map_or_else(Trials::default, |(trials, events)| Trials { trials, events })
        };
        Pair { stable: counts(Role::Stable), canary: counts(Role::Canary) }
    }

    /// Clients first seen and at their first event; `None` where a role's are not known.
    pub(crate) fn of_clients(&self, line: &Observation, requests: Pair<u64>) -> Option<ClientTick> {
        let known = self.client_counts(line, |clients| clients.failure)?;
        Some(ClientTick {
            requests: self.sides(requests),
            seen: self.sides(known.map(|trials| trials.trials)),
            events: self.sides(known.map(|trials| trials.events)),
        })
    }

    /// Clients first seen, and those whose first request was an event; for the non-inferiority test.
    pub(crate) fn of_first_requests(
        &self,
        line: &Observation,
        requests: Pair<u64>,
    ) -> Option<NonInferiorityTick> {
        let known = self.client_counts(line, |clients| clients.first_failure)?;
        let left_out = requests.stable == 0;
        Some(NonInferiorityTick { counts: self.sides(known), size: requests.sum(), left_out })
    }

    fn client_counts(
        &self,
        line: &Observation,
        failures: fn(&ClientCounts) -> Option<u64>,
    ) -> Option<Pair<Trials>> {
        let counts = |role: Role| {
            let RoleCounts { clients, .. } = line.roles.get(role);
            let clients = clients.as_ref()?;
            let events = match self {
                Self::Failures => failures(clients),
                Self::Conversions(signal) => converted(line.signals_first.get(signal), role),
            };
            Some(Trials { trials: clients.total?, events: events? })
        };
        Pair { stable: counts(Role::Stable), canary: counts(Role::Canary) }.both()
    }
}

/// A role's conversions; where its counts are there but name none, it has none.
fn converted(signal: Option<&SignalCounts>, role: Role) -> Option<u64> {
    let counts = signal?.get(role).as_ref()?;
    Some(counts.get(CONVERTED).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests;
