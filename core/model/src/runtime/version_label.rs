//! The runtime's version labels: which version a role now runs.

use std::fmt;

use super::ValueError;
use crate::names::is_version;

/// The value of a rollout's `stable_version` or `canary_version` key: `3.1=3.2` where the role that is
/// configured with 3.1 now runs 3.2.
///
/// [`fmt::Display`] writes the runtime's grammar, which [`VersionLabel::parse`] reads back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionLabel {
    /// The version in the configuration that the label replaces. If the configuration names another,
    /// it is newer than the label, and the label is ignored.
    pub configured: String,
    /// The version that the role runs.
    pub version: String,
}

impl VersionLabel {
    /// A label for a role that is configured with version `configured` and runs `version`.
    ///
    /// A version outside the grammar of [`is_version`] makes a value that no filter can read;
    /// [`Update::form_body`](super::Update::form_body) refuses to write it.
    pub fn new(configured: &str, version: &str) -> Self {
        Self { configured: configured.to_owned(), version: version.to_owned() }
    }

    /// Reads `<configured>=<version>`.
    ///
    /// # Errors
    /// [`ValueError::VersionLabel`] if it isn't two versions with `=` between them.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let parts = text.split_once('=');
        let parts = parts.filter(|(old, new)| is_version(old) && is_version(new));
        parts.map(|(old, new)| Self::new(old, new)).ok_or(ValueError::VersionLabel)
    }

    /// The version that this label names for a role with this configured version; `None` if it
    /// belongs to another configuration.
    pub fn for_configured(&self, configured: &str) -> Option<&str> {
        (self.configured == configured).then_some(self.version.as_str())
    }
}

impl fmt::Display for VersionLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.configured, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_back() {
        for (text, configured, version) in
            [("3.1=3.2", "3.1", "3.2"), ("v1-a=v1-a", "v1-a", "v1-a"), ("a=B_c", "a", "B_c")]
        {
            let label = VersionLabel::new(configured, version);
            assert_eq!(VersionLabel::parse(text), Ok(label.clone()));
            assert_eq!(label.to_string(), text);
            assert_eq!(label.for_configured(configured), Some(version));
            assert_eq!(label.for_configured("9"), None);
        }
    }

    #[test]
    fn what_is_no_label() {
        for text in ["", "3.2", "=", "3.1=", "=3.2", "a=b=c", "a = b", "a=other", "rq_total=1"] {
            assert_eq!(VersionLabel::parse(text), Err(ValueError::VersionLabel), "{text}");
        }
    }
}
