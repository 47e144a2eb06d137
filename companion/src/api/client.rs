//! A client of a running controller.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::access::Token;
use super::command_body::CommandBody;
use crate::controller::status::Status;
use crate::error::Error;
use crate::http::root_cause;

/// Where a controller is looked for that was not named.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8411";
/// The environment variable that names another default.
pub const CONTROLLER_VARIABLE: &str = "CANARYCTL_CONTROLLER";

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Somewhat longer than the controller lets a command wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The most bytes that are read of an answer.
const LIMIT: usize = 16 << 20;

/// A rollout as the interface gives it: of all that, its detail is for this client.
#[derive(Deserialize)]
struct Served {
    detail: Status,
}

/// A client of one controller's HTTP interface.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Token>,
}

impl Client {
    /// A client of the controller at a URL, or at the default one.
    ///
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn new(url: Option<&Url>, token: Option<Token>) -> Result<Self, Error> {
        let base = match url {
            Some(url) => url.clone(),
            None => Url::parse(DEFAULT_URL).map_err(|error| unusable(DEFAULT_URL, &error))?,
        };
        let mut client =
            crate::http::direct().connect_timeout(CONNECT_WITHIN).timeout(ANSWER_WITHIN);
        if base.scheme() == "http" {
            client = crate::http::plain(client);
        }
        let http = client.build().map_err(|error| unusable(base.as_str(), &error))?;
        Ok(Self { http, base, token })
    }

    /// A rollout as it is now.
    ///
    /// # Errors
    /// No controller, none that runs this rollout, or not allowed.
    pub async fn status(&self, rollout: &str) -> Result<Status, Error> {
        let path = ["api", "v1", "rollouts", rollout];
        Ok(self.ask::<Served>(Method::GET, &path, None).await?.detail)
    }

    /// All of the controller's rollouts.
    ///
    /// # Errors
    /// No controller, or not allowed.
    pub async fn list(&self) -> Result<Vec<Status>, Error> {
        let all: Vec<Served> = self.ask(Method::GET, &["api", "v1", "rollouts"], None).await?;
        Ok(all.into_iter().map(|served| served.detail).collect())
    }

    /// Steers a rollout; gives what it is after that.
    ///
    /// # Errors
    /// As for [`Client::status`], and where the controller refuses.
    pub async fn steer(
        &self,
        rollout: &str,
        verb: &str,
        body: &CommandBody,
    ) -> Result<Status, Error> {
        // Texts and a flag: this cannot fail.
        let body = serde_json::to_vec(body).unwrap_or_default();
        let path = ["api", "v1", "rollouts", rollout, verb];
        Ok(self.ask::<Served>(Method::POST, &path, Some(body)).await?.detail)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Vec<u8>>,
    ) -> Result<T, Error> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        }
        if let Some(token) = &self.token {
            request = request.header(reqwest::header::AUTHORIZATION, token.bearer());
        }
        let mut answer = request.send().await.map_err(|error| self.failed(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(&error))? {
            if body.len() + chunk.len() > LIMIT {
                return Err(self.unexpected("a longer answer than any controller's"));
            }
            body.extend_from_slice(&chunk);
        }
        if answer.status().is_success() {
            return serde_json::from_slice(&body)
                .map_err(|_| self.unexpected("not the answer of a controller"));
        }
        Err(self.refused(answer.status(), &body))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let said = serde_json::from_slice::<Value>(body).ok();
        let said = said.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str);
        let Some(said) = said else {
            return self.unexpected(&format!("answered {status}, as no controller does"));
        };
        let (url, cause) = (self.url(), said.to_owned());
        match status {
            StatusCode::BAD_REQUEST => Error::Usage { what: format!("{url}: {cause}") },
            StatusCode::NOT_FOUND => Error::NotHere { url, cause },
            StatusCode::GATEWAY_TIMEOUT => Error::Late { what: format!("{url}: {cause}") },
            StatusCode::SERVICE_UNAVAILABLE => Error::NoController { url, cause },
            _ => Error::RefusedByController { url, cause },
        }
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        if error.is_timeout() && !error.is_connect() {
            return Error::Late { what: format!("{}: no answer in time", self.url()) };
        }
        unusable(&self.url(), error)
    }

    fn unexpected(&self, what: &str) -> Error {
        Error::NoController { url: self.url(), cause: what.to_owned() }
    }

    fn url(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }
}

fn unusable(url: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::NoController { url: url.to_owned(), cause: root_cause(error) }
}
