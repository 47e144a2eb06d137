//! The running upstream: accepts HTTP/1.1 and HTTP/2 with prior knowledge, remembers what it saw,
//! goes down and up.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::answer::{self, UpstreamBody};
use super::connection::{SharedStream, UpstreamConnection};
use super::wire::RawTarget;
use super::{Behavior, Fault, RawAnswer, RecordedRequest, TestUpstream, relay};
use crate::harness::held_port::HeldPort;

/// How many requests are remembered; of older ones only the count.
const REMEMBERED: usize = 20_000;
const BACKLOG: u32 = 1024;

/// A running upstream; it ends when it's dropped.
#[derive(Debug)]
pub struct Server {
    state: Arc<ServerState>,
    port: HeldPort,
    /// While it is up: what accepts connections.
    accepting: Option<JoinSet<()>>,
}

#[derive(Debug)]
struct ServerState {
    version: String,
    behavior: Mutex<Behavior>,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    count: u64,
    last: VecDeque<RecordedRequest>,
}

impl Server {
    /// Starts the upstream as this version.
    pub(crate) fn start(upstream: &TestUpstream, version: &str) -> Self {
        let behavior = Mutex::new(upstream.behavior.clone());
        let state =
            Arc::new(ServerState { version: version.to_owned(), behavior, log: Mutex::default() });
        let mut server = Self { state, port: HeldPort::new(upstream.at), accepting: None };
        if !upstream.down {
            server.up();
        }
        server
    }

    /// The address that it listens on.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.port.at()
    }

    /// The version it answers as.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.state.version
    }

    /// Changes its behavior from the next request on.
    pub fn change(&self, change: impl FnOnce(&mut Behavior)) {
        change(&mut lock(&self.state.behavior));
    }

    /// How many requests it has seen.
    #[must_use]
    pub fn seen(&self) -> u64 {
        lock(&self.state.log).count
    }

    /// The last requests it has seen, oldest first (20,000 at most).
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.state.log).last.iter().cloned().collect()
    }

    /// Breaks all connections and refuses new ones.
    pub async fn down(&mut self) {
        if let Some(mut accepting) = self.accepting.take() {
            accepting.shutdown().await;
        }
    }

    /// Lets new connections in again.
    pub fn up(&mut self) {
        if self.accepting.is_none() {
            let accepting = self.accepting.insert(JoinSet::new());
            accepting.spawn(accept(self.port.listen(BACKLOG), Arc::clone(&self.state)));
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<ServerState>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _best_effort = stream.set_nodelay(true);
        let (state, connection) = (Arc::clone(&state), UpstreamConnection::new(stream));
        connections.spawn(async move {
            let service = service_fn(|request| {
                let (state, connection) = (Arc::clone(&state), Arc::clone(&connection));
                let stream = connection.next_stream();
                async move { serve(&state, &connection, stream, request).await }
            });
            let io = TokioIo::new(SharedStream(Arc::clone(&connection)));
            let server = auto::Builder::new(TokioExecutor::new());
            tokio::select! {
                biased;
                () = connection.ended() => {}
                _broken_off = server.serve_connection_with_upgrades(io, service) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Answers one request. An error breaks the connection off.
async fn serve(
    state: &ServerState,
    connection: &UpstreamConnection,
    stream: u32,
    request: Request<Incoming>,
) -> Result<Response<UpstreamBody>, io::Error> {
    if answer::wants_upgrade(&request) {
        state.note(&head(&request));
        return Ok(answer::upgrade(&state.version, request));
    }
    let mut seen = head(&request);
    let behavior = lock(&state.behavior).clone();
    if answer::wants_stream(&request, &behavior) {
        let error = state.note(&seen);
        return Ok(answer::stream(&state.version, &behavior, error, request));
    }
    seen.body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let behavior = lock(&state.behavior).clone();
    let error = state.note(&seen) && behavior.script.is_none();
    tokio::time::sleep(behavior.latency).await;
    if let Some(raw) = behavior.raw.as_ref().and_then(|raw| raw(&seen)) {
        let raw = RawAnswer::header(raw, "x-upstream", &state.version);
        RawTarget { connection, version: seen.version, stream }.say(&raw).await?;
    }
    match behavior.fault {
        Fault::Reset => return Err(io::Error::other("the test wants a reset")),
        Fault::Hang => std::future::pending().await,
        Fault::None | Fault::Truncate => {}
    }
    let mut response = answer::answer(&state.version, &behavior, &seen, error);
    if let Some(next) = behavior.next {
        relay::call(next, &seen, response.headers_mut()).await?;
    }
    Ok(response)
}

impl ServerState {
    /// Remembers a request, and tells whether it's its turn to fail.
    #[allow(clippy::cast_precision_loss)]
    fn note(&self, seen: &RecordedRequest) -> bool {
        let share = lock(&self.behavior).errors;
        let mut log = lock(&self.log);
        let before = (log.count as f64 * share).floor();
        log.count += 1;
        log.last.push_back(seen.clone());
        if log.last.len() > REMEMBERED {
            log.last.pop_front();
        }
        (log.count as f64 * share).floor() > before
    }
}

fn head(request: &Request<Incoming>) -> RecordedRequest {
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let (method, version, headers) =
        (request.method().clone(), request.version(), request.headers().clone());
    RecordedRequest { method, path, version, headers, body: hyper::body::Bytes::new() }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
