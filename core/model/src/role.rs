//! The two roles of a rollout.

use std::fmt;

/// Which side of a rollout: the version that everybody knows, or the one under trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The version that serves by default and whenever something is wrong.
    Stable,
    /// The version under trial.
    Canary,
}

impl Role {
    /// Both roles, stable first.
    pub const ALL: [Self; 2] = [Self::Stable, Self::Canary];

    /// The role's word, as statistics and output have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
        }
    }

    /// Reads the role's word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
