//! What an upstream answers to one request: the behavior, applied.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Channel, Full, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::{Behavior, Fault, RecordedRequest};

pub(super) type UpstreamBody = BoxBody<Bytes, io::Error>;

/// The answer of this version, to this request. `error`: it's this request's turn to fail.
pub(super) fn answer(
    version: &str,
    behavior: &Behavior,
    seen: &RecordedRequest,
    error: bool,
) -> Response<UpstreamBody> {
    let whole = |status, body| match behavior.chunks {
        Some(size) => chunked(status, body, size, behavior.pause),
        None => plain(status, body),
    };
    let mut response = match behavior.script.as_ref().and_then(|script| script(seen)) {
        Some((status, body)) => whole(status, body),
        None if behavior.fault == Fault::Truncate && !error => truncated(&body(version, behavior)),
        None if is_grpc(&seen.headers) => grpc(behavior, error),
        None if error => plain(behavior.error_status, Bytes::from(version.to_owned())),
        None => whole(behavior.status, body(version, behavior)),
    };
    if seen.method == Method::HEAD {
        // By HTTP/2 hyper would send the body, and Envoy reset the stream.
        *response.body_mut() = Full::default().map_err(never).boxed();
    }
    let headers = response.headers_mut();
    headers.insert("x-upstream", value(version));
    for (name, text) in &behavior.headers {
        headers
            .append(HeaderName::from_bytes(name.as_bytes()).expect("a header name"), value(text));
    }
    response
}

fn body(version: &str, behavior: &Behavior) -> Bytes {
    behavior.body.clone().unwrap_or_else(|| Bytes::from(version.to_owned()))
}

/// Whether the request asks for an upgrade, as a websocket client does.
pub(super) fn wants_upgrade(request: &Request<Incoming>) -> bool {
    request.headers().contains_key(UPGRADE)
}

/// Agrees to an upgrade and echoes from then on.
pub(super) fn upgrade(version: &str, request: Request<Incoming>) -> Response<UpstreamBody> {
    let protocol = request.headers().get(UPGRADE).cloned().unwrap_or_else(|| value("websocket"));
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
            let _ended = tokio::io::copy(&mut from, &mut to).await;
        }
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS.as_u16(), Bytes::new());
    response.headers_mut().insert(UPGRADE, protocol);
    response.headers_mut().insert(CONNECTION, value("upgrade"));
    response.headers_mut().insert("x-upstream", value(version));
    response
}

fn plain(status: u16, body: Bytes) -> Response<UpstreamBody> {
    let mut response = Response::new(Full::new(body).map_err(never).boxed());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

/// Sends the body piece by piece.
fn chunked(status: u16, body: Bytes, size: usize, pause: Duration) -> Response<UpstreamBody> {
    let (mut sender, channel) = Channel::<Bytes, io::Error>::new(1);
    tokio::spawn(async move {
        let mut rest = body;
        while !rest.is_empty() {
            let piece = rest.split_to(size.min(rest.len()));
            if sender.send_data(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    });
    let mut response = Response::new(channel.boxed());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

/// Sends half of the body and breaks off. The pause lets that half leave first.
fn truncated(body: &Bytes) -> Response<UpstreamBody> {
    let half = body.slice(..body.len() / 2);
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        let _envoy_left_first = sender.send_data(half).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        sender.abort(io::Error::other("the test wants it broken off"));
    });
    Response::new(body.boxed())
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/grpc"))
}

/// A gRPC answer: 200 and one empty message, the status in the trailers or, without a message, in
/// the headers.
fn grpc(behavior: &Behavior, error: bool) -> Response<UpstreamBody> {
    let status = status_trailers(behavior, error);
    let mut response = if behavior.grpc_trailers_only {
        let mut response = plain(200, Bytes::new());
        response.headers_mut().extend(status);
        response
    } else {
        let message = Full::new(Bytes::from_static(&[0; 5])).map_err(never);
        Response::new(message.with_trailers(async { Some(Ok(status)) }).boxed())
    };
    response.headers_mut().insert(CONTENT_TYPE, value("application/grpc"));
    response
}

/// Whether a request is to be answered as a gRPC stream.
pub(super) fn wants_stream(request: &Request<Incoming>, behavior: &Behavior) -> bool {
    behavior.grpc_stream && is_grpc(request.headers())
}

/// Sends back each message as it comes, and then the status.
pub(super) fn stream(
    version: &str,
    behavior: &Behavior,
    error: bool,
    request: Request<Incoming>,
) -> Response<UpstreamBody> {
    let trailers = status_trailers(behavior, error);
    let echo = request.into_body().map_err(io::Error::other);
    let mut response = Response::new(echo.with_trailers(async { Some(Ok(trailers)) }).boxed());
    response.headers_mut().insert(CONTENT_TYPE, value("application/grpc"));
    response.headers_mut().insert("x-upstream", value(version));
    response
}

/// gRPC's status as a header or a trailer.
fn status_trailers(behavior: &Behavior, error: bool) -> HeaderMap {
    let status = value(&if error { behavior.grpc_error } else { 0 }.to_string());
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), status)])
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a header value")
}

fn never(impossible: Infallible) -> io::Error {
    match impossible {}
}
