//! The one place where HTTP clients come from.

use std::sync::Once;

use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Response};

/// The start of a client for what is near: Envoys and the controller. It never goes through a proxy of
/// the environment.
pub(crate) fn direct() -> ClientBuilder {
    outside().no_proxy()
}

/// The start of a client for the world outside: gates, notifications, Prometheus. It goes through the
/// environment's proxies (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`). No client follows
/// redirects, and TLS builds without anything but a C compiler.
pub(crate) fn outside() -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error says that there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().redirect(Policy::none())
}

/// A client that speaks plain http alone: the system's certificates needn't be read for it, and may be
/// missing.
pub(crate) fn plain(client: ClientBuilder) -> ClientBuilder {
    client.tls_certs_only(Vec::new())
}

/// Whether a URL needs no more than a plain client.
pub(crate) fn is_plain(url: &str) -> bool {
    url.starts_with("http://")
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
