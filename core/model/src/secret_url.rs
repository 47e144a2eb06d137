//! URLs that may carry a secret: a password before the host, or a token in the query.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Stands for what is left out.
const HIDDEN: &str = "***";

/// A URL whose user information and query are secret. Only [`SecretUrl::expose`] gives them away;
/// printed, debugged or serialized, it shows the rest. What was serialized therefore reads back
/// without its secret: it serves to name the URL, not to call it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Any text; whether it is a URL is for the caller to check.
    pub const fn new(url: String) -> Self {
        Self(url)
    }

    /// The whole URL with its secrets, to call it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&redacted(&self.0), f)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&redacted(&self.0))
    }
}

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// A text in which no URL shows its user information or its query, such as a rollout file that is
/// written into a journal. A URL ends at a space, a quote or a closing bracket.
pub fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(ends_url).unwrap_or(after.len());
        let (url, behind) = after.split_at(end);
        // In a list or mapping of YAML or JSON, a comma before a space isn't the URL's.
        let trimmed = url.trim_end_matches(',');
        out.push_str(&without_secrets(trimmed));
        out.push_str(url.get(trimmed.len()..).unwrap_or_default());
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '}' | ']' | '>' | '`')
}

/// A URL behind its `://`.
fn without_secrets(url: &str) -> String {
    let (url, query) = match url.find('?') {
        Some(at) => (url.get(..at).unwrap_or_default(), "?***"),
        None => (url, ""),
    };
    let host_ends = url.find('/').unwrap_or(url.len());
    let (host, path) = url.split_at(host_ends);
    let host = match host.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        None => host.to_owned(),
    };
    format!("{host}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out() {
        for (url, shown) in [
            ("https://ci.example.com/approve", "https://ci.example.com/approve"),
            ("https://ci.example.com/approve?token=s3cret", "https://ci.example.com/approve?***"),
            ("http://user:pw@prometheus:9090", "http://***@prometheus:9090"),
            ("http://user:p@w@host/a@b?x", "http://***@host/a@b?***"),
            ("http://host?token=a/b", "http://host?***"),
            ("no URL at all", "no URL at all"),
        ] {
            let secret = SecretUrl::new(url.to_owned());
            assert_eq!((secret.to_string(), secret.expose()), (shown.to_owned(), url));
            assert_eq!(format!("{secret:?}"), format!("{shown:?}"));
            assert_eq!(serde_json::to_value(&secret).unwrap(), shown);
        }
    }

    #[test]
    fn files_stay_readable() {
        let file = "gates: [{before: promotion, url: https://h/p?t=1,2, timeout: 10s}]\n\
                    notify: [{on: [paused], url: \"https://u:p@h/x?t=1#y\"}] # not https://h?t=2\n";
        let shown = "gates: [{before: promotion, url: https://h/p?***, timeout: 10s}]\n\
                     notify: [{on: [paused], url: \"https://***@h/x?***\"}] # not https://h?***\n";
        assert_eq!(redacted(file), shown);
    }
}
