//! A client that says exactly what it's told to, over HTTP/1.1 or HTTP/2, one connection each, and
//! never repeats a request by itself: what the client counts is what Envoy saw.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    method: Method,
    path: String,
    authority: String,
    headers: HeaderMap,
    body: Bytes,
    http2: bool,
}

impl ClientRequest {
    /// A GET of this path.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    /// A request by this method for this path (with its query).
    #[must_use]
    pub fn new(method: Method, path: &str) -> Self {
        let (path, authority) = (path.to_owned(), "service.test".to_owned());
        Self {
            method,
            path,
            authority,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            http2: false,
        }
    }

    /// One more header; a name that was given before is sent twice. The value may be any bytes HTTP
    /// allows.
    ///
    /// # Panics
    /// On a name or value that HTTP can't carry.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).expect("a header value"));
        self
    }

    /// Whom the request is for: `Host`, or `:authority`.
    #[must_use]
    pub fn authority(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    /// The bytes of the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// By HTTP/2 with prior knowledge, instead of HTTP/1.1.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Replaces the path of the request.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Whether its content type is gRPC's.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        let content = self.headers.get(CONTENT_TYPE);
        content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
    }

    fn into_request(self) -> Request<Full<Bytes>> {
        let uri =
            if self.http2 { format!("http://{}{}", self.authority, self.path) } else { self.path };
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri.parse().unwrap_or_else(|error| panic!("{uri}: {error}"));
        *request.headers_mut() = self.headers;
        if !self.http2 {
            let host = HeaderValue::from_str(&self.authority).expect("an authority");
            request.headers_mut().insert(HOST, host);
        }
        request
    }
}

/// A response as the client saw it.
#[derive(Clone, Debug)]
pub struct ClientResponse {
    /// The HTTP status code.
    pub status: u16,
    /// The headers of the response.
    pub headers: HeaderMap,
    /// The trailers, if there were any.
    pub trailers: HeaderMap,
    /// The bytes of the body.
    pub body: Bytes,
    /// From the first byte sent to the last one read.
    pub took: Duration,
}

impl ClientResponse {
    /// A header's value, where it's there exactly once.
    ///
    /// # Panics
    /// When it's there more than once, or isn't text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} more than once: {:?}", self.headers);
        Some(value.to_str().expect("a header as text"))
    }

    /// The value of the version header.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.header("x-canary-version")
    }

    /// Which upstream answered; none for a local reply of Envoy's.
    #[must_use]
    pub fn upstream(&self) -> Option<&str> {
        self.header("x-upstream")
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client with at most one connection of each protocol, made when it's needed.
#[derive(Debug)]
pub struct TestClient {
    to: SocketAddr,
    http1: Option<http1::SendRequest<Full<Bytes>>>,
    http2: Option<http2::SendRequest<Full<Bytes>>>,
}

impl TestClient {
    /// A client of the server at this address.
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        Self { to, http1: None, http2: None }
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// When there is no whole answer: refused, reset, broken off.
    pub async fn send(&mut self, ask: ClientRequest) -> Result<ClientResponse, String> {
        let start = Instant::now();
        read(self.begin(ask).await?, start).await
    }

    /// Sends one request and waits for the headers of its answer. If the answer is dropped before its
    /// end, the client leaves: HTTP/2 resets the stream, HTTP/1.1 closes the connection.
    ///
    /// # Errors
    /// When there are no headers: refused, reset, closed.
    pub async fn begin(&mut self, ask: ClientRequest) -> Result<Response<Incoming>, String> {
        let by_http2 = ask.http2;
        let request = ask.into_request();
        if by_http2 { self.by_http2(request).await } else { self.by_http1(request).await }
    }

    async fn by_http1(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        let mut sender = match self.http1.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => {
                let (sender, connection) =
                    http1::handshake(self.connect().await?).await.map_err(text)?;
                tokio::spawn(connection.with_upgrades());
                sender
            }
        };
        sender.ready().await.map_err(text)?;
        let response = sender.send_request(request).await.map_err(text)?;
        self.http1 = Some(sender);
        Ok(response)
    }

    async fn by_http2(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        let mut sender = match self.http2.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => {
                let handshake = http2::handshake(TokioExecutor::new(), self.connect().await?).await;
                let (sender, connection) = handshake.map_err(text)?;
                tokio::spawn(connection);
                sender
            }
        };
        sender.ready().await.map_err(text)?;
        let response = sender.send_request(request).await.map_err(text)?;
        self.http2 = Some(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<TokioIo<TcpStream>, String> {
        let stream =
            TcpStream::connect(self.to).await.map_err(|error| format!("{}: {error}", self.to))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(TokioIo::new(stream))
    }
}

async fn read(response: Response<Incoming>, start: Instant) -> Result<ClientResponse, String> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(text)?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let (status, headers, body) = (head.status.as_u16(), head.headers, body.to_bytes());
    Ok(ClientResponse { status, headers, trailers, body, took: start.elapsed() })
}

/// An error with its causes: hyper's own message alone says "connection error" and no more.
fn text(error: hyper::Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    message
}
