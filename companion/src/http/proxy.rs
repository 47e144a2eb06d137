//! The environment's proxies, by the rules by which the HTTP client goes through them. The client keeps to itself
//! which proxy that is, and passes over a variable that it can't use; operators are told both.

use std::sync::LazyLock;

use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use canary_model::redact::HIDDEN;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// Shorter passwords aren't taken out of foreign texts, because words would be cut.
const SHORTEST: usize = 4;

static ENVIRONMENT: LazyLock<Proxies> =
    LazyLock::new(|| Proxies::new(|name| std::env::var(name).ok()));

/// The proxy that requests to a URL go through, without its credentials; `None` if they go straight there.
///
/// # Errors
/// The variable that names a proxy that can't be used, and what it should be. Its value isn't in the text.
pub(crate) fn for_url(url: &str) -> Result<Option<String>, String> {
    ENVIRONMENT.for_url(url)
}

/// ` (through the proxy http://proxy:3128)`, for a message about what went wrong with a URL; empty if requests to
/// it go straight there.
pub(crate) fn through(url: &str) -> String {
    match for_url(url) {
        Ok(Some(proxy)) => format!(" (through the proxy {proxy})"),
        Ok(None) | Err(_) => String::new(),
    }
}

/// A foreign text without the proxies' credentials: a proxy, or a command that uses it, may repeat them.
pub(crate) fn redact(text: &str) -> String {
    ENVIRONMENT.redact(text)
}

/// One of the variables that name proxies, in upper or lower case.
struct Variable {
    name: &'static str,
    value: String,
}

impl Variable {
    fn find(names: [&'static str; 2], value: &impl Fn(&str) -> Option<String>) -> Self {
        let found = |name: &'static str| Some(Self { name, value: value(name)? });
        let [upper, lower] = names;
        found(upper).or_else(|| found(lower)).unwrap_or(Self { name: upper, value: String::new() })
    }

    /// What the HTTP client makes of the value.
    fn understood(&self) -> Option<Intercept> {
        let any = Uri::from_static("http://any/");
        Matcher::builder().all(self.value.as_str()).build().intercept(&any)
    }

    /// The proxy's address; `None` if none is named.
    fn proxy(&self) -> Result<Option<String>, String> {
        if self.value.is_empty() {
            return Ok(None);
        }
        // Other schemes would be taken for http.
        let spoken = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        let found = self.understood().map(|found| found.uri().clone()).filter(spoken);
        let Some(uri) = found else {
            let scheme = self.value.split_once("://").map_or("", |(scheme, _)| scheme);
            let plain = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let found = match scheme {
                "" | "http" | "https" => String::new(),
                _ if !plain => String::new(),
                scheme => format!(", found {scheme}://"),
            };
            return Err(format!(
                "the environment variable {} names no proxy that can be used: expected \
                 http://HOST:PORT or https://HOST:PORT{found}; NO_PROXY lists hosts that need none",
                self.name
            ));
        };
        Ok(Some(uri.to_string().trim_end_matches('/').to_owned()))
    }

    /// What must not be shown of it: the password, and the name with it as it is sent.
    fn hidden_texts(&self) -> Vec<String> {
        let rest = self.value.split_once("://").map_or(self.value.as_str(), |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let Some((user_info, _)) = authority.rsplit_once('@') else { return Vec::new() };
        let password = user_info.split_once(':').map_or(user_info, |(_, password)| password);
        let found = self.understood();
        let header = found.as_ref().and_then(|found| found.basic_auth()?.to_str().ok());
        let encoded = header.and_then(|header| header.strip_prefix("Basic "));
        let decoded = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
        let decoded = decoded.and_then(|decoded| String::from_utf8(decoded).ok());
        let decoded = decoded.as_deref().map(|pair| match pair.split_once(':') {
            Some((user, "")) => user,
            Some((_, password)) => password,
            None => pair,
        });
        let mut hidden: Vec<String> = [Some(user_info), Some(password), encoded, decoded]
            .into_iter()
            .flatten()
            .filter(|secret| secret.len() >= SHORTEST)
            .map(str::to_owned)
            .collect();
        // A secret that contains another is taken out first.
        hidden.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        hidden
    }
}

/// What the environment says of proxies.
struct Proxies {
    http: Variable,
    https: Variable,
    all: Variable,
    direct: String,
}

impl Proxies {
    fn new(value: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            http: Variable::find(["HTTP_PROXY", "http_proxy"], &value),
            https: Variable::find(["HTTPS_PROXY", "https_proxy"], &value),
            all: Variable::find(["ALL_PROXY", "all_proxy"], &value),
            direct: Variable::find(["NO_PROXY", "no_proxy"], &value).value,
        }
    }

    fn for_url(&self, url: &str) -> Result<Option<String>, String> {
        let Ok(uri) = url.parse::<Uri>() else { return Ok(None) };
        let any = Matcher::builder().all("http://any").no(self.direct.as_str()).build();
        if any.intercept(&uri).is_none() {
            return Ok(None);
        }
        let own = if uri.scheme_str() == Some("https") { &self.https } else { &self.http };
        own.proxy()?.map_or_else(|| self.all.proxy(), |proxy| Ok(Some(proxy)))
    }

    fn redact(&self, text: &str) -> String {
        let hidden =
            [&self.http, &self.https, &self.all].into_iter().flat_map(Variable::hidden_texts);
        hidden.fold(text.to_owned(), |text, secret| text.replace(&secret, HIDDEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let value = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Proxies::new(value)
    }

    fn found(variables: &[(&str, &str)], url: &str) -> Option<String> {
        proxies(variables).for_url(url).unwrap()
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_proxy_stands_in() {
        let both = [("HTTP_PROXY", "http://a:1"), ("https_proxy", "b:2"), ("ALL_PROXY", "c:3")];
        assert_eq!(found(&both, "http://x.example/y").as_deref(), Some("http://a:1"));
        assert_eq!(found(&both, "https://x.example").as_deref(), Some("http://b:2"));
        assert_eq!(found(&both[2..], "https://x.example").as_deref(), Some("http://c:3"));
        assert_eq!(found(&both[1..2], "http://x.example"), None);
        let upper = [("HTTP_PROXY", ""), ("http_proxy", "http://a:1")];
        assert_eq!(found(&upper, "http://x.example"), None, "the upper case counts, as elsewhere");
        assert_eq!(found(&both, ""), None);
    }

    #[test]
    fn no_proxy_lists_hosts_domains_and_networks() {
        let set = [("HTTP_PROXY", "http://a:1"), ("NO_PROXY", "127.0.0.1, 10.0.0.0/8,.corp, x")];
        for direct in ["http://127.0.0.1:5000", "http://10.1.2.3/", "http://m.corp", "http://x:1"] {
            assert_eq!(found(&set, direct), None, "{direct}");
        }
        for outside in ["http://127.0.0.2", "http://notcorp", "http://y.example"] {
            assert!(found(&set, outside).is_some(), "{outside}");
        }
        assert_eq!(found(&[set[0], ("no_proxy", "*")], "http://y.example"), None);
    }

    #[test]
    fn credentials_are_neither_shown_nor_left_in_foreign_texts() {
        let set = [("HTTP_PROXY", "https://ann:hunter%32@proxy.example:3128/")];
        let shown = found(&set, "http://x.example");
        assert_eq!(shown.as_deref(), Some("https://proxy.example:3128"));
        let repeated = proxies(&set).redact(
            "no access for ann:hunter%32, hunter2, Basic YW5uOmh1bnRlcjI=, at proxy.example",
        );
        assert_eq!(repeated, "no access for redacted, redacted, Basic redacted, at proxy.example");
        let token = [("ALL_PROXY", "http://t0ken@proxy:1")];
        assert_eq!(proxies(&token).redact("t0ken dDBrZW46"), "redacted redacted");
        assert_eq!(proxies(&[]).redact("as it is"), "as it is");
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named_without_its_value() {
        for (value, says) in [
            (
                "socks5://ann:hunter2@proxy:1080",
                "expected http://HOST:PORT or https://HOST:PORT, found socks5://;",
            ),
            ("http://", "names no proxy that can be used"),
            ("ann:hunter2@", "names no proxy that can be used"),
        ] {
            let set = [("HTTP_PROXY", value), ("NO_PROXY", "near")];
            let why = proxies(&set).for_url("http://x.example").unwrap_err();
            assert!(why.contains(says) && why.contains("HTTP_PROXY"), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
            assert_eq!(found(&set, "http://near/"), None);
            assert_eq!(found(&set, "https://x.example/"), None);
        }
    }
}
