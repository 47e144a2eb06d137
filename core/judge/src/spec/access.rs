//! What a query to Prometheus is sent with: headers, and files that hold credentials.

use std::fmt;

/// What a query is sent with. It is no part of an analysis' identity: a renewed secret is no other analysis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrometheusAccess {
    /// Headers by name, in the file's order.
    pub headers: Vec<(String, SecretText)>,
    /// Where the credentials are; `None` sends none.
    pub credentials: Option<CredentialFiles>,
}

/// Files that hold credentials, as paths in the rollout file. They are read for every query, so a file that is
/// replaced takes effect with the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialFiles {
    /// A token for HTTP's bearer scheme (`tokenFile`).
    Token(String),
    /// A user's name and password for HTTP's basic scheme.
    Basic {
        /// The file with the name (`usernameFile`).
        username: String,
        /// The file with the password (`passwordFile`).
        password: String,
    },
}

/// A text that may be a secret: its debug form doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Keeps a text that may be a secret.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the request that it is sent with and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}
