//! The writer of `POST /runtime_modify`: several keys in one body are one atomic update.
//!
//! The keys go as a form body, which Envoy takes up to 200,000 characters of (a URL only 61,000).
//! Envoy decodes `%XX` there but leaves `+` alone, so this is percent-encoding, not the encoding of
//! browsers' forms.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Lease, MAX_VALUE, RuntimeKey, Setting, Snapshot, VersionLabel, WeightValue, check_owner,
};
use crate::role::Role;

/// The longest body that Envoy takes, in characters.
pub const BODY_LIMIT: usize = 200_000;

/// What is escaped: all but the unreserved characters of RFC 3986, section 2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Changes to the runtime that Envoy makes all at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update(BTreeMap<String, String>);

/// Why an update can't be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateError {
    /// The body would be longer than [`BODY_LIMIT`]; holds its length in characters.
    TooLong(usize),
    /// A key's value is outside the grammar of its setting, so no reader would take it.
    Value(String),
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(length) => {
                write!(f, "an update of {length} characters; Envoy takes {BODY_LIMIT}")
            }
            Self::Value(key) => write!(f, "{key}: a value that Envoy's runtime can't carry"),
        }
    }
}

impl std::error::Error for UpdateError {}

impl Update {
    /// An update that changes nothing yet.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Sets the weight, for the canary version that the value names. Write a weight without a version
    /// only if no version is known: it would also hold for the next canary.
    #[must_use]
    pub fn weight(self, rollout: &str, value: &WeightValue) -> Self {
        self.put(rollout, Setting::Weight, value.to_string())
    }

    /// Sets the lease under which the weight stands.
    #[must_use]
    pub fn lease(self, rollout: &str, lease: &Lease) -> Self {
        self.put(rollout, Setting::Lease, lease.to_string())
    }

    /// Sets the guard's epoch.
    #[must_use]
    pub fn epoch(self, rollout: &str, epoch: u64) -> Self {
        self.put(rollout, Setting::Epoch, epoch.to_string())
    }

    /// Sets the window of first observations.
    #[must_use]
    pub fn window(self, rollout: &str, window: u64) -> Self {
        self.put(rollout, Setting::Window, window.to_string())
    }

    /// Says which version a role now runs. A new label belongs into one update with a new window.
    #[must_use]
    pub fn version(self, rollout: &str, role: Role, label: &VersionLabel) -> Self {
        self.put(rollout, Setting::version_of(role), label.to_string())
    }

    /// Sets the kill switch: true lets requests pass to the canary.
    #[must_use]
    pub fn enabled(self, rollout: &str, enabled: bool) -> Self {
        self.put(rollout, Setting::Enabled, if enabled { "100" } else { "0" }.to_owned())
    }

    /// Names who drives the rollout.
    #[must_use]
    pub fn owner(self, rollout: &str, owner: &str) -> Self {
        self.put(rollout, Setting::Owner, owner.to_owned())
    }

    /// Removes the override of a setting; the layers below show through.
    #[must_use]
    pub fn remove(self, rollout: &str, setting: Setting) -> Self {
        self.put(rollout, setting, String::new())
    }

    /// The body of the request, `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// [`UpdateError`] where a value or the whole is too long, or Envoy would refuse a value.
    pub fn form_body(&self) -> Result<String, UpdateError> {
        let bad = |key: &str, value: &str| {
            !value.is_empty()
                && match RuntimeKey::parse(key).map(|key| key.setting) {
                    None => true,
                    Some(Setting::Owner) => check_owner(value).is_err(),
                    Some(Setting::StableVersion | Setting::CanaryVersion) => {
                        VersionLabel::parse(value).is_err()
                    }
                    Some(Setting::Weight) => WeightValue::parse(value).is_err(),
                    Some(_) => value.len() > MAX_VALUE,
                }
        };
        if let Some((key, _)) = self.0.iter().find(|(key, value)| bad(key, value)) {
            return Err(UpdateError::Value(key.clone()));
        }
        let escape = |text| utf8_percent_encode(text, ESCAPED);
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(key, value)| format!("{}={}", escape(key), escape(value)))
            .collect();
        let body = pairs.join("&");
        if body.len() > BODY_LIMIT { Err(UpdateError::TooLong(body.len())) } else { Ok(body) }
    }

    /// The keys whose values the runtime does not show as written, with what it shows: another
    /// layer lies above, or the update has not arrived. Removals promise nothing: what lies below
    /// shows through.
    pub fn unconfirmed(&self, snapshot: &Snapshot) -> Vec<Unconfirmed> {
        let shown = |key: &str| {
            RuntimeKey::parse(key).and_then(|key| snapshot.get(key.rollout, key.setting))
        };
        self.0
            .iter()
            .filter(|(key, value)| !value.is_empty() && shown(key) != Some(value))
            .map(|(key, value)| Unconfirmed {
                key: key.clone(),
                written: value.clone(),
                shown: shown(key).map(str::to_owned),
            })
            .collect()
    }

    fn put(mut self, rollout: &str, setting: Setting, value: String) -> Self {
        self.0.insert(RuntimeKey::new(rollout, setting).to_string(), value);
        self
    }
}

/// A key that Envoy's runtime does not show as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// The runtime key whose value differs.
    pub key: String,
    /// The value that was written; `None` if the key was removed.
    pub written: String,
    /// What the runtime shows; `None` for nothing.
    pub shown: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weight::Weight;

    fn weight(text: &str) -> WeightValue {
        WeightValue::parse(text).unwrap()
    }

    #[test]
    fn writes_one_body() {
        let update = Update::new()
            .weight("scorer", &weight("0.25@3.2"))
            .enabled("scorer", true)
            .lease("scorer", &Lease::new(30, "a-B_9").unwrap())
            .owner("scorer", "ci@host:7/x")
            .version("scorer", Role::Canary, &VersionLabel::new("3.1", "3.2"))
            .remove("scorer", Setting::Epoch);
        assert_eq!(
            update.form_body().unwrap(),
            "canary.scorer.canary_version=3.1%3D3.2&canary.scorer.enabled=100&canary.scorer.epoch=&canary.scorer.lease=30%3Aa-B_9\
             &canary.scorer.owner=ci%40host%3A7%2Fx&canary.scorer.weight=0.25%403.2"
        );
    }

    #[test]
    fn refuses_what_envoy_would_not_take() {
        let owner = Update::new().owner("scorer", "*anchor");
        assert_eq!(owner.form_body(), Err(UpdateError::Value("canary.scorer.owner".to_owned())));
        let version = Update::new().weight("scorer", &WeightValue::new(Weight::ZERO, Some("a b")));
        assert_eq!(version.form_body(), Err(UpdateError::Value("canary.scorer.weight".to_owned())));
        let label = Update::new().version("scorer", Role::Stable, &VersionLabel::new("1", "other"));
        let key = "canary.scorer.stable_version".to_owned();
        assert_eq!(label.form_body(), Err(UpdateError::Value(key)));
        let name = Update::new().weight("Scorer", &weight("5"));
        assert_eq!(name.form_body(), Err(UpdateError::Value("canary.Scorer.weight".to_owned())));
        let mut many = Update::new();
        for number in 0..8_000 {
            many = many.weight(&format!("rollout-{number}"), &weight("100"));
        }
        assert!(matches!(many.form_body(), Err(UpdateError::TooLong(_))));
    }

    #[test]
    fn names_what_is_not_confirmed() {
        let update = Update::new()
            .weight("a", &weight("0@3.2"))
            .enabled("a", false)
            .remove("a", Setting::Lease);
        let answer = br#"{"entries":{"canary.a.weight":{"final_value":"0@3.2"},
            "canary.a.enabled":{"final_value":"100"},"canary.a.lease":{"final_value":"9:x"}}}"#;
        let snapshot = Snapshot::read(answer, |_| true).unwrap();
        let missing = update.unconfirmed(&snapshot);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].key, "canary.a.enabled");
        assert_eq!(missing[0].shown.as_deref(), Some("100"));
        assert_eq!(update.unconfirmed(&Snapshot::default()).len(), 2);
    }
}
