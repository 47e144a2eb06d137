//! A client for Envoy's admin, on a unix socket or a TCP port. One connection a request: an Envoy
//! that was restarted isn't a special case.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Where an admin listens.
#[derive(Clone, Debug)]
pub enum AdminAddress {
    /// A unix socket, which Envoy makes with mode 0600.
    Unix(PathBuf),
    /// A TCP port of the loopback address.
    Tcp(SocketAddr),
}

impl AdminAddress {
    /// As Envoy's `config.core.v3.Address`. `mode`: the owner alone may connect (0600); for the
    /// listening side.
    pub(crate) fn as_envoy(&self, mode: bool) -> Value {
        match self {
            Self::Unix(path) if mode => json!({"pipe": {"path": path, "mode": 0o600}}),
            Self::Unix(path) => json!({"pipe": {"path": path}}),
            Self::Tcp(at) => {
                json!({"socket_address": {"address": at.ip(), "port_value": at.port()}})
            }
        }
    }
}

/// As `canaryctl --envoy` takes it.
impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(at) => write!(f, "http://{at}"),
        }
    }
}

/// Client of one Envoy's admin interface.
#[derive(Clone, Debug)]
pub struct EnvoyAdmin {
    address: AdminAddress,
}

impl EnvoyAdmin {
    /// The admin at this address.
    #[must_use]
    pub fn new(address: AdminAddress) -> Self {
        Self { address }
    }

    /// The address that it asks.
    #[must_use]
    pub fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// Status and body of a GET.
    ///
    /// # Errors
    /// When the admin can't be reached or breaks off.
    pub async fn get(&self, path: &str) -> Result<(u16, Bytes), String> {
        self.send(Method::GET, path).await
    }

    /// Status and body of a POST without a body.
    ///
    /// # Errors
    /// When the admin can't be reached or breaks off.
    pub async fn post(&self, path: &str) -> Result<(u16, Bytes), String> {
        self.send(Method::POST, path).await
    }

    /// The JSON answer to a GET.
    ///
    /// # Panics
    /// On anything but a 200 with JSON.
    pub async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(status, 200, "GET {path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("GET {path}: no JSON: {error}"))
    }

    async fn send(&self, method: Method, path: &str) -> Result<(u16, Bytes), String> {
        let result = match &self.address {
            AdminAddress::Unix(socket) => match UnixStream::connect(socket).await {
                Ok(stream) => exchange(stream, method, path).await,
                Err(error) => Err(error.to_string()),
            },
            AdminAddress::Tcp(at) => match TcpStream::connect(at).await {
                Ok(stream) => exchange(stream, method, path).await,
                Err(error) => Err(error.to_string()),
            },
        };
        result.map_err(|error| format!("the admin at {}: {path}: {error}", self.address))
    }
}

async fn exchange<S>(stream: S, method: Method, path: &str) -> Result<(u16, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "admin");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    connection.abort();
    Ok((status, body))
}
