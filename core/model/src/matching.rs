//! What a request must look like to belong to a rollout: the types of a rollout's `match`.

/// At most so many entries in either list.
pub const MAX_ENTRIES: usize = 64;

/// What a request must look like; an empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// One of these.
    pub authorities: Vec<Authority>,
    /// The raw path, query and all, begins with one of these.
    pub path_prefixes: Vec<String>,
}

/// A host name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Exactly this host.
    Exact(String),
    /// Any host that ends in this suffix (`.example.com`) and has something before it.
    Suffix(String),
}

impl Authority {
    /// Reads `scorer.example.com` or `*.example.com`; `None` for anything with a port, a space or
    /// a star elsewhere.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let word = |byte: u8| byte.is_ascii_graphic() && !b"*/@?#".contains(&byte);
        let host = |host: &str| {
            let fits = (1..=255).contains(&host.len()) && host.bytes().all(word);
            fits && without_port(host.as_bytes()).len() == host.len()
        };
        match text.strip_prefix('*') {
            Some(suffix) => {
                let dotted = suffix.starts_with('.') && suffix.len() > 1;
                (dotted && host(suffix)).then(|| Self::Suffix(suffix.to_owned()))
            }
            None => host(&text).then_some(Self::Exact(text)),
        }
    }

    /// Whether this is the authority of `host`, which must be in lower case and without a port.
    pub fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => host == wanted.as_bytes(),
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
        }
    }
}

/// A host without its port; the colons of an IPv6 literal stay.
pub fn without_port(authority: &[u8]) -> &[u8] {
    let Some(colon) = authority.iter().rposition(|byte| *byte == b':') else {
        return authority;
    };
    let (host, port) = authority.split_at(colon);
    let digits = port.iter().skip(1).all(u8::is_ascii_digit);
    let literal = host.contains(&b':') && !host.ends_with(b"]");
    if digits && !literal { host } else { authority }
}
