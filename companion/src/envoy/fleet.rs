//! Many Envoys, asked at once.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use super::{Admin, EnvoyUrl};
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

impl<T> EnvoyReply<T> {
    /// The same reply with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> EnvoyReply<U> {
        EnvoyReply { url: self.url, result: self.result.map(change) }
    }
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
        let resolved = stream::iter(urls)
            .map(|url| async move { (url, in_time(url, deadline).await) })
            .buffered(AT_ONCE);
        let resolved: Vec<_> = resolved.collect().await;
        let (mut members, mut seen) = (Vec::new(), BTreeSet::new());
        for (envoy, addresses) in resolved {
            match addresses {
                // An Envoy that was named twice must not be counted twice.
                Ok(addresses) => members.extend(
                    addresses.iter().filter(|address| seen.insert(address.identity())).map(
                        |address| Member {
                            url: address.url.clone(),
                            admin: Admin::new(address, deadline).map_err(|error| error.to_string()),
                        },
                    ),
                ),
                Err(cause) => members.push(Member { url: envoy.to_string(), admin: Err(cause) }),
            }
        }
        Self { members }
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

/// The addresses of a URL, found within a deadline.
async fn in_time(envoy: &EnvoyUrl, deadline: Duration) -> Result<Vec<super::Address>, String> {
    let late = |_| "its name could not be resolved in time".to_owned();
    tokio::time::timeout(deadline, envoy.resolve()).await.map_err(late)?
}
