//! A forward proxy for plain http. It knows the hosts of a made-up internet, so whatever reaches them came through
//! it. Asked as a usual web server, it answers 200.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::task::JoinHandle;

use crate::fake::runtime;

/// What a proxy does with requests.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ProxyMode {
    #[default]
    Forwards,
    /// It answers with this status, and a text that repeats the credentials.
    Refuses(u16),
    /// It takes requests and says nothing.
    Hangs,
}

/// What a proxy knows and was asked.
#[derive(Default)]
pub(crate) struct Proxy {
    pub(crate) mode: ProxyMode,
    /// Where the requests to a host go; the proxy answers for all others itself.
    pub(crate) hosts: BTreeMap<String, String>,
    /// Each request's URL and body.
    pub(crate) asked: Vec<(String, String)>,
    /// The credentials that came with each.
    pub(crate) credentials: Vec<Option<String>>,
}

type Shared = Arc<Mutex<Proxy>>;

/// A proxy that is running; it stops when it is dropped.
pub(crate) struct FakeProxy {
    /// Its address, as `127.0.0.1:3128`.
    pub(crate) address: String,
    proxy: Shared,
    server: JoinHandle<()>,
}

impl Drop for FakeProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeProxy {
    pub(crate) fn start() -> Self {
        let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let proxy = Shared::default();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&proxy));
        let server = runtime().spawn(async { axum::serve(listener, app).await.unwrap() });
        Self { address, proxy, server }
    }

    /// The proxy, to change and to look at.
    pub(crate) fn get(&self) -> MutexGuard<'_, Proxy> {
        self.proxy.lock().unwrap()
    }

    /// Its address as an environment names it, with the password hunter2.
    pub(crate) fn with_password(&self) -> String {
        format!("http://ann:hunter2@{}", self.address)
    }

    /// The bodies that were sent to a host.
    pub(crate) fn bodies(&self, host: &str) -> Vec<String> {
        let proxy = self.get();
        let of_host = proxy.asked.iter().filter(|(url, _)| url.contains(host));
        of_host.map(|(_, body)| body.clone()).collect()
    }
}

async fn answer(State(proxy): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let credentials = parts.headers.get("proxy-authorization");
    let credentials = credentials.map(|value| value.to_str().unwrap().to_owned());
    let (mode, forwarded_to) = {
        let mut proxy = proxy.lock().unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        proxy.asked.push((parts.uri.to_string(), text));
        proxy.credentials.push(credentials.clone());
        let host = parts.uri.host().unwrap_or_default();
        (proxy.mode, proxy.hosts.get(host).cloned())
    };
    match (mode, forwarded_to) {
        (ProxyMode::Hangs, _) => std::future::pending().await,
        (ProxyMode::Refuses(status), _) => {
            let text = format!("hunter2 may not: {}", credentials.unwrap_or_default());
            (StatusCode::from_u16(status).unwrap(), text).into_response()
        }
        (ProxyMode::Forwards, None) => StatusCode::OK.into_response(),
        (ProxyMode::Forwards, Some(to)) => forward(parts, body, &to).await,
    }
}

async fn forward(parts: axum::http::request::Parts, body: Bytes, to: &str) -> Response {
    let path = parts.uri.path_and_query().unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let mut request = http.request(parts.method, format!("{to}{path}")).body(body);
    for name in ["authorization", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    (status, Body::from(answer.bytes().await.unwrap())).into_response()
}
