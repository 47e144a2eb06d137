//! The one place where HTTP clients come from.

use std::sync::Once;

/// The beginning of every client: no proxy of the environment, no redirects, and a TLS that builds
/// without anything but a C compiler.
pub(crate) fn client() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error says that there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none())
}
