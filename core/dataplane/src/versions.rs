//! Under which versions the requests of a rollout are counted.
//!
//! Envoy never frees a metric's name, so the number of versions under which a role is counted is
//! bounded: the first ones since Envoy's start have statistics of their own, and all further ones
//! share those of the version `other`.

use serde::{Deserialize, Serialize};

use canary_model::names::OTHER_VERSION;
use canary_model::role::Role;

use crate::host::Host;
use crate::shared::SharedRecord;

/// At most so many versions of a role have statistics of their own.
pub const MAX_VERSIONS: usize = 32;

/// The versions of one rollout that have statistics of their own: a shared record, so that all workers
/// agree on them. It survives a pushed configuration, and any worker adds to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedVersions {
    stable: Vec<String>,
    canary: Vec<String>,
}

/// Where the statistics of a rollout's two versions are in its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionPlaces {
    /// The place of the stable version's.
    pub stable: usize,
    /// The place of the canary version's.
    pub canary: usize,
}

impl CountedVersions {
    /// The shared record of a rollout.
    pub fn record(rollout: &str) -> SharedRecord<Self> {
        SharedRecord::new("versions", rollout)
    }

    /// Whether a role's version has statistics of its own, from now on or already.
    pub fn add(&mut self, role: Role, version: &str) -> bool {
        let known = match role {
            Role::Stable => &mut self.stable,
            Role::Canary => &mut self.canary,
        };
        if known.iter().any(|known| known == version) {
            return true;
        }
        if known.len() >= MAX_VERSIONS {
            return false;
        }
        known.push(version.to_owned());
        true
    }

    /// The version under which a role's version is counted: its own name, or `other` if there were too
    /// many of them or the record can't be written.
    pub(crate) fn counted<'a>(
        rollout: &str,
        role: Role,
        version: &'a str,
        host: &impl Host,
    ) -> &'a str {
        let added = Self::record(rollout).update(host, |versions| versions.add(role, version));
        if added.is_some_and(|(_, own)| own) { version } else { OTHER_VERSION }
    }
}

impl VersionPlaces {
    /// The place of a role's version.
    pub fn place(self, role: Role) -> usize {
        match role {
            Role::Stable => self.stable,
            Role::Canary => self.canary,
        }
    }
}
