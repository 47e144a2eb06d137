//! Which requests a rollout takes: by authority and by path prefix.

use std::cell::OnceCell;

use canary_model::matching::{Match, host_of};

use crate::assign::Headers;

/// What of a request the rollouts look at, asked for when the first one does and only once: each
/// answer costs a call into Envoy.
pub struct RequestTarget<'a, H> {
    request: &'a H,
    host: OnceCell<Option<Vec<u8>>>,
    path: OnceCell<Option<Vec<u8>>>,
}

impl<'a, H: Headers> RequestTarget<'a, H> {
    /// The host and path of this request, read when they are first needed.
    pub fn new(request: &'a H) -> Self {
        Self { request, host: OnceCell::new(), path: OnceCell::new() }
    }

    /// The host in lower case, without its port and a trailing dot.
    fn host(&self) -> Option<&[u8]> {
        let read = || {
            let mut authority = self.request.get(":authority")?;
            authority.make_ascii_lowercase();
            authority.truncate(host_of(&authority).len());
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

/// Whether a request belongs to the rollout with this `match`.
pub fn matches<H: Headers>(wanted: &Match, target: &RequestTarget<'_, H>) -> bool {
    let host =
        || target.host().is_some_and(|host| wanted.authorities.iter().any(|one| one.matches(host)));
    let path = || {
        let begins = |path: &[u8]| {
            wanted.path_prefixes.iter().any(|prefix| path.starts_with(prefix.as_bytes()))
        };
        target.path().is_some_and(begins)
    };
    (wanted.authorities.is_empty() || host()) && (wanted.path_prefixes.is_empty() || path())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use canary_model::matching::Authority;

    use super::*;

    /// A request with this authority and path, which notes what it is asked for.
    struct Request<'a>(Option<&'a str>, Option<&'a str>, RefCell<Vec<String>>);

    impl Headers for Request<'_> {
        fn get(&self, name: &str) -> Option<Vec<u8>> {
            self.2.borrow_mut().push(name.to_owned());
            let value = if name == ":path" { self.1 } else { self.0 };
            value.map(Into::into)
        }

        fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
            self.get(name).into_iter().collect()
        }
    }

    fn takes(matches: &Match, authority: &str, path: &str) -> bool {
        super::matches(
            matches,
            &RequestTarget::new(&Request(Some(authority), Some(path), RefCell::default())),
        )
    }

    #[test]
    fn authorities() {
        let matches = Match {
            authorities: ["scorer.example.com", "*.Example.org", "[::1]"]
                .map(|text| Authority::parse(text).unwrap())
                .into(),
            path_prefixes: vec![],
            ..Match::default()
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
        assert!(!super::matches(
            &matches,
            &RequestTarget::new(&Request(None, Some("/"), RefCell::default()))
        ));
    }

    #[test]
    fn ports_and_one_trailing_dot_are_ignored_on_both_sides() {
        for wanted in [
            "scorer.example.com",
            "Scorer.example.com.",
            "scorer.example.com:80",
            "scorer.example.com.:80",
        ] {
            let matches = Match {
                authorities: vec![Authority::parse(wanted).unwrap()],
                path_prefixes: vec![],
                ..Match::default()
            };
            for host in ["scorer.example.com", "scorer.example.com.", "SCORER.example.com.:8080"] {
                assert!(takes(&matches, host, "/"), "{wanted} {host}");
            }
            for host in ["scorer.example.com..", ".scorer.example.com", "scorer.example.com.:x"] {
                assert!(!takes(&matches, host, "/"), "{wanted} {host}");
            }
        }
        let suffix = Match {
            authorities: vec![Authority::parse("*.example.com.:443").unwrap()],
            path_prefixes: vec![],
            ..Match::default()
        };
        assert!(takes(&suffix, "a.example.com.", "/") && takes(&suffix, "a.example.com:1", "/"));
        assert!(!takes(&suffix, "example.com.", "/") && !takes(&suffix, ".example.com.", "/"));
    }

    #[test]
    fn paths_are_raw_prefixes_without_the_query() {
        let matches = Match {
            authorities: vec![],
            path_prefixes: vec!["/v2/models".into()],
            ..Match::default()
        };
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
        let target = RequestTarget::new(&request);
        assert!(super::matches(&Match::default(), &target) && request.2.borrow().is_empty());
        let other = Match {
            authorities: vec![Authority::Exact("b.test".to_owned())],
            path_prefixes: vec!["/".to_owned()],
            ..Match::default()
        };
        assert!(!super::matches(&other, &target) && *request.2.borrow() == [":authority"]);
        let own = Match { authorities: vec![Authority::Exact("a.test".to_owned())], ..other };
        assert!(super::matches(&own, &target) && super::matches(&own, &target));
        assert_eq!(*request.2.borrow(), [":authority", ":path"]);
    }

    #[test]
    fn what_is_no_authority() {
        for text in ["", ".", "*", "*.", "*..", "*x", "a b", "a/b", "a*b", "*.a*", ":80", "a:b:80 "]
        {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }
}
