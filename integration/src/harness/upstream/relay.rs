//! A service that calls another one, as a front calls its back: the version header that it was sent
//! goes along, as people hand on trace headers.

use std::io;
use std::net::SocketAddr;

use hyper::HeaderMap;

use super::RecordedRequest;
use crate::harness::client::{ClientRequest, TestClient};

const VERSION: &str = "x-canary-version";

/// Calls the next service, and notes in the answer's headers who answered there.
pub(super) async fn call(
    next: SocketAddr,
    seen: &RecordedRequest,
    answer: &mut HeaderMap,
) -> Result<(), io::Error> {
    let handed_on = seen.headers.get_all(VERSION).iter();
    let ask = handed_on.fold(ClientRequest::get(&seen.path), |ask, version| {
        ask.header(VERSION, version.as_bytes())
    });
    let there = TestClient::new(next).send(ask).await.map_err(io::Error::other)?;
    if let Some(upstream) = there.headers.get("x-upstream") {
        answer.insert("x-next-upstream", upstream.clone());
    }
    Ok(())
}
