//! The one place where HTTP clients come from.

pub(crate) mod proxy;

use std::sync::Once;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response};
use serde::Serialize;

/// The start of a client for what is near: Envoys and the controller. It never goes through a proxy of
/// the environment.
pub(crate) fn direct() -> ClientBuilder {
    outside().no_proxy()
}

/// The start of a client for the world outside: gates, notifications, deploy hooks, Prometheus, registries. It
/// goes through the environment's proxies (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`). No client
/// follows redirects, and TLS builds without anything but a C compiler.
pub(crate) fn outside() -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error says that there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().redirect(Policy::none())
}

/// A client that speaks plain http alone: the system's certificates needn't be read for it, and may be
/// missing.
pub(crate) fn plain(client: ClientBuilder) -> ClientBuilder {
    client.tls_certs_only(Vec::new())
}

/// Whether a URL of the world outside needs no more than a plain client: neither it nor the proxy on the way
/// speaks https.
///
/// # Errors
/// The environment names a proxy for it that can't be used.
pub(crate) fn is_plain(url: &str) -> Result<bool, String> {
    let proxy = proxy::for_url(url)?;
    let secure = |url: &str| url.starts_with("https://");
    Ok(url.starts_with("http://") && !proxy.as_deref().is_some_and(secure))
}

/// Posts JSON, and gives the answer before its body was read.
///
/// # Errors
/// What happened, without the URL, which may hold a secret.
pub(crate) async fn post_json(
    http: &Client,
    url: &str,
    timeout: Duration,
    content: &impl Serialize,
) -> Result<Response, String> {
    let body = serde_json::to_vec(content).map_err(|error| error.to_string())?;
    let request = http.post(url).timeout(timeout);
    let request = request.header(reqwest::header::CONTENT_TYPE, "application/json");
    request.body(body).send().await.map_err(|error| cause(&error))
}

/// The innermost cause of an error: the one that says what happened. It never shows a URL.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// What happened, without the URL, which may hold a secret.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    root_cause(error)
}

/// An answer's body; `None` if it has more than `limit` bytes.
pub(crate) async fn body(
    answer: &mut Response,
    limit: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
