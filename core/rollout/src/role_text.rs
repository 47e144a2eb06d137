//! A role in JSON: its word.

use canary_model::role::Role;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes the role's word.
pub(crate) fn serialize<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(role.as_str())
}

/// Reads the role's word.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
    let word = String::deserialize(deserializer)?;
    Role::parse(&word).ok_or_else(|| D::Error::custom(format!("{word}: not a role")))
}
