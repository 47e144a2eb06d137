//! What a request must look like to belong to a rollout: the types of a rollout's `match`.

use crate::pointer::Pointer;

/// The most entries in each list.
pub const MAX_ENTRIES: usize = 64;
/// How much of a request's body is held and read where the configuration doesn't say, in bytes: 64 KiB.
pub const DEFAULT_MAX_BODY: usize = 64 * 1024;

/// What a request must look like. An empty list matches every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The request's authority is one of these.
    pub authorities: Vec<Authority>,
    /// The raw path without its query begins with one of these.
    pub path_prefixes: Vec<String>,
    /// The request's headers match all of these.
    pub headers: Vec<HeaderMatch>,
    /// A value in the JSON request body is one of these.
    pub request_json: Option<JsonMatch>,
}

/// A header that a request must carry; one of its lines suffices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// The header's lower-case name.
    pub name: String,
    /// What one of its lines must be.
    pub value: HeaderCondition,
}

/// What a header's value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderCondition {
    /// Exactly one of these.
    OneOf(Vec<String>),
    /// Anything that begins so.
    Prefix(String),
    /// Whatever it is, even empty.
    Present,
}

/// A value that a JSON request body must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonMatch {
    /// Where in the body; without `*`.
    pub pointer: Pointer,
    /// The value's text must be one of these.
    pub values: Vec<String>,
    /// How much of a body is held and read, in bytes.
    pub max_body: usize,
}

/// A host name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Exactly this host, in lower case and without a port.
    Exact(String),
    /// Any host that ends in this suffix (`.example.com`) and has something before it.
    Suffix(String),
}

impl Authority {
    /// Reads `scorer.example.com` or `*.example.com`, ignoring a port and one trailing dot. `None` for
    /// anything with a space, or a star elsewhere.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let text = lower.get(..host_of(lower.as_bytes()).len())?;
        let word = |byte: u8| byte.is_ascii_graphic() && !b"*/@?#".contains(&byte);
        let host = |host: &str| (1..=255).contains(&host.len()) && host.bytes().all(word);
        match text.strip_prefix('*') {
            Some(suffix) => {
                let dotted = suffix.starts_with('.') && suffix.len() > 1;
                (dotted && host(suffix)).then(|| Self::Suffix(suffix.to_owned()))
            }
            None => host(text).then(|| Self::Exact(text.to_owned())),
        }
    }

    /// Whether a request for `host` matches. `host` must be in lower case and reduced by [`host_of`].
    pub fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => host == wanted.as_bytes(),
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
        }
    }
}

/// The host of an authority: without its port and without one trailing dot, which DNS uses to mark a
/// complete name. The colons of an IPv6 literal stay.
pub fn host_of(authority: &[u8]) -> &[u8] {
    let host = without_port(authority);
    host.strip_suffix(b".").unwrap_or(host)
}

/// A host without its port; the colons of an IPv6 literal stay.
fn without_port(authority: &[u8]) -> &[u8] {
    let Some(colon) = authority.iter().rposition(|byte| *byte == b':') else {
        return authority;
    };
    let (host, port) = authority.split_at(colon);
    let digits = port.iter().skip(1).all(u8::is_ascii_digit);
    let literal = host.contains(&b':') && !host.ends_with(b"]");
    if digits && !literal { host } else { authority }
}
