//! MLflow's model registry over its REST API 2.0: aliases, tags, and where a version's files are.

use std::time::Duration;

use canary_rollout::registry::Aliases;
use canary_rollout::spec::MlflowRegistry;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::credentials::Credentials;
use crate::http::{self, cause, proxy};
use crate::text::shortened;

#[cfg(test)]
mod tests;

/// The longest that an answer may take, its body included.
const WITHIN: Duration = Duration::from_secs(10);
/// The most bytes that are read of one.
const LIMIT: usize = 4 << 20;
/// The longest text of an error, in characters.
const LONGEST: usize = 300;
/// What MLflow says of an alias that no version has (with status 400).
const NO_ALIAS: &str = "INVALID_PARAMETER_VALUE";

/// Why the registry doesn't do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegistryError {
    /// It may work later: no connection, a busy server, credentials that aren't valid (yet).
    Unavailable(String),
    /// It would be refused again: there is no such model or version.
    Refused(String),
}

impl RegistryError {
    /// What happened, for people.
    pub(crate) fn why(&self) -> &str {
        let (Self::Unavailable(why) | Self::Refused(why)) = self;
        why
    }
}

/// One registered model of a registry.
#[derive(Debug)]
pub(crate) struct MlflowClient {
    http: Client,
    api: Url,
    registry: MlflowRegistry,
}

/// What MLflow answers instead of a result.
#[derive(Default, Deserialize)]
#[serde(default)]
struct MlflowError {
    error_code: String,
    message: String,
}

impl MlflowClient {
    /// A client for a registry. It follows no redirect, so credentials go nowhere else.
    ///
    /// # Errors
    /// If the address is none, or no HTTP client can be made.
    pub(crate) fn new(registry: MlflowRegistry) -> Result<Self, String> {
        let http = http::outside().timeout(WITHIN);
        let unusable = |why: String| format!("registry {}: {why}", registry.uri);
        let plain = http::is_plain(&registry.uri).map_err(unusable)?;
        let http = if plain { http::plain(http) } else { http };
        let http = http.build().map_err(|error| unusable(cause(&error)))?;
        let base = format!("{}/api/2.0/mlflow/", registry.uri.trim_end_matches('/'));
        let api = Url::parse(&base).map_err(|error| format!("{}: {error}", registry.uri))?;
        Ok(Self { http, api, registry })
    }

    /// The versions that have the two aliases now.
    ///
    /// # Errors
    /// If the registry can't be asked, or has no such model.
    pub(crate) async fn aliases(&self) -> Result<Aliases, RegistryError> {
        let candidate = self.version_with(&self.registry.candidate).await?;
        let champion = self.version_with(&self.registry.champion).await?;
        Ok(Aliases { candidate, champion })
    }

    async fn version_with(&self, alias: &str) -> Result<Option<String>, RegistryError> {
        let query = [("name", self.registry.model.as_str()), ("alias", alias)];
        match self.get("registered-models/alias", &query).await? {
            Ok(answer) => match answer.pointer("/model_version/version") {
                Some(Value::String(version)) => Ok(Some(version.clone())),
                Some(Value::Number(version)) => Ok(Some(version.to_string())),
                _ => Err(self.unavailable("the answer names no version")),
            },
            Err((StatusCode::BAD_REQUEST, error)) if error.error_code == NO_ALIAS => Ok(None),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// Where a version's files are.
    ///
    /// # Errors
    /// If the registry can't be asked, or has no such version.
    pub(crate) async fn download_uri(&self, version: &str) -> Result<String, RegistryError> {
        let query = [("name", self.registry.model.as_str()), ("version", version)];
        let answer = self.get("model-versions/get-download-uri", &query).await?;
        let answer = answer.map_err(|refusal| self.refused(refusal))?;
        let uri = answer.get("artifact_uri").and_then(Value::as_str);
        uri.map(str::to_owned).ok_or_else(|| self.unavailable("the answer has no artifact_uri"))
    }

    /// Sets a tag of a version.
    ///
    /// # Errors
    /// If the registry can't be asked, or has no such version.
    pub(crate) async fn set_tag(
        &self,
        version: &str,
        key: &str,
        value: &str,
    ) -> Result<(), RegistryError> {
        let model = &self.registry.model;
        let body = json!({"name": model, "version": version, "key": key, "value": value});
        self.post("model-versions/set-tag", &body).await
    }

    /// Gives the alias champion to a version.
    ///
    /// # Errors
    /// If the registry can't be asked, or has no such version.
    pub(crate) async fn set_champion(&self, version: &str) -> Result<(), RegistryError> {
        let MlflowRegistry { model, champion, .. } = &self.registry;
        let body = json!({"name": model, "alias": champion, "version": version});
        self.post("registered-models/alias", &body).await
    }

    async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Result<Value, (StatusCode, MlflowError)>, RegistryError> {
        let mut url = self.url(path)?;
        url.query_pairs_mut().extend_pairs(query);
        self.ask(self.http.get(url)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(), RegistryError> {
        let request = self.http.post(self.url(path)?);
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/json");
        let answer = self.ask(request.body(body.to_string())).await?;
        answer.map(drop).map_err(|refusal| self.refused(refusal))
    }

    fn url(&self, path: &str) -> Result<Url, RegistryError> {
        self.api.join(path).map_err(|error| self.unavailable(&error.to_string()))
    }

    /// Sends a request: the answer, or with which status and words MLflow refused.
    async fn ask(
        &self,
        request: RequestBuilder,
    ) -> Result<Result<Value, (StatusCode, MlflowError)>, RegistryError> {
        // Each time anew, as MLflow does it, so that a renewed password or token counts.
        let credentials = Credentials::find();
        let request = match &credentials {
            Some(credentials) => credentials.add_to(request),
            None => request,
        };
        let redacted = |text: &str| {
            let text = proxy::redact(text);
            credentials.as_ref().map_or_else(|| text.clone(), |found| found.redact(&text))
        };
        let failed = |error: reqwest::Error| self.unavailable(&cause(&error));
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status.is_redirection() {
            let why = format!("{status}: redirects are not followed; give its final address");
            return Err(self.unavailable(&why));
        }
        let body = http::body(&mut answer, LIMIT).await.map_err(failed)?;
        let body = body.ok_or_else(|| self.unavailable(&format!("more than {LIMIT} bytes")))?;
        if status.is_success() {
            let value = serde_json::from_slice(&body);
            return value.map(Ok).map_err(|_| {
                self.unavailable(&format!("{status}, but the answer is not MLflow's"))
            });
        }
        let mut error: MlflowError = serde_json::from_slice(&body).unwrap_or_default();
        error.message = redacted(&error.message);
        Ok(Err((status, error)))
    }

    /// A refusal that MLflow explains with its own code is final, if the request is at fault.
    fn refused(&self, (status, error): (StatusCode, MlflowError)) -> RegistryError {
        let said =
            if error.message.is_empty() { String::new() } else { format!(": {}", error.message) };
        let why = format!("{status}{said}");
        let at_fault = matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND);
        if at_fault && !error.error_code.is_empty() {
            RegistryError::Refused(self.at_registry(&why))
        } else {
            self.unavailable(&why)
        }
    }

    fn unavailable(&self, why: &str) -> RegistryError {
        RegistryError::Unavailable(self.at_registry(why))
    }

    fn at_registry(&self, why: &str) -> String {
        let MlflowRegistry { uri, .. } = &self.registry;
        shortened(&format!("registry {uri}{}: {why}", proxy::through(uri)), LONGEST)
    }
}
