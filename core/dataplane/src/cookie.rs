//! Cookies: finding one in a request (RFC 6265, section 4.2) and setting the cohort cookie.

use std::cell::OnceCell;

use canary_model::config::{CohortCookie, SameSite};

use crate::host::Headers;

/// A request's cookies, read at most twice, because each reading costs a call into Envoy.
///
/// Over HTTP/1.1, a client or a proxy may send several `cookie` lines; over HTTP/2, Envoy joins them.
/// The first line is cheap to read and mostly the only one. The others are read only if there is a
/// first one and it lacks the cookie.
pub struct Cookies<'a, H> {
    request: &'a H,
    first: OnceCell<Option<Vec<u8>>>,
    all: OnceCell<Vec<Vec<u8>>>,
}

impl<'a, H: Headers> Cookies<'a, H> {
    /// The cookies of a request; reads nothing yet.
    pub fn new(request: &'a H) -> Self {
        Self { request, first: OnceCell::new(), all: OnceCell::new() }
    }

    /// The value of the first cookie called `name` that isn't empty, on whichever line it is.
    pub fn find(&self, name: &str) -> Option<&[u8]> {
        let first = self.first.get_or_init(|| self.request.get("cookie")).as_deref()?;
        find(first, name).or_else(|| {
            let all = self.all.get_or_init(|| self.request.get_all("cookie"));
            all.iter().find_map(|line| find(line, name))
        })
    }
}

/// The value of the first cookie called `name` in one `cookie` line; `None` if there is none or it is
/// empty. A value in double quotes is the value within them. Bytes, since a client may send anything.
pub fn find<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    line.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?;
        Some(unquoted(value.trim_ascii())).filter(|value| !value.is_empty())
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

/// The `set-cookie` value that keeps a client in its cohort (RFC 6265bis, section 4.1). `https` says
/// whether the request came over https. Browsers refuse `SameSite=None` without `Secure`.
pub fn set(cookie: &CohortCookie, id: &str, https: bool) -> String {
    let CohortCookie { name, max_age, same_site, domain, path } = cookie;
    let (max_age, site) = (max_age.as_secs(), same_site.as_str());
    let mut set = format!("{name}={id}; Path={path}; HttpOnly; SameSite={site}; Max-Age={max_age}");
    if let Some(domain) = domain {
        set.push_str("; Domain=");
        set.push_str(domain);
    }
    if https || *same_site == SameSite::None {
        set.push_str("; Secure");
    }
    set
}

/// A cookie id: 128 random bits as 32 lower-case hex digits.
pub fn id(high: u64, low: u64) -> String {
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    /// A request with these `cookie` lines, which counts how it is read.
    #[derive(Default)]
    struct Request {
        lines: Vec<&'static str>,
        firsts: Cell<u32>,
        alls: Cell<u32>,
    }

    impl Headers for Request {
        fn get(&self, name: &str) -> Option<Vec<u8>> {
            assert_eq!(name, "cookie");
            self.firsts.set(self.firsts.get() + 1);
            self.lines.first().map(|line| line.as_bytes().to_vec())
        }

        fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
            assert_eq!(name, "cookie");
            self.alls.set(self.alls.get() + 1);
            self.lines.iter().map(|line| line.as_bytes().to_vec()).collect()
        }
    }

    #[test]
    fn a_cookie_is_read_from_whichever_line_carries_it() {
        for (lines, found, alls) in [
            (vec![], None, 0),
            (vec!["n=1"], Some("1"), 0),
            (vec!["a=b; n=1", "n=2"], Some("1"), 0),
            (vec!["a=b", "n=2"], Some("2"), 1),
            (vec!["a=b", "c=d,n=3", "n=\"2\"; x"], Some("2"), 1),
            (vec!["n=", "n=2"], Some("2"), 1),
            (vec!["a=b", "c=d"], None, 1),
            (vec!["", "n=1"], Some("1"), 1),
        ] {
            let request = Request { lines, ..Request::default() };
            let cookies = Cookies::new(&request);
            assert_eq!((request.firsts.get(), request.alls.get()), (0, 0), "asked too early");
            for _ in 0..3 {
                assert_eq!(cookies.find("n"), found.map(str::as_bytes), "{:?}", request.lines);
            }
            assert_eq!(
                (request.firsts.get(), request.alls.get()),
                (1, alls),
                "{:?}",
                request.lines
            );
        }
    }

    #[test]
    fn a_value_in_quotes_is_the_value_within_them() {
        for (line, value) in [
            ("n=\"xyz\"", Some("xyz")),
            ("n = \"x y\" ; a=b", Some("x y")),
            ("n=\"\"xyz\"\"", Some("\"xyz\"")),
            ("n=\"xyz", Some("\"xyz")),
            ("n=xyz\"", Some("xyz\"")),
            ("n=\"", Some("\"")),
            ("n=\"\"", None),
            ("n=\"\"; n=2", Some("2")),
        ] {
            assert_eq!(find(line.as_bytes(), "n"), value.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn finds_among_others() {
        let found = |header: &'static str| find(header.as_bytes(), "canary-cohort");
        assert_eq!(found("a=b; canary-cohort=xyz; c=d"), Some(&b"xyz"[..]));
        assert_eq!(found("canary-cohort=x=y"), Some(&b"x=y"[..]));
        assert_eq!(found("canary-cohort=1;canary-cohort=2"), Some(&b"1"[..]));
        assert_eq!(found("canary-cohort=;canary-cohort=2"), Some(&b"2"[..]));
        for header in [
            "",
            "canary-cohort",
            "canary-cohort=",
            "xcanary-cohort=1",
            "Canary-Cohort=1",
            "canary-cohort2=1",
            ";;;=",
        ] {
            assert_eq!(found(header), None, "{header}");
        }
        assert_eq!(find(b"\xff\xfe; n=\xff", "n"), Some(&b"\xff"[..]));
    }

    #[test]
    fn sets() {
        let mut cookie = CohortCookie {
            name: "n".to_owned(),
            max_age: Duration::from_secs(86_400),
            same_site: SameSite::Lax,
            domain: None,
            path: "/".to_owned(),
        };
        let plain =
            "n=0000000000000001000000000000000f; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400";
        assert_eq!(set(&cookie, &id(1, 15), false), plain);
        assert_eq!(set(&cookie, &id(1, 15), true), format!("{plain}; Secure"));
        cookie.domain = Some("example.com".to_owned());
        cookie.path = "/shop".to_owned();
        for (same_site, https, rest) in [
            (SameSite::Strict, false, "Strict; Max-Age=86400; Domain=example.com"),
            (SameSite::Strict, true, "Strict; Max-Age=86400; Domain=example.com; Secure"),
            (SameSite::None, false, "None; Max-Age=86400; Domain=example.com; Secure"),
        ] {
            cookie.same_site = same_site;
            let expected = format!("n=1; Path=/shop; HttpOnly; SameSite={rest}");
            assert_eq!(set(&cookie, "1", https), expected);
        }
    }
}
