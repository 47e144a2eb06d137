//! The names of the runtime keys: `canary.<rollout>.<setting>`.

use std::fmt;

use crate::role::Role;

const PREFIX: &str = "canary.";

/// What one runtime key says about its rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// Percent of eligible requests for the canary; overrides the configuration's weight.
    Weight,
    /// How long the weight holds without renewal.
    Lease,
    /// A new epoch clears a tripped guard.
    Epoch,
    /// A new window forgets which clients were counted.
    Window,
    /// Which version stable now runs.
    StableVersion,
    /// Which version the canary now runs.
    CanaryVersion,
    /// The kill switch, read by Envoy itself.
    Enabled,
    /// Who drives the rollout.
    Owner,
}

impl Setting {
    /// Every setting, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Weight,
        Self::Lease,
        Self::Epoch,
        Self::Window,
        Self::StableVersion,
        Self::CanaryVersion,
        Self::Enabled,
        Self::Owner,
    ];

    /// The key that says which version a role runs.
    pub const fn version_of(role: Role) -> Self {
        match role {
            Role::Stable => Self::StableVersion,
            Role::Canary => Self::CanaryVersion,
        }
    }

    /// The key's last word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Lease => "lease",
            Self::Epoch => "epoch",
            Self::Window => "window",
            Self::StableVersion => "stable_version",
            Self::CanaryVersion => "canary_version",
            Self::Enabled => "enabled",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One key of Envoy's runtime that belongs to a rollout; [`fmt::Display`] writes it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuntimeKey<'a> {
    /// The rollout's name, which has no dots.
    pub rollout: &'a str,
    /// What the key sets.
    pub setting: Setting,
}

impl<'a> RuntimeKey<'a> {
    /// The key of a rollout's setting.
    pub const fn new(rollout: &'a str, setting: Setting) -> Self {
        Self { rollout, setting }
    }

    /// Reads a key; `None` where it is not one of ours: another prefix, an unknown setting, or a
    /// name that no rollout can have.
    pub fn parse(key: &'a str) -> Option<Self> {
        let (rollout, word) = key.strip_prefix(PREFIX)?.split_once('.')?;
        let setting = Setting::ALL.into_iter().find(|setting| setting.as_str() == word)?;
        crate::names::is_rollout_name(rollout).then_some(Self { rollout, setting })
    }
}

impl fmt::Display for RuntimeKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}.{}", self.rollout, self.setting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_back() {
        for setting in Setting::ALL {
            let key = RuntimeKey::new("scorer_2-eu", setting);
            assert_eq!(RuntimeKey::parse(&key.to_string()), Some(key));
        }
        assert_eq!(RuntimeKey::new("scorer", Setting::Weight).to_string(), "canary.scorer.weight");
    }

    #[test]
    fn foreign_keys_are_none() {
        for key in [
            "",
            "canary.",
            "canary.weight",
            "canary..weight",
            "canary.scorer.",
            "canary.scorer.weights",
            "canary.scorer.weight.x",
            "canary.a.b.weight",
            "canary.Scorer.weight",
            "Canary.scorer.weight",
            "xcanary.scorer.weight",
            "canary.filter.weight",
        ] {
            assert_eq!(RuntimeKey::parse(key), None, "{key}");
        }
    }
}
