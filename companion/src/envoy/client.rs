//! One Envoy's admin interface, each request with a deadline and a limit.

use std::collections::BTreeMap;
use std::time::Duration;

use canary_model::runtime::{Snapshot, Update};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, header};

use super::url::Route;
use super::{Address, ConfigDump, Stats, clusters};
use crate::error::Error;
use crate::http::root_cause;

/// The longest that a connection may take; a shorter deadline for the request goes before.
pub const DEADLINE_FOR_CONNECT: Duration = Duration::from_secs(2);

/// The most bytes that are read of one answer: some hundred times what a busy Envoy says.
const LIMIT: usize = 64 << 20;

/// A client of one Envoy's admin interface.
#[derive(Clone, Debug)]
pub struct Admin {
    http: Client,
    base: Url,
    url: String,
    deadline: Duration,
}

impl Admin {
    /// A client whose every request ends within `deadline`.
    ///
    /// # Errors
    /// Where no HTTP client can be made of the address.
    pub fn new(address: &Address, deadline: Duration) -> Result<Self, Error> {
        let connect = deadline.min(DEADLINE_FOR_CONNECT);
        let client = crate::http::plain(crate::http::direct()).connect_timeout(connect);
        let unix = || Url::parse("http://admin.sock").ok();
        let (client, base) = match &address.route {
            Route::Url(url) => (client, Some(url.clone())),
            Route::Pinned(url, at) => {
                (client.resolve(url.host_str().unwrap_or(""), *at), Some(url.clone()))
            }
            Route::Socket(path) => (client.unix_socket(path.as_path()), unix()),
        };
        let url = address.url.clone();
        let unusable = |cause: String| Error::Unreachable { url: url.clone(), cause };
        let base = base.ok_or_else(|| unusable("no such address".to_owned()))?;
        let http = client.build().map_err(|error| unusable(error.to_string()))?;
        Ok(Self { http, base, url: url.clone(), deadline })
    }

    /// The same client and connections, with another deadline for every request.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// How messages and results call this Envoy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The merged runtime, as far as it belongs to rollouts.
    ///
    /// # Errors
    /// No connection, no answer, or not the answer of Envoy.
    pub async fn runtime(&self) -> Result<Snapshot, Error> {
        let body = self.get("/runtime", &[]).await?;
        Snapshot::read(&body, |_| true).map_err(|error| self.unexpected(error.to_string()))
    }

    /// The statistics whose names match a regular expression; histograms with all their bins.
    ///
    /// # Errors
    /// No connection, no answer, or not the answer of Envoy.
    pub async fn stats(&self, filter: &str) -> Result<Stats, Error> {
        let query = [("filter", filter), ("format", "json"), ("histogram_buckets", "detailed")];
        let body = self.get("/stats", &query).await?;
        Stats::read(&body).map_err(|error| self.unexpected(error.to_string()))
    }

    /// The filters' configurations, as far as the admin interface shows them.
    ///
    /// # Errors
    /// No connection, no answer, or not the answer of Envoy.
    pub async fn config_dump(&self) -> Result<ConfigDump, Error> {
        let mut found = ConfigDump::default();
        // A part that an Envoy doesn't have is an empty object or a 404; neither is a failure.
        for part in ["ecds_filters", "dynamic_listeners", "static_listeners"] {
            let request = self.request(Method::GET, "/config_dump", &[("resource", part)]);
            let (status, body) = self.send(request).await?;
            if status.is_success() {
                found.read(&body);
            }
            if found.pushed.iter().any(|pushed| !pushed.rollouts.is_empty()) {
                break;
            }
        }
        Ok(found)
    }

    /// How many endpoints each cluster has, whatever their health.
    ///
    /// # Errors
    /// No connection, no answer, or not the answer of Envoy.
    pub async fn clusters(&self) -> Result<BTreeMap<String, u64>, Error> {
        let body = self.get("/clusters", &[("format", "json")]).await?;
        clusters::endpoints(&body).map_err(|error| self.unexpected(error.to_string()))
    }

    /// Whether a cluster is of a kind whose endpoints `/clusters` doesn't show, such as an aggregate.
    /// False if the dump doesn't say.
    pub async fn has_hidden_endpoints(&self, cluster: &str) -> bool {
        for part in ["static_clusters", "dynamic_active_clusters"] {
            let request = self.request(Method::GET, "/config_dump", &[("resource", part)]);
            let answer = self.send(request).await;
            if answer.is_ok_and(|(status, body)| {
                status.is_success() && clusters::has_hidden_endpoints(&body, cluster)
            }) {
                return true;
            }
        }
        false
    }

    /// Changes the runtime: all keys of the update at once.
    ///
    /// # Errors
    /// No connection, no answer, no admin layer, or an update that Envoy refuses.
    pub async fn modify(&self, update: &Update) -> Result<(), Error> {
        let form = update.form_body().map_err(|error| Error::Usage { what: error.to_string() })?;
        let request = self
            .request(Method::POST, "/runtime_modify", &[])
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let (status, body) = self.send(request).await?;
        if status.is_success() {
            return Ok(());
        }
        let body = beginning(&body);
        let url = self.url.clone();
        // A 503 is also what Envoy says to a value that its parser does not take.
        if status == StatusCode::SERVICE_UNAVAILABLE && body.to_lowercase().contains("admin layer")
        {
            return Err(Error::NoAdminLayer { url });
        }
        if status == StatusCode::NOT_FOUND {
            return Err(self.unexpected(format!("{status} to /runtime_modify")));
        }
        Err(Error::Refused { url, status: status.as_u16(), body })
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
        let (status, body) = self.send(self.request(Method::GET, path, query)).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(self.unexpected(format!("answered {status} to {path}: {}", beginning(&body))))
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url).timeout(self.deadline)
    }

    /// Sends a request and reads the answer to its end, or to the limit.
    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), Error> {
        let request = request.build().map_err(|error| self.unexpected(error.to_string()))?;
        let path = request.url().path().to_owned();
        let failed = |error: reqwest::Error| self.failed(&error, &path);
        let mut answer = self.http.execute(request).await.map_err(failed)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LIMIT {
                return Err(self.unexpected(format!("answers more than {LIMIT} bytes to {path}")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }

    fn failed(&self, error: &reqwest::Error, path: &str) -> Error {
        let url = self.url.clone();
        if error.is_timeout() && !error.is_connect() {
            let seconds = self.deadline.as_secs_f64();
            return Error::NoAnswer { url, request: path.to_owned(), seconds };
        }
        if error.is_connect() || error.is_timeout() {
            return Error::Unreachable { url, cause: root_cause(error) };
        }
        self.unexpected(format!("broke off its answer to {path}: {}", root_cause(error)))
    }

    fn unexpected(&self, mismatch: String) -> Error {
        Error::UnexpectedResponse { url: self.url.clone(), mismatch }
    }
}

/// The first line of an answer, short enough for a message.
fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..200).unwrap_or(body)).into_owned();
    text.lines().next().unwrap_or("").trim().to_owned()
}
