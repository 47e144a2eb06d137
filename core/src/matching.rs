//! Which requests a rollout takes: by authority and by path prefix.

use std::cell::OnceCell;

use crate::assign::Headers;

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

/// What of a request the rollouts look at, asked for when the first one does and only once: each
/// answer costs a call into Envoy.
pub struct Target<'a, H> {
    request: &'a H,
    host: OnceCell<Option<Vec<u8>>>,
    path: OnceCell<Option<Vec<u8>>>,
}

impl<'a, H: Headers> Target<'a, H> {
    /// Of this request.
    pub fn of(request: &'a H) -> Self {
        Self { request, host: OnceCell::new(), path: OnceCell::new() }
    }

    /// The host in lower case, without its port.
    fn host(&self) -> Option<&[u8]> {
        let read = || {
            let mut authority = self.request.get(":authority")?;
            authority.make_ascii_lowercase();
            authority.truncate(without_port(&authority).len());
            Some(authority)
        };
        self.host.get_or_init(read).as_deref()
    }

    /// The raw path without its query.
    fn path(&self) -> Option<&[u8]> {
        let read = || {
            let mut path = self.request.get(":path")?;
            let end = path.iter().position(|byte| matches!(byte, b'?' | b'#'));
            path.truncate(end.unwrap_or(path.len()));
            Some(path)
        };
        self.path.get_or_init(read).as_deref()
    }
}

impl Match {
    /// Whether a request is this rollout's.
    pub fn takes<H: Headers>(&self, target: &Target<'_, H>) -> bool {
        let host =
            || target.host().is_some_and(|host| self.authorities.iter().any(|one| one.takes(host)));
        let path = || {
            let begins = |path: &[u8]| {
                self.path_prefixes.iter().any(|prefix| path.starts_with(prefix.as_bytes()))
            };
            target.path().is_some_and(begins)
        };
        (self.authorities.is_empty() || host()) && (self.path_prefixes.is_empty() || path())
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
    use std::cell::RefCell;

    use super::*;

    /// A request with this authority and path, which notes what it is asked for.
    struct Request<'a>(Option<&'a str>, Option<&'a str>, RefCell<Vec<String>>);

    impl Headers for Request<'_> {
        fn get(&self, name: &str) -> Option<Vec<u8>> {
            self.2.borrow_mut().push(name.to_owned());
            let value = if name == ":path" { self.1 } else { self.0 };
            value.map(Into::into)
        }
    }

    fn takes(matches: &Match, authority: &str, path: &str) -> bool {
        matches.takes(&Target::of(&Request(Some(authority), Some(path), RefCell::default())))
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
        assert!(!matches.takes(&Target::of(&Request(None, Some("/"), RefCell::default()))));
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
    fn a_request_is_asked_for_what_matters_and_only_once() {
        let request = Request(Some("a.test"), Some("/x"), RefCell::default());
        let target = Target::of(&request);
        assert!(Match::default().takes(&target) && request.2.borrow().is_empty());
        let other = Match {
            authorities: vec![Authority::Exact("b.test".to_owned())],
            path_prefixes: vec!["/".to_owned()],
        };
        assert!(!other.takes(&target) && *request.2.borrow() == [":authority"]);
        let own = Match { authorities: vec![Authority::Exact("a.test".to_owned())], ..other };
        assert!(own.takes(&target) && own.takes(&target));
        assert_eq!(*request.2.borrow(), [":authority", ":path"]);
    }

    #[test]
    fn what_is_no_authority() {
        for text in ["", "*", "*.", "*x", "a:80", "a b", "a/b", "a*b", "*.a*"] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }
}
