//! Who may use the controller's interface. Pure.
//!
//! Three doors a hostile web page could try from the browser of somebody who may: requests from its
//! own origin (browsers name it in `Origin` and `Sec-Fetch-Site`), and requests to a name of its own
//! that it lets point to loopback (DNS rebinding; browsers name it in `Host`). Programs send neither
//! of the first two. An address instead of a name can't be rebound.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use axum::http::{HeaderMap, HeaderName, header};
use subtle::ConstantTimeEq;

use crate::error::Error;

/// The environment variable that holds the controller's token.
pub const TOKEN_VARIABLE: &str = "CANARYCTL_TOKEN";

/// The cookie of a browser that showed the token.
pub const SESSION_COOKIE: &str = "canaryctl-session";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Shorter tokens could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// The rules that decide who may use the interface.
#[derive(Debug, Default)]
pub struct Access {
    token: Option<Token>,
    /// What the cookie of a browser holds that showed the token; new with every process.
    session: Option<Token>,
    hosts: Vec<String>,
}

/// A secret that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessRefusal {
    /// A page of another origin sent it.
    Origin,
    /// It was sent to a name that is not this controller's.
    Host,
    /// No token, or not the right one.
    Token,
}

impl AccessRefusal {
    /// What the client is told.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Origin => "requests from pages of another origin are refused",
            Self::Host => "requests to this host name are refused; --allow-host NAME lists it",
            Self::Token => "a token is needed: Authorization: Bearer TOKEN, or /login in a browser",
        }
    }
}

impl Access {
    /// The rules for a controller that listens on `address`: beyond loopback a token is needed.
    ///
    /// # Errors
    /// Where the token is missing or too short.
    pub fn new(
        address: SocketAddr,
        token: Option<Token>,
        hosts: Vec<String>,
    ) -> Result<Self, Error> {
        let usage = |what: String| Err(Error::Usage { what });
        if !address.ip().is_loopback() && token.is_none() {
            return usage(format!(
                "--listen {address} can be reached from other machines and so demands a token: \
                 --token-file FILE or {TOKEN_VARIABLE}"
            ));
        }
        Ok(Self {
            token,
            session: None,
            hosts: hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect(),
        })
    }

    /// Has browsers that show the token get a cookie that holds this secret.
    #[must_use]
    pub fn with_session(self, random: [u8; 32]) -> Self {
        let secret = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { session: Some(Token(secret)), ..self }
    }

    /// The cookie's secret for whoever shows the token.
    pub fn session_for(&self, token: &str) -> Option<&str> {
        let same = self.token.as_ref()?.is(token.trim());
        self.session.as_ref().filter(|_| same).map(|session| session.0.as_str())
    }

    /// Whether a request may go on. `open` paths need no token.
    ///
    /// # Errors
    /// [`AccessRefusal`] where it may not.
    pub fn check(&self, headers: &HeaderMap, open: bool) -> Result<(), AccessRefusal> {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(header::HOST).unwrap_or("").to_ascii_lowercase();
        if !self.is_ours(&host) {
            return Err(AccessRefusal::Host);
        }
        let site = text(SEC_FETCH_SITE);
        if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
            return Err(AccessRefusal::Origin);
        }
        let own = |origin: &str| {
            let origin = origin.to_ascii_lowercase();
            let rest = ["http://", "https://"].iter().find_map(|s| origin.strip_prefix(s));
            rest == Some(host.as_str())
        };
        if text(header::ORIGIN).is_some_and(|origin| !own(origin)) {
            return Err(AccessRefusal::Origin);
        }
        match &self.token {
            Some(token)
                if !open
                    && !token.opens(text(header::AUTHORIZATION))
                    && !self.is_logged_in(text(header::COOKIE)) =>
            {
                Err(AccessRefusal::Token)
            }
            _ => Ok(()),
        }
    }

    fn is_logged_in(&self, cookies: Option<&str>) -> bool {
        let secret =
            cookies.into_iter().flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
                let (name, value) = cookie.trim().split_once('=')?;
                (name == SESSION_COOKIE).then_some(value)
            });
        self.session.as_ref().zip(secret).is_some_and(|(session, secret)| session.is(secret))
    }

    /// Whether a `Host` header names this controller: by an address, `localhost`, or a listed name.
    fn is_ours(&self, host: &str) -> bool {
        let name = name_of(host);
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        address || name == "localhost" || self.hosts.iter().any(|listed| listed == name)
    }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

impl Token {
    /// A token; white space around it is none of it.
    ///
    /// # Errors
    /// Where it could be guessed, or can't stand in a header.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.len() < SHORTEST_TOKEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = format!(
                "the token must have at least {SHORTEST_TOKEN} printable characters without spaces"
            );
            return Err(Error::Usage { what });
        }
        Ok(Self(text.to_owned()))
    }

    /// The token of a file, else of the environment; `None` where neither names one.
    ///
    /// # Errors
    /// Where the file can't be read, or there is no token in it.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>, Error> {
        let text = match file {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| Error::Usage {
                what: format!("--token-file {}: {error}", path.display()),
            })?),
            None => std::env::var(TOKEN_VARIABLE).ok().filter(|text| !text.is_empty()),
        };
        text.as_deref().map(Self::new).transpose()
    }

    /// The header that shows it.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether a header shows this token. Takes as long for any wrong token of the right length.
    fn opens(&self, header: Option<&str>) -> bool {
        let shown = header.and_then(|header| {
            let (scheme, token) = header.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        shown.is_some_and(|shown| self.is(shown))
    }

    fn is(&self, text: &str) -> bool {
        bool::from(text.as_bytes().ct_eq(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn open(hosts: &[&str]) -> Access {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Access::new("127.0.0.1:8411".parse().unwrap(), None, hosts).unwrap()
    }

    #[test]
    fn programs_on_this_host_come_in() {
        for host in ["127.0.0.1:8411", "localhost:8411", "LOCALHOST", "[::1]:8411", "10.0.0.7:1"] {
            assert_eq!(open(&[]).check(&headers(&[("host", host)]), false), Ok(()), "{host}");
        }
    }

    #[test]
    fn rebound_names_do_not() {
        for host in
            ["", "evil.example", "evil.example:8411", "localhost.evil.example", "127.0.0.1.x"]
        {
            let refused = open(&["canary.example"]).check(&headers(&[("host", host)]), true);
            assert_eq!(refused, Err(AccessRefusal::Host), "{host}");
        }
        let listed = headers(&[("host", "Canary.Example:80")]);
        assert_eq!(open(&["canary.example"]).check(&listed, false), Ok(()));
        assert_eq!(open(&[]).check(&HeaderMap::new(), false), Err(AccessRefusal::Host));
    }

    #[test]
    fn pages_of_other_origins_do_not() {
        let with = |name, value| headers(&[("host", "127.0.0.1:8411"), (name, value)]);
        let check = |name, value| open(&[]).check(&with(name, value), false);
        assert_eq!(check("origin", "http://127.0.0.1:8411"), Ok(()));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:9000", "127.0.0.1:8411", ""]
        {
            assert_eq!(check("origin", origin), Err(AccessRefusal::Origin), "{origin}");
        }
        assert_eq!(check("sec-fetch-site", "same-origin"), Ok(()));
        assert_eq!(check("sec-fetch-site", "none"), Ok(()));
        for site in ["cross-site", "same-site", ""] {
            assert_eq!(check("sec-fetch-site", site), Err(AccessRefusal::Origin), "{site}");
        }
    }

    #[test]
    fn beyond_loopback_a_token_is_needed() {
        let everywhere: SocketAddr = "0.0.0.0:8411".parse().unwrap();
        assert!(Access::new(everywhere, None, vec![]).is_err());
        assert!(Token::new("short").is_err() && Token::new("with a space in it").is_err());
        let token = Token::new(&format!("{SECRET}\n")).unwrap();
        assert_eq!(format!("{token:?}"), "Token(…)");
        let access = Access::new(everywhere, Some(token), vec![]).unwrap();
        let with = |value: &str| headers(&[("host", "10.0.0.1"), ("authorization", value)]);
        assert_eq!(access.check(&with(&format!("Bearer {SECRET}")), false), Ok(()));
        assert_eq!(access.check(&with(&format!("bearer {SECRET}")), false), Ok(()));
        for wrong in
            ["", "Bearer", "Bearer x", &format!("Basic {SECRET}"), "Bearer 0123456789abcdeg"]
        {
            assert_eq!(access.check(&with(wrong), false), Err(AccessRefusal::Token), "{wrong}");
        }
        assert_eq!(access.check(&headers(&[("host", "10.0.0.1")]), true), Ok(()), "an open path");
    }
}
