//! Which requests a rollout takes: by authority and by path prefix.

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

impl Match {
    /// Whether a request is this rollout's. Both arguments are asked only where they matter.
    pub fn takes<A, P>(&self, authority: A, path: P) -> bool
    where
        A: FnOnce() -> Option<Vec<u8>>,
        P: FnOnce() -> Option<Vec<u8>>,
    {
        self.takes_authority(authority) && self.takes_path(path)
    }

    fn takes_authority(&self, authority: impl FnOnce() -> Option<Vec<u8>>) -> bool {
        if self.authorities.is_empty() {
            return true;
        }
        let Some(mut authority) = authority() else {
            return false;
        };
        authority.make_ascii_lowercase();
        let host = without_port(&authority);
        self.authorities.iter().any(|wanted| wanted.takes(host))
    }

    fn takes_path(&self, path: impl FnOnce() -> Option<Vec<u8>>) -> bool {
        if self.path_prefixes.is_empty() {
            return true;
        }
        let Some(path) = path() else {
            return false;
        };
        let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
        let path = path.get(..end).unwrap_or(&path);
        self.path_prefixes.iter().any(|prefix| path.starts_with(prefix.as_bytes()))
    }
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

    fn takes(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => host == wanted.as_bytes(),
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(matches: &Match, authority: &str, path: &str) -> bool {
        matches.takes(|| Some(authority.into()), || Some(path.into()))
    }

    #[test]
    fn authorities() {
        let matches = Match {
            authorities: ["scorer.example.com", "*.Example.org", "[::1]"]
                .map(|text| Authority::parse(text).unwrap())
                .into(),
            path_prefixes: vec![],
        };
        for host in [
            "scorer.example.com",
            "SCORER.example.com:8080",
            "a.example.org",
            "a.b.example.org:1",
            "[::1]:80",
            "[::1]",
        ] {
            assert!(takes(&matches, host, "/"), "{host}");
        }
        for host in [
            "",
            "example.com",
            "xscorer.example.com",
            "example.org",
            ".example.org",
            "scorer.example.com.evil",
            "::1",
        ] {
            assert!(!takes(&matches, host, "/"), "{host}");
        }
        assert!(!matches.takes(|| None, || Some(b"/".to_vec())));
    }

    #[test]
    fn paths_are_raw_prefixes_without_the_query() {
        let matches = Match { authorities: vec![], path_prefixes: vec!["/v2/models".into()] };
        for path in ["/v2/models", "/v2/models/x", "/v2/modelsx", "/v2/models?x=1"] {
            assert!(takes(&matches, "any", path), "{path}");
        }
        for path in
            ["/", "/V2/models", "/x?/v2/models", "//v2/models", "/v2/%6dodels", "/v2/mod?els"]
        {
            assert!(!takes(&matches, "any", path), "{path}");
        }
    }

    #[test]
    fn no_condition_takes_everything_and_asks_nothing() {
        let nothing = Match::default();
        assert!(nothing.takes(|| panic!("asked for the host"), || panic!("asked for the path")));
    }

    #[test]
    fn what_is_no_authority() {
        for text in ["", "*", "*.", "*x", "a:80", "a b", "a/b", "a*b", "*.a*"] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }
}
