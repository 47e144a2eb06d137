//! Simulated Envoys: admin interfaces with a real one's answers, behind which a filter and its traffic
//! are imagined. All of them live on one thread.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::recording::{AdminRecording, Moving, RecordedAnswer, runtime_with};
use crate::harness::held_port::{ANY_PORT, HeldPort};

/// How often a filter asks for its runtime: the default interval.
const POLL: Duration = Duration::from_millis(250);
/// Requests a second through each.
const TRAFFIC: f64 = 100.0;
/// One that restarts is down for so long, once in so long.
const DOWN: Duration = Duration::from_millis(500);
const RESTARTS_EVERY: Duration = Duration::from_secs(5);

/// What is wrong with a simulated Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EnvoyFault {
    /// It does what it should.
    None,
    /// It takes connections, and never answers.
    Hangs,
    /// It refuses each connection.
    Refuses,
    /// It loses everything again and again.
    Restarts,
}

/// One simulated Envoy, and when it was looked at.
#[derive(Debug)]
pub(super) struct SimulatedEnvoy {
    pub(super) url: String,
    pub(super) fault: EnvoyFault,
    /// How long the filter takes to see a change.
    follows: Duration,
    state: Mutex<SimulatedState>,
}

#[derive(Debug)]
struct SimulatedState {
    /// The runtime's admin layer.
    runtime: BTreeMap<String, String>,
    /// When it was last changed.
    changed: Instant,
    /// The weight and the epoch in force.
    in_force: (u64, u64),
    began: Instant,
    seen: Instant,
    requests: [f64; 2],
    /// When a look at it was answered.
    looks: Vec<Instant>,
}

impl SimulatedState {
    fn new() -> Self {
        let now = Instant::now();
        let runtime = BTreeMap::new();
        let (in_force, requests, looks) = ((0, 0), [0.0; 2], Vec::new());
        Self { runtime, changed: now, in_force, began: now, seen: now, requests, looks }
    }

    /// Lets time pass: the filter follows its runtime, and requests flow.
    #[allow(clippy::cast_precision_loss)]
    fn pass(&mut self, follows: Duration) {
        let now = Instant::now();
        let weight = self.in_force.0 as f64 / 1e6;
        let requests = TRAFFIC * (now - self.seen).as_secs_f64();
        self.requests[0] += requests * (1.0 - weight);
        self.requests[1] += requests * weight;
        self.seen = now;
        if now - self.changed >= follows {
            self.in_force = (self.ppm(), self.number("canary.demo.epoch"));
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn ppm(&self) -> u64 {
        let weight = self.runtime.get("canary.demo.weight").map_or("0", String::as_str);
        let percent = weight.split('@').next().and_then(|percent| percent.parse::<f64>().ok());
        (percent.expect("a weight that canaryctl writes") * 10_000.0).round() as u64
    }

    fn number(&self, key: &str) -> u64 {
        self.runtime.get(key).map_or(0, |value| value.parse().expect("a number"))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn figure(&self, moving: Moving) -> u64 {
        let up = self.began.elapsed();
        match moving {
            Moving::Weight => self.in_force.0,
            Moving::Epoch => self.in_force.1,
            Moving::Heartbeat => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            Moving::Polls => (up.as_millis() / POLL.as_millis()) as u64,
            Moving::Uptime => up.as_secs(),
            Moving::Requests(role) => self.requests[role] as u64,
        }
    }

    fn modify(&mut self, form: &str) {
        let text = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        for (key, value) in form.split('&').filter_map(|pair| pair.split_once('=')) {
            if value.is_empty() {
                self.runtime.remove(&text(key));
            } else {
                self.runtime.insert(text(key), text(value));
            }
        }
        self.changed = Instant::now();
    }
}

impl SimulatedEnvoy {
    fn state(&self) -> MutexGuard<'_, SimulatedState> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pass(self.follows);
        state
    }

    /// The weight in force, in parts per million.
    pub(super) fn weight(&self) -> u64 {
        self.state().in_force.0
    }

    /// When it was looked at since the last call.
    pub(super) fn take_looks(&self) -> Vec<Instant> {
        std::mem::take(&mut self.state().looks)
    }

    /// Whether it is down; what it knew is lost meanwhile.
    fn is_down(&self, began: Instant) -> bool {
        if self.fault != EnvoyFault::Restarts {
            return false;
        }
        let down = began.elapsed().as_millis() % RESTARTS_EVERY.as_millis() < DOWN.as_millis();
        if down {
            *self.state() = SimulatedState::new();
        }
        down
    }
}

/// Starts them on a thread of their own, which ends with the process.
pub(super) async fn start(
    faults: &[EnvoyFault],
    recording: &Arc<AdminRecording>,
) -> Vec<Arc<SimulatedEnvoy>> {
    let (sender, mut started) = mpsc::unbounded_channel();
    let (all, recording) = (faults.to_vec(), Arc::clone(recording));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            for (number, fault) in all.into_iter().enumerate() {
                let envoy = listen(number, fault, Arc::clone(&recording));
                sender.send(envoy).expect("somebody waits");
            }
            drop(sender);
            std::future::pending::<()>().await;
        });
    });
    let mut envoys = Vec::new();
    while let Some(envoy) = started.recv().await {
        envoys.push(envoy);
    }
    envoys
}

fn listen(number: usize, fault: EnvoyFault, recording: Arc<AdminRecording>) -> Arc<SimulatedEnvoy> {
    let port = HeldPort::new(ANY_PORT);
    let url = format!("http://{}", port.at());
    // Between nothing and a whole interval, the same in every run.
    let follows = POLL * u32::try_from(number * 37 % 100).expect("below 100") / 100;
    let state = Mutex::new(SimulatedState::new());
    let envoy = Arc::new(SimulatedEnvoy { url, fault, follows, state });
    if fault == EnvoyFault::Refuses {
        // A port that is taken, and on which nobody listens.
        tokio::spawn(async move {
            let _taken = port;
            std::future::pending::<()>().await;
        });
    } else {
        tokio::spawn(accept(port.listen(64), Arc::clone(&envoy), recording));
    }
    envoy
}

async fn accept(listener: TcpListener, envoy: Arc<SimulatedEnvoy>, recording: Arc<AdminRecording>) {
    let began = Instant::now();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if !envoy.is_down(began) {
            tokio::spawn(serve(stream, Arc::clone(&envoy), Arc::clone(&recording), began));
        }
    }
}

async fn serve(
    stream: TcpStream,
    envoy: Arc<SimulatedEnvoy>,
    recording: Arc<AdminRecording>,
    began: Instant,
) {
    let _best_effort = stream.set_nodelay(true);
    if envoy.fault == EnvoyFault::Hangs {
        let _held = stream;
        return std::future::pending().await;
    }
    let service = service_fn(|request| {
        let (envoy, recording) = (Arc::clone(&envoy), Arc::clone(&recording));
        async move {
            // An error ends the connection.
            if envoy.is_down(began) {
                return Err("down");
            }
            Ok(answer(request, &envoy, &recording).await.expect("infallible"))
        }
    });
    let _whoever_left = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    envoy: &SimulatedEnvoy,
    recording: &AdminRecording,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let whole = |status: u16, body: Bytes| {
        let response =
            Response::builder().status(status).header("content-type", "application/json");
        Ok(response.body(Full::new(body)).expect("a response"))
    };
    if request.method() == Method::POST {
        let body = request.into_body().collect().await.map(|body| body.to_bytes());
        envoy.state().modify(&String::from_utf8_lossy(&body.unwrap_or_default()));
        return whole(200, Bytes::from_static(b"OK\n"));
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match recording.answer(path).await {
        RecordedAnswer::Fixed(status, body) => whole(status, body),
        RecordedAnswer::Stats(template) => {
            let state = envoy.state();
            whole(200, template.fill(|moving| state.figure(moving)).into())
        }
        RecordedAnswer::Runtime(recorded) => {
            let mut state = envoy.state();
            state.looks.push(Instant::now());
            whole(200, runtime_with(&recorded, &state.runtime).into())
        }
    }
}
