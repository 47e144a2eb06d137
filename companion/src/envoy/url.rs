//! Where an admin interface is: `http://host:port` or `unix:///path`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;

/// What an operator names: one admin interface, or a DNS name that stands for all its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvoyUrl {
    /// An admin listener on TCP, `http://host:port`.
    Http(Url),
    /// An admin listener on a unix socket, `unix:///path`.
    Unix(PathBuf),
}

/// One Envoy's admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// How messages and results call it.
    pub url: String,
    /// How to connect to this one Envoy.
    pub(super) route: Route,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// By the URL alone.
    Url(Url),
    /// By the URL, at one of its name's addresses.
    Pinned(Url, SocketAddr),
    /// By a socket in the file system.
    Socket(PathBuf),
}

impl Address {
    /// What two addresses of the same Envoy have in common, however they were named.
    pub fn identity(&self) -> String {
        let literal = |url: &Url| {
            let port = url.port_or_known_default().unwrap_or(80);
            format!("{}:{port}", url.host_str().unwrap_or(""))
        };
        match &self.route {
            Route::Url(url) => literal(url),
            Route::Pinned(_, address) => address.to_string(),
            Route::Socket(path) => path.display().to_string(),
        }
    }
}

impl FromStr for EnvoyUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected http://host:port or unix:///path";
        if let Some(path) = text.strip_prefix("unix://") {
            let path = PathBuf::from(path);
            let file = path.is_absolute() && path.file_name().is_some();
            return if file { Ok(Self::Unix(path)) } else { Err(EXPECTED.to_owned()) };
        }
        if text.starts_with("https://") {
            return Err("Envoy's admin interface speaks plain http".to_owned());
        }
        if !text.starts_with("http://") {
            return Err(format!("{EXPECTED}, such as http://127.0.0.1:9901"));
        }
        let url = Url::parse(text).map_err(|error| format!("{error}; {EXPECTED}"))?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(format!("{EXPECTED}, with nothing behind the port"));
        }
        Ok(Self::Http(url))
    }
}

impl fmt::Display for EnvoyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl EnvoyUrl {
    /// The Envoys that this URL stands for, by a look-up if its host is a name.
    ///
    /// # Errors
    /// What the resolver says.
    pub async fn resolve(&self) -> Result<Vec<Address>, String> {
        let url = match self {
            Self::Unix(path) => return Ok(vec![self.at(Route::Socket(path.clone()))]),
            Self::Http(url) => url,
        };
        let plain = || Ok(vec![self.at(Route::Url(url.clone()))]);
        let Some(name) = name_to_resolve(url) else {
            return plain();
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let found =
            tokio::net::lookup_host((name, port)).await.map_err(|error| error.to_string())?;
        let addresses = one_family(found);
        if addresses.is_empty() {
            return Err(format!("{name} has no address"));
        }
        Ok(self.pin(url, &addresses))
    }

    /// Whether it is a name, whose addresses may change.
    pub fn is_name(&self) -> bool {
        match self {
            Self::Http(url) => name_to_resolve(url).is_some(),
            Self::Unix(_) => false,
        }
    }

    fn at(&self, route: Route) -> Address {
        Address { url: self.to_string(), route }
    }

    /// One Envoy for each address; where there are several, each is called by its address.
    fn pin(&self, url: &Url, addresses: &BTreeSet<SocketAddr>) -> Vec<Address> {
        let several = addresses.len() > 1;
        let call = |address: &SocketAddr| {
            if several { format!("http://{address}") } else { self.to_string() }
        };
        addresses
            .iter()
            .map(|address| Address {
                url: call(address),
                route: Route::Pinned(url.clone(), *address),
            })
            .collect()
    }
}

/// The name that stands for many Envoys; `None` for addresses, and for `localhost`, which is one
/// Envoy that may listen on either loopback address.
fn name_to_resolve(url: &Url) -> Option<&str> {
    let host = url.host_str()?;
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    (!literal && !host.eq_ignore_ascii_case("localhost")).then_some(host)
}

/// The addresses of one family: a machine with an IPv4 and an IPv6 address is one Envoy, not two, so
/// IPv6 counts only where there is no IPv4.
fn one_family(found: impl Iterator<Item = SocketAddr>) -> BTreeSet<SocketAddr> {
    let (v4, v6): (BTreeSet<SocketAddr>, BTreeSet<SocketAddr>) =
        found.partition(SocketAddr::is_ipv4);
    if v4.is_empty() { v6 } else { v4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read_and_write() {
        for text in [
            "http://127.0.0.1:9901",
            "http://envoy.example:15000",
            "http://[::1]:1",
            "unix:///a/b.sock",
        ] {
            assert_eq!(text.parse::<EnvoyUrl>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "127.0.0.1:9901",
            "https://a:1",
            "ftp://a:1",
            "http://",
            "http://a:99999",
            "http://a:1/stats",
            "http://a:1?x",
            "http://me@a:1",
            "unix://",
            "unix:///",
            "unix://relative/path",
        ] {
            assert!(text.parse::<EnvoyUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_is_all_its_addresses_of_one_family() {
        let all = ["10.0.0.2:9901", "[fd00::1]:9901", "10.0.0.1:9901", "10.0.0.1:9901"];
        let found = one_family(all.iter().map(|text| text.parse().unwrap()));
        let envoys: EnvoyUrl = "http://envoys:9901".parse().unwrap();
        let EnvoyUrl::Http(url) = &envoys else { panic!("http") };
        let urls: Vec<String> = envoys.pin(url, &found).into_iter().map(|one| one.url).collect();
        assert_eq!(urls, ["http://10.0.0.1:9901", "http://10.0.0.2:9901"]);
        let one = one_family(std::iter::once("[fd00::1]:9901".parse().unwrap()));
        assert_eq!(envoys.pin(url, &one)[0].url, "http://envoys:9901");
    }

    #[test]
    fn addresses_and_localhost_are_not_looked_up() {
        let name = |text| name_to_resolve(&Url::parse(text).unwrap()).map(str::to_owned);
        assert_eq!(name("http://127.0.0.1:1"), None);
        assert_eq!(name("http://[::1]:1"), None);
        assert_eq!(name("http://localhost:1"), None);
        assert_eq!(name("http://envoys:1"), Some("envoys".to_owned()));
    }
}
