//! Which requests a rollout takes: by authority, path prefix, headers and a value in the body.

use std::cell::{OnceCell, RefCell};

use canary_model::matching::{HeaderCondition, HeaderMatch, JsonMatch, Match, host_of};

use crate::assign::Headers;
use crate::request_body::{BodyValue, RequestBody};

/// What of a request the rollouts look at, asked for when the first one does and only once: each
/// answer costs a call into Envoy, and many rollouts may look at the same header.
pub struct RequestTarget<'a, H> {
    request: &'a H,
    host: OnceCell<Option<Vec<u8>>>,
    path: OnceCell<Option<Vec<u8>>>,
    headers: RefCell<Vec<KnownHeader>>,
}

/// A header that a rollout has looked at.
struct KnownHeader {
    name: String,
    /// The first line; `None` if there is none.
    first: Option<Vec<u8>>,
    /// All lines, if they have been read.
    all: Option<Vec<Vec<u8>>>,
}

impl<'a, H: Headers> RequestTarget<'a, H> {
    /// The host and path of this request, read when they are first needed.
    pub fn new(request: &'a H) -> Self {
        let headers = RefCell::default();
        Self { request, host: OnceCell::new(), path: OnceCell::new(), headers }
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

    /// Whether a line of a header fits. All lines are read only if the first, which is cheap to read and
    /// mostly the only one, doesn't.
    fn has_line(&self, name: &str, fits: impl Fn(&Vec<u8>) -> bool) -> bool {
        let mut headers = self.headers.borrow_mut();
        let place = headers.iter().position(|known| known.name == name).unwrap_or_else(|| {
            let first = self.request.get(name);
            headers.push(KnownHeader { name: name.to_owned(), first, all: None });
            headers.len() - 1
        });
        let Some(KnownHeader { first: Some(first), all, .. }) = headers.get_mut(place) else {
            return false;
        };
        fits(first) || all.get_or_insert_with(|| self.request.get_all(name)).iter().any(fits)
    }
}

/// Whether a request belongs to the rollout with this `match`; `None` if that depends on bytes of the
/// body that haven't come. The body is looked at last, because a request is held to read it.
pub fn matches<H: Headers>(
    wanted: &Match,
    target: &RequestTarget<'_, H>,
    body: &RequestBody,
) -> Option<bool> {
    let host =
        || target.host().is_some_and(|host| wanted.authorities.iter().any(|one| one.matches(host)));
    let path = || {
        let begins = |path: &[u8]| {
            wanted.path_prefixes.iter().any(|prefix| path.starts_with(prefix.as_bytes()))
        };
        target.path().is_some_and(begins)
    };
    let head = (wanted.authorities.is_empty() || host())
        && (wanted.path_prefixes.is_empty() || path())
        && wanted.headers.iter().all(|header| has_header(header, target));
    match &wanted.request_json {
        Some(json) if head => body_matches(json, body),
        Some(_) | None => Some(head),
    }
}

/// Whether one of a header's lines is as it should be.
fn has_header<H: Headers>(wanted: &HeaderMatch, target: &RequestTarget<'_, H>) -> bool {
    target.has_line(&wanted.name, |line| match &wanted.value {
        HeaderCondition::OneOf(values) => values.iter().any(|value| value.as_bytes() == line),
        HeaderCondition::Prefix(prefix) => line.starts_with(prefix.as_bytes()),
        HeaderCondition::Present => true,
    })
}

fn body_matches(wanted: &JsonMatch, body: &RequestBody) -> Option<bool> {
    match body.value(&wanted.pointer, wanted.max_body) {
        BodyValue::Pending => None,
        BodyValue::Absent => Some(false),
        BodyValue::Found(found) => Some(wanted.values.contains(&found.text)),
    }
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

    fn belongs(wanted: &Match, target: &RequestTarget<'_, Request<'_>>) -> bool {
        matches(wanted, target, &RequestBody::unread()).unwrap()
    }

    fn takes(matches: &Match, authority: &str, path: &str) -> bool {
        belongs(
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
        assert!(!belongs(
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
        assert!(belongs(&Match::default(), &target) && request.2.borrow().is_empty());
        let other = Match {
            authorities: vec![Authority::Exact("b.test".to_owned())],
            path_prefixes: vec!["/".to_owned()],
            ..Match::default()
        };
        assert!(!belongs(&other, &target) && *request.2.borrow() == [":authority"]);
        let own = Match { authorities: vec![Authority::Exact("a.test".to_owned())], ..other };
        assert!(belongs(&own, &target) && belongs(&own, &target));
        assert_eq!(*request.2.borrow(), [":authority", ":path"]);
    }

    fn header(name: &str, value: HeaderCondition) -> HeaderMatch {
        HeaderMatch { name: name.to_owned(), value }
    }

    #[test]
    fn one_line_of_each_header_must_be_as_it_should() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let wanted = Match {
            headers: vec![
                header("m", HeaderCondition::OneOf(texts(&["a", "b c"]))),
                header("p", HeaderCondition::Prefix("Be ".to_owned())),
                header("t", HeaderCondition::Present),
            ],
            ..Match::default()
        };
        let belongs = |lines: &[(&str, &str)]| {
            let request = crate::simulation::Request(lines);
            matches(&wanted, &RequestTarget::new(&request), &RequestBody::unread()).unwrap()
        };
        for lines in [
            &[("m", "a"), ("p", "Be x"), ("t", "")][..],
            &[("m", "b c"), ("p", "Be "), ("t", "x")],
            &[("m", "x"), ("p", "x"), ("m", "a"), ("p", "Be x"), ("t", "x")],
        ] {
            assert!(belongs(lines), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[("m", "a"), ("p", "Be x")],
            &[("m", "A"), ("p", "Be x"), ("t", "")],
            &[("m", "a,b c"), ("p", "Be x"), ("t", "")],
            &[("m", "a"), ("p", "be x"), ("t", "")],
            &[("m", "a"), ("p", "Be"), ("t", "")],
        ] {
            assert!(!belongs(lines), "{lines:?}");
        }
    }

    #[test]
    fn all_lines_are_read_only_if_the_first_does_not_fit() {
        let present = |name: &str| header(name, HeaderCondition::Present);
        let other = header("other", HeaderCondition::OneOf(vec!["x".to_owned()]));
        let wanted = Match { headers: vec![present("one"), other], ..Match::default() };
        let request = Request(Some("a"), None, RefCell::default());
        assert!(!belongs(&wanted, &RequestTarget::new(&request)));
        assert_eq!(*request.2.borrow(), ["one", "other", "other"]);
    }

    #[test]
    fn rollouts_that_look_at_the_same_header_ask_for_it_once() {
        let request = Request(Some("model-32"), None, RefCell::default());
        let target = RequestTarget::new(&request);
        let wants = |name: &str, number: usize| {
            let model = HeaderCondition::OneOf(vec![format!("model-{number}")]);
            belongs(&Match { headers: vec![header(name, model)], ..Match::default() }, &target)
        };
        assert_eq!((1..=32).position(|number| wants("model", number)), Some(31));
        assert_eq!(*request.2.borrow(), ["model", "model"], "its first line, then all lines");
        assert!(wants("tenant", 32) && wants("model", 32));
        assert_eq!(*request.2.borrow(), ["model", "model", "tenant"]);
    }

    /// A request is held for its body only if everything else matches.
    #[test]
    fn the_body_is_looked_at_last() {
        let pointer = canary_model::pointer::Pointer::parse("/model").unwrap();
        let json =
            JsonMatch { pointer, values: vec!["a".to_owned(), "1".to_owned()], max_body: 99 };
        let wanted = Match {
            path_prefixes: vec!["/x".to_owned()],
            request_json: Some(json.clone()),
            ..Match::default()
        };
        let of = |path, body: &RequestBody| {
            let request = Request(None, Some(path), RefCell::default());
            matches(&wanted, &RequestTarget::new(&request), body)
        };
        assert_eq!(of("/x", &RequestBody::unread()), None);
        assert_eq!(of("/y", &RequestBody::unread()), Some(false));
        assert_eq!(of("/x", &RequestBody::none()), Some(false));
        for (text, belongs) in [
            ("{\"model\": \"a\"", Some(true)),
            ("{\"model\": 1,", Some(true)),
            ("{\"model\": \"b\"", Some(false)),
            ("{\"model\": 1.0,", Some(false)),
            ("{\"model\": ", None),
        ] {
            let pointers = [(&json.pointer, json.max_body)];
            let mut body = RequestBody::reading(pointers.into_iter());
            body.push(text.as_bytes());
            assert_eq!(of("/x", &body), belongs, "{text}");
        }
    }

    #[test]
    fn what_is_no_authority() {
        for text in ["", ".", "*", "*.", "*..", "*x", "a b", "a/b", "a*b", "*.a*", ":80", "a:b:80 "]
        {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }
}
