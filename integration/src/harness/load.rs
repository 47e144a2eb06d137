//! Many requests at once, and what the client saw of them: the other side of the filter's counters.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::harness::client::{ClientRequest, ClientResponse, TestClient};
use crate::harness::eventually::{MINUTE, wait_limit};
use crate::harness::upstream::FAIL;

/// Requests to be sent; `.await` sends them and gives the tally.
#[derive(Clone)]
#[must_use = "a load is sent when it's awaited or spawned"]
pub struct Load {
    to: SocketAddr,
    requests: u64,
    concurrency: u64,
    rate: Option<f64>,
    shape: Arc<dyn Fn(u64) -> ClientRequest + Send + Sync>,
}

impl Load {
    /// Enough requests that only `stop` ends it.
    pub const ENDLESS: u64 = u64::MAX / 2;

    /// This many requests to this address.
    pub fn to(to: SocketAddr, requests: u64) -> Self {
        Self {
            to,
            requests,
            concurrency: 8,
            rate: None,
            shape: Arc::new(|_| ClientRequest::get("/")),
        }
    }

    /// How many connections share the work, each with one request at a time (default 8).
    pub fn concurrency(mut self, connections: u64) -> Self {
        self.concurrency = connections;
        self
    }

    /// At most this many requests a second, evenly spaced, instead of as many as possible.
    pub fn rate(mut self, per_second: f64) -> Self {
        self.rate = Some(per_second);
        self
    }

    /// What the n-th request looks like, from 0.
    pub fn each(mut self, shape: impl Fn(u64) -> ClientRequest + Send + Sync + 'static) -> Self {
        self.shape = Arc::new(shape);
        self
    }

    /// Every tenth request asks this version to fail it; see [`crate::TestUpstream::fails_on_demand`].
    pub fn failing_a_tenth(self, version: &str) -> Self {
        let version = version.to_owned();
        self.each(move |n| {
            let ask = ClientRequest::get("/");
            if n % 10 == 0 { ask.header(FAIL, &version) } else { ask }
        })
    }

    /// Sends in the background, and goes on after an error.
    #[must_use]
    pub fn spawn(self) -> RunningLoad {
        let tally = Arc::new(Mutex::new(LoadTally::default()));
        let (next, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let mut connections = JoinSet::new();
        for _ in 0..self.concurrency {
            let worker = Worker {
                client: TestClient::new(self.to),
                next: Arc::clone(&next),
                shape: Arc::clone(&self.shape),
                tally: Arc::clone(&tally),
            };
            connections.spawn(worker.run(start, self.requests, self.rate));
        }
        RunningLoad { connections, next, tally, start }
    }
}

impl IntoFuture for Load {
    type Output = LoadTally;
    type IntoFuture = Pin<Box<dyn Future<Output = LoadTally> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut traffic = self.spawn();
            traffic.finish().await;
            traffic.take()
        })
    }
}

/// A load under way; it ends when it's dropped.
#[derive(Debug)]
pub struct RunningLoad {
    connections: JoinSet<()>,
    next: Arc<AtomicU64>,
    tally: Arc<Mutex<LoadTally>>,
    start: Instant,
}

impl RunningLoad {
    /// How long it has been running: the clock of [`RequestOutcome::at`].
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// What was seen since the last call.
    #[must_use]
    pub fn take(&self) -> LoadTally {
        std::mem::take(&mut *self.tally.lock().expect("no holder panics"))
    }

    /// Sends no more, waits for what is under way, and gives what was seen since the last `take`.
    ///
    /// # Panics
    /// When a request is still without an end after a minute (see [`crate::wait_limit`]).
    pub async fn stop(mut self) -> LoadTally {
        self.next.store(Load::ENDLESS, Ordering::Relaxed);
        let ended = tokio::time::timeout(wait_limit(MINUTE), self.finish()).await;
        assert!(ended.is_ok(), "a request has no end; seen of the others: {:?}", self.take());
        self.take()
    }

    /// Waits until all of it is sent and answered, and gives what was seen since the last `take`.
    pub async fn finished(mut self) -> LoadTally {
        self.finish().await;
        self.take()
    }

    async fn finish(&mut self) {
        while let Some(done) = self.connections.join_next().await {
            done.expect("a client's connection doesn't panic");
        }
    }
}

struct Worker {
    client: TestClient,
    next: Arc<AtomicU64>,
    shape: Arc<dyn Fn(u64) -> ClientRequest + Send + Sync>,
    tally: Arc<Mutex<LoadTally>>,
}

impl Worker {
    async fn run(mut self, start: Instant, requests: u64, rate: Option<f64>) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= requests {
                return;
            }
            if let Some(rate) = rate {
                #[allow(clippy::cast_precision_loss)]
                let due = start + Duration::from_secs_f64(number as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
            }
            let at = start.elapsed();
            let result = self.client.send((self.shape)(number)).await;
            let mut tally = self.tally.lock().expect("no holder panics");
            match result {
                Ok(answer) => tally.outcomes.push(RequestOutcome::new(at, &answer)),
                Err(error) => tally.broken.push(error),
            }
        }
    }
}

/// What the client saw of one request.
#[derive(Clone, Debug)]
pub struct RequestOutcome {
    /// When it was sent, since the load's start.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// The HTTP status code.
    pub status: u16,
    /// The value of the version header.
    pub version: Option<String>,
    /// Who answered; none for a local reply of Envoy's.
    pub upstream: Option<String>,
}

impl RequestOutcome {
    fn new(at: Duration, answer: &ClientResponse) -> Self {
        let (version, upstream) =
            (answer.version().map(str::to_owned), answer.upstream().map(str::to_owned));
        Self { at, took: answer.took, status: answer.status, version, upstream }
    }
}

/// What the client saw.
#[derive(Clone, Default)]
pub struct LoadTally {
    /// The requests that were answered, in the order of their answers.
    pub outcomes: Vec<RequestOutcome>,
    /// The others, each with what went wrong.
    pub broken: Vec<String>,
}

impl LoadTally {
    /// How many answers are so.
    pub fn count(&self, holds: impl Fn(&RequestOutcome) -> bool) -> u64 {
        self.outcomes.iter().filter(|outcome| holds(outcome)).count() as u64
    }

    /// How many answers bear this version stamp.
    #[must_use]
    pub fn of_version(&self, version: &str) -> u64 {
        self.count(|outcome| outcome.version.as_deref() == Some(version))
    }

    /// How many requests there were.
    #[must_use]
    pub fn requests(&self) -> u64 {
        (self.outcomes.len() + self.broken.len()) as u64
    }

    /// How many answers have this status.
    #[must_use]
    pub fn with_status(&self, status: u16) -> u64 {
        self.count(|outcome| outcome.status == status)
    }
}

/// Counts by version stamp, upstream and status: what a failing test wants to print.
impl fmt::Debug for LoadTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
        for outcome in &self.outcomes {
            let or_none =
                |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
            let (version, upstream) = (or_none(&outcome.version), or_none(&outcome.upstream));
            *kinds
                .entry(format!("{} version {version} upstream {upstream}", outcome.status))
                .or_default() += 1;
        }
        f.debug_struct("Tally").field("answered", &kinds).field("broken", &self.broken).finish()
    }
}
