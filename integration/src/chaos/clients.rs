//! The clients: plain requests and streams to both rollouts at a steady rate, each with a number, and what
//! became of it with the time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Response};
use tokio::task::JoinSet;

use super::upstreams::{ID, STREAM};
use crate::{ClientRequest, TestClient, wait_limit};

/// A request without an end after this time hangs.
const PATIENCE: Duration = Duration::from_secs(12);
/// Every fourth request is a stream.
const STREAMS: u64 = 4;

/// Which of the two rollouts a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChaosRollout {
    /// The one that the controller drives.
    Demo,
    /// The one whose weight and labels the run itself sets.
    Storm,
}

impl ChaosRollout {
    /// Both of them, the controller's first.
    pub const ALL: [Self; 2] = [Self::Demo, Self::Storm];

    /// Its name in the filter's configuration, which is also its path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Storm => "storm",
        }
    }
}

/// How an answer ended, as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AnswerEnd {
    /// With everything that belongs to it.
    Whole,
    /// Nothing was sent: the connection was refused.
    Refused,
    /// There were no headers.
    NoHeaders(String),
    /// The body broke off.
    BrokenOff(String),
    /// A stream ended without its last event.
    NotDone,
    /// It was still going on when the client gave up.
    TimedOut,
}

/// One request and what its client saw. Times are in seconds since the beginning.
#[derive(Clone, Debug)]
pub(super) struct ChaosRequest {
    /// Its number, which the upstreams note as well.
    pub id: u64,
    /// The rollout whose path it asked for.
    pub rollout: ChaosRollout,
    /// Whether its answer is a stream.
    pub stream: bool,
    /// When it was sent.
    pub begun: f64,
    /// When its answer's headers came, if they did.
    pub answered: Option<f64>,
    /// When it was over.
    pub ended: f64,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// The version that the answer names.
    pub version: Option<String>,
    /// How the answer ended.
    pub end: AnswerEnd,
}

impl ChaosRequest {
    /// Whether its client got everything it asked for.
    #[must_use]
    pub(super) fn succeeded(&self) -> bool {
        self.status == Some(200) && self.end == AnswerEnd::Whole
    }
}

/// The clients at work; they end when it's dropped.
pub(super) struct ChaosClients {
    connections: JoinSet<()>,
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Vec<ChaosRequest>>>,
}

impl ChaosClients {
    /// Starts as many clients as keep the rate while some of them wait for streams.
    pub(super) fn start(to: SocketAddr, start: Instant, per_second: f64) -> Self {
        let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut connections = JoinSet::new();
        for _ in 0..48 {
            let client = ChaosClient { client: TestClient::new(to), to, start };
            let (stop, next, log) = (Arc::clone(&stop), Arc::clone(&next), Arc::clone(&log));
            connections.spawn(client.run(per_second, stop, next, log));
        }
        Self { connections, stop, log }
    }

    /// Sends no more, waits for what is under way, and gives all requests by their numbers.
    pub(super) async fn finish(mut self) -> Vec<ChaosRequest> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.connections.join_next().await {
            done.expect("a client doesn't panic");
        }
        let mut log = std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner));
        log.sort_by_key(|request| request.id);
        log
    }
}

/// One client with a connection that it keeps while it can.
struct ChaosClient {
    client: TestClient,
    to: SocketAddr,
    start: Instant,
}

impl ChaosClient {
    async fn run(
        mut self,
        per_second: f64,
        stop: Arc<AtomicBool>,
        next: Arc<AtomicU64>,
        log: Arc<Mutex<Vec<ChaosRequest>>>,
    ) {
        while !stop.load(Ordering::Relaxed) {
            let id = next.fetch_add(1, Ordering::Relaxed);
            #[allow(clippy::cast_precision_loss)]
            let due = self.start + Duration::from_secs_f64(id as f64 / per_second);
            tokio::time::sleep_until(due.into()).await;
            let request = self.send(id).await;
            log.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        }
    }

    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    async fn send(&mut self, id: u64) -> ChaosRequest {
        let rollout = if id.is_multiple_of(2) { ChaosRollout::Demo } else { ChaosRollout::Storm };
        let stream = (id / 2).is_multiple_of(STREAMS);
        let path = format!("/{}{}", rollout.name(), if stream { STREAM } else { "" });
        let ask = ClientRequest::get(&path).header(ID, id.to_string());
        let mut request = ChaosRequest {
            id,
            rollout,
            stream,
            begun: self.now(),
            answered: None,
            ended: 0.0,
            status: None,
            version: None,
            end: AnswerEnd::TimedOut,
        };
        let ended = tokio::time::timeout(wait_limit(PATIENCE), self.read(ask, &mut request)).await;
        if let Ok(end) = ended {
            request.end = end;
        }
        if request.end != AnswerEnd::Whole {
            // A connection in doubt isn't used again.
            self.client = TestClient::new(self.to);
        }
        request.ended = self.now();
        request
    }

    async fn read(&mut self, ask: ClientRequest, request: &mut ChaosRequest) -> AnswerEnd {
        let answer = match self.client.begin(ask).await {
            Ok(answer) => answer,
            // The system's own words: `Connection refused (os error 111)`.
            Err(error) if error.contains("os error 111") => return AnswerEnd::Refused,
            Err(error) => return AnswerEnd::NoHeaders(error),
        };
        request.answered = Some(self.now());
        request.status = Some(answer.status().as_u16());
        request.version = version(answer.headers());
        read_body(answer, request.stream).await
    }
}

fn version(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("x-canary-version")?;
    Some(value.to_str().unwrap_or_default().to_owned())
}

async fn read_body(answer: Response<Incoming>, stream: bool) -> AnswerEnd {
    let events = stream && answer.status() == 200;
    match answer.into_body().collect().await {
        Err(error) => AnswerEnd::BrokenOff(error.to_string()),
        Ok(body) => {
            let done = body.to_bytes().ends_with(b"data: [DONE]\n\n");
            if events && !done { AnswerEnd::NotDone } else { AnswerEnd::Whole }
        }
    }
}

/// How many requests there were, by rollout and kind.
pub(super) fn by_kind(requests: &[ChaosRequest]) -> BTreeMap<(ChaosRollout, bool), u64> {
    let mut kinds = BTreeMap::new();
    for request in requests {
        *kinds.entry((request.rollout, request.stream)).or_default() += 1;
    }
    kinds
}
