//! Many Envoys, asked at once.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use super::{Address, Admin, EnvoyUrl};
use crate::error::Error;

/// The most requests under way at once.
const AT_ONCE: usize = 64;

/// What one Envoy of a fleet said.
#[derive(Debug)]
pub struct EnvoyReply<T> {
    /// How results call the Envoy.
    pub url: String,
    /// What came of the request.
    pub result: Result<T, Error>,
}

/// The Envoys behind some URLs. One whose name has no address is a member that can't be reached.
#[derive(Debug)]
pub struct Fleet {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    url: String,
    admin: Result<Admin, String>,
}

impl Fleet {
    /// Resolves the URLs; every request to every member then ends within `deadline`.
    pub async fn resolve(urls: &[EnvoyUrl], deadline: Duration) -> Self {
        let client = |address: &Address| Admin::new(address, deadline);
        Self::from_places(locate(urls, deadline).await, client)
    }

    /// The Envoys at some places, each with the client that `client` makes for it.
    pub fn from_places(
        places: Vec<Located>,
        mut client: impl FnMut(&Address) -> Result<Admin, Error>,
    ) -> Self {
        let member = |Located { url, address }| {
            let admin =
                address.and_then(|address| client(&address).map_err(|error| error.to_string()));
            Member { url, admin }
        };
        Self { members: places.into_iter().map(member).collect() }
    }

    /// Whether a URL stands for no Envoy now because its name could not be resolved.
    pub fn is_unresolved(&self) -> bool {
        self.members.iter().any(|member| member.admin.is_err())
    }

    /// Asks some of the Envoys at once, by how results call them.
    pub async fn some<T>(
        &self,
        wanted: impl Fn(&str) -> bool,
        ask: impl AsyncFn(&Admin) -> Result<T, Error>,
    ) -> Vec<EnvoyReply<T>> {
        let wanted = |member: &&Member| wanted(&member.url);
        let ask = &ask;
        stream::iter(self.members.iter().filter(wanted))
            .map(|member| async move {
                let result = match &member.admin {
                    Ok(admin) => ask(admin).await,
                    Err(cause) => {
                        Err(Error::Unreachable { url: member.url.clone(), cause: cause.clone() })
                    }
                };
                EnvoyReply { url: member.url.clone(), result }
            })
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    /// Asks every Envoy at once; the reports come in the order of the members.
    pub async fn each<T>(
        &self,
        ask: impl AsyncFn(&Admin) -> Result<T, Error>,
    ) -> Vec<EnvoyReply<T>> {
        let ready = self
            .members
            .iter()
            .map(|member| EnvoyReply { url: member.url.clone(), result: Ok(()) });
        self.then(ready.collect(), ask).await
    }

    /// Asks those Envoys whose earlier report is no error; the others keep theirs.
    pub async fn then<S, T>(
        &self,
        earlier: Vec<EnvoyReply<S>>,
        ask: impl AsyncFn(&Admin) -> Result<T, Error>,
    ) -> Vec<EnvoyReply<T>> {
        let ask = &ask;
        stream::iter(self.members.iter().zip(earlier))
            .map(|(member, earlier)| async move {
                let result = match (earlier.result, &member.admin) {
                    (Err(error), _) => Err(error),
                    (Ok(_), Ok(admin)) => ask(admin).await,
                    (Ok(_), Err(cause)) => {
                        Err(Error::Unreachable { url: member.url.clone(), cause: cause.clone() })
                    }
                };
                EnvoyReply { url: member.url.clone(), result }
            })
            .buffered(AT_ONCE)
            .collect()
            .await
    }
}

/// Where a URL led to.
#[derive(Debug)]
pub struct Located {
    /// How results call the Envoy, or the URL that led nowhere.
    pub url: String,
    /// Its address, or why there is none.
    pub address: Result<Address, String>,
}

/// Finds the Envoys behind some URLs, each once, however often it was named.
pub async fn locate(urls: &[EnvoyUrl], deadline: Duration) -> Vec<Located> {
    let resolved = stream::iter(urls)
        .map(|url| async move { (url, in_time(url, deadline).await) })
        .buffered(AT_ONCE);
    let resolved: Vec<_> = resolved.collect().await;
    let (mut places, mut seen) = (Vec::new(), BTreeSet::new());
    for (envoy, addresses) in resolved {
        match addresses {
            // An Envoy that was named twice must not be counted twice.
            Ok(addresses) => places.extend(
                addresses
                    .into_iter()
                    .filter(|address| seen.insert(address.identity()))
                    .map(|address| Located { url: address.url.clone(), address: Ok(address) }),
            ),
            Err(cause) => places.push(Located { url: envoy.to_string(), address: Err(cause) }),
        }
    }
    places
}

/// The addresses of a URL, found within a deadline.
async fn in_time(envoy: &EnvoyUrl, deadline: Duration) -> Result<Vec<Address>, String> {
    let late = |_| "its name could not be resolved in time".to_owned();
    tokio::time::timeout(deadline, envoy.resolve()).await.map_err(late)?
}
