//! An Envoy admin interface that does what a test says: a runtime with an admin layer, the statistics
//! of a filter that follows it, and every way of failing.

// The browser tests have this file by its path, too.
#[path = "fake/traffic.rs"]
mod traffic;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub(crate) use traffic::Traffic;

/// How the filter behind the admin interface follows the runtime.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// At its next poll.
    Follows,
    /// It is dead: nothing moves.
    Dead,
    /// It ticks, but its polls fail.
    CannotPoll,
    /// Its guard has tripped: nothing gets through in this epoch.
    Tripped,
    /// Its guard has tripped in the epoch that the runtime shows.
    StaysTripped,
}

/// Everything a test may set, and what the fake saw.
pub(crate) struct Envoy {
    /// The runtime's admin layer, by key.
    pub(crate) runtime: BTreeMap<String, String>,
    /// A layer above it.
    pub(crate) above: BTreeMap<String, String>,
    pub(crate) admin_layer: bool,
    pub(crate) filter: Filter,
    /// Counters and gauges, by their full names.
    pub(crate) numbers: BTreeMap<String, u64>,
    pub(crate) texts: BTreeMap<String, String>,
    /// Histograms: [lower, width, count].
    pub(crate) histograms: BTreeMap<String, Vec<(f64, f64, u64)>>,
    /// Added to the counters after each answer of `/stats`.
    pub(crate) per_look: BTreeMap<String, u64>,
    pub(crate) config_dump: Value,
    /// How many endpoints each cluster has.
    pub(crate) clusters: BTreeMap<String, usize>,
    /// How long every answer takes.
    pub(crate) delay: Duration,
    /// What everything is answered with instead.
    pub(crate) garbage: Option<(StatusCode, String)>,
    /// Whether something before it lets reading through alone.
    pub(crate) read_only: bool,
    /// The bodies of `/runtime_modify`, in order.
    pub(crate) updates: Vec<String>,
    polls: u64,
    /// Requests that flow through it, if any do.
    pub(crate) traffic: Option<Traffic>,
    /// Requests of further rollouts, by name.
    pub(crate) others: BTreeMap<String, Traffic>,
    /// How often its statistics were asked for.
    pub(crate) looks: u64,
}

type Shared = Arc<Mutex<Envoy>>;

/// A fake that is running; it stops when it is dropped.
pub(crate) struct Fake {
    pub(crate) url: String,
    envoy: Shared,
    server: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    /// A healthy Envoy with the rollout `scorer`: stable 3.1, canary 3.2, weight 0.
    pub(crate) fn start() -> Self {
        let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (envoy, app) = app();
        let server = runtime().spawn(async { axum::serve(listener, app).await.unwrap() });
        Self { url, envoy, server }
    }

    /// The same on a unix socket.
    pub(crate) fn start_unix(path: &std::path::Path) -> Self {
        let _inside = runtime().enter();
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let (envoy, app) = app();
        let server = runtime().spawn(async { axum::serve(listener, app).await.unwrap() });
        Self { url: format!("unix://{}", path.display()), envoy, server }
    }

    /// The Envoy, to change and to look at.
    pub(crate) fn envoy(&self) -> MutexGuard<'_, Envoy> {
        self.envoy.lock().unwrap()
    }

    /// Sets up before use.
    pub(crate) fn with(self, set: impl FnOnce(&mut Envoy)) -> Self {
        set(&mut self.envoy());
        self
    }
}

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

fn app() -> (Shared, Router) {
    let envoy = Arc::new(Mutex::new(Envoy::healthy()));
    let app = Router::new()
        .route("/runtime", get(show_runtime))
        .route("/runtime_modify", post(modify))
        .route("/stats", get(show_stats))
        .route("/config_dump", get(show_config))
        .route("/clusters", get(show_clusters))
        .with_state(Arc::clone(&envoy));
    (envoy, app)
}

impl Envoy {
    fn healthy() -> Self {
        let mut envoy = Self {
            runtime: BTreeMap::new(),
            above: BTreeMap::new(),
            admin_layer: true,
            filter: Filter::Follows,
            numbers: BTreeMap::new(),
            texts: BTreeMap::new(),
            histograms: BTreeMap::new(),
            per_look: BTreeMap::new(),
            config_dump: json!({}),
            clusters: [("a".to_owned(), 1), ("b".to_owned(), 1)].into(),
            delay: Duration::ZERO,
            garbage: None,
            read_only: false,
            updates: Vec::new(),
            polls: 0,
            traffic: None,
            others: BTreeMap::new(),
            looks: 0,
        };
        envoy.rollout("scorer", "3.1", "3.2");
        envoy
    }

    /// Adds a rollout as a filter defines it.
    pub(crate) fn rollout(&mut self, name: &str, stable: &str, canary: &str) {
        // Outcomes are known at once here.
        for gauge in
            ["weight_ppm", "guard_tripped", "lease_expired", "epoch", "outcome_age_seconds"]
        {
            self.numbers.insert(format!("wasmcustom.canary.{name}.{gauge}"), 0);
        }
        self.version(name, "stable", stable, 0, 0);
        self.version(name, "canary", canary, 0, 0);
    }

    /// Sets a version's counters, and as many times of 4.5 ms.
    pub(crate) fn version(
        &mut self,
        rollout: &str,
        role: &str,
        version: &str,
        total: u64,
        failure: u64,
    ) {
        let name = |metric| format!("wasmcustom.canary.{rollout}.{role}.{version}.{metric}");
        self.numbers.insert(name("rq_total"), total);
        self.numbers.insert(name("rq_failure"), failure);
        self.numbers.insert(name("assigned_total"), total);
        self.numbers.insert(name("judged_total"), total);
        self.numbers.insert(name("judged_failure"), failure);
        self.numbers.insert(name("judged_unanswered"), 0);
        let times = if total == 0 { vec![] } else { vec![(4_500.0, 100.0, total)] };
        self.histograms.insert(name("rq_time_us"), times);
    }

    /// Has ECDS show a configuration.
    pub(crate) fn configure(&mut self, push: &str, stable: &str, canary: &str, weight: f64) {
        let plugin = json!({"rollouts": [{"name": "scorer", "weight": weight,
            "stable": {"version": stable, "cluster": "a"}, "canary": {"version": canary, "cluster": "b"}}]});
        self.show_configuration(push, &plugin);
    }

    fn show_configuration(&mut self, push: &str, plugin: &Value) {
        let wasm =
            json!({"config": {"vm_config": {}, "configuration": {"value": plugin.to_string()}}});
        self.config_dump = json!({"configs": [
            {"version_info": push, "ecds_filter": {"name": "canary", "typed_config": wasm}}]});
    }

    /// As after a restart of the process: nothing is set, and nothing was counted.
    pub(crate) fn restart(&mut self) {
        self.runtime.clear();
        self.numbers.clear();
        self.rollout("scorer", "3.1", "3.2");
        self.traffic.iter_mut().for_each(Traffic::restart);
        let others: Vec<String> = self.others.keys().cloned().collect();
        others.iter().for_each(|name| self.rollout(name, "3.1", "3.2"));
        self.others.values_mut().for_each(Traffic::restart);
    }

    pub(crate) fn merged(&self) -> BTreeMap<String, String> {
        let mut merged = self.runtime.clone();
        merged.extend(self.above.clone());
        merged
    }

    /// One poll of the filter.
    fn poll(&mut self) {
        self.polls += 1;
        let count = |numbers: &mut BTreeMap<String, u64>, name: &str, value| {
            numbers.insert(format!("wasmcustom.canary.filter.{name}"), value);
        };
        if self.filter == Filter::Dead {
            return;
        }
        count(&mut self.numbers, "heartbeat", 1_700_000_000 + self.polls);
        if self.filter == Filter::CannotPoll {
            return count(&mut self.numbers, "poll_failure", self.polls);
        }
        count(&mut self.numbers, "poll_success", self.polls);
        if self.filter == Filter::Tripped && self.merged().contains_key("canary.scorer.epoch") {
            self.filter = Filter::Follows;
        }
        let tripped = matches!(self.filter, Filter::Tripped | Filter::StaysTripped);
        self.numbers.insert("wasmcustom.canary.scorer.guard_tripped".to_owned(), tripped.into());
        if let Some(weight) = self.merged().get("canary.scorer.weight").filter(|_| !tripped) {
            let percent = weight.split('@').next().unwrap();
            let ppm = (percent.parse::<f64>().unwrap() * 10_000.0).round() as u64;
            self.numbers.insert("wasmcustom.canary.scorer.weight_ppm".to_owned(), ppm);
        }
        if let Some(epoch) = self.merged().get("canary.scorer.epoch") {
            let epoch = epoch.parse().unwrap();
            self.numbers.insert("wasmcustom.canary.scorer.epoch".to_owned(), epoch);
        }
        self.follow_others();
        traffic::flow(self);
    }

    /// Adds a rollout with so many requests a second, of whose canary's so many in a hundred fail.
    pub(crate) fn busy_rollout(&mut self, name: &str, per_second: f64, canary_fails: u64) {
        self.rollout(name, "3.1", "3.2");
        self.others.insert(name.to_owned(), Traffic::new(per_second, canary_fails));
        let rollout = |name: &String| {
            json!({"name": name, "weight": 0.0, "stable": {"version": "3.1", "cluster": "a"},
                "canary": {"version": "3.2", "cluster": "b"}})
        };
        let rollouts: Vec<Value> = self.others.keys().map(rollout).collect();
        self.show_configuration("1", &json!({ "rollouts": rollouts }));
    }

    /// What the filter does for rollouts other than `scorer`, whose guard never trips.
    fn follow_others(&mut self) {
        let merged = self.merged();
        for name in self.others.keys() {
            let gauge = |gauge: &str| format!("wasmcustom.canary.{name}.{gauge}");
            if let Some(weight) = merged.get(&format!("canary.{name}.weight")) {
                let percent: f64 = weight.split('@').next().unwrap().parse().unwrap();
                let ppm = (percent * 10_000.0).round() as u64;
                self.numbers.insert(gauge("weight_ppm"), ppm);
            }
            if let Some(epoch) = merged.get(&format!("canary.{name}.epoch")) {
                self.numbers.insert(gauge("epoch"), epoch.parse().unwrap());
            }
        }
    }
}

/// Waits as long as it should, and says what is said instead of an answer.
async fn instead(envoy: &Shared) -> Option<Response> {
    let delay = envoy.lock().unwrap().delay;
    tokio::time::sleep(delay).await;
    envoy.lock().unwrap().garbage.clone().map(IntoResponse::into_response)
}

async fn show_runtime(State(envoy): State<Shared>) -> Response {
    if let Some(garbage) = instead(&envoy).await {
        return garbage;
    }
    let entry = |(key, value): (String, String)| {
        (key, json!({"final_value": value, "layer_values": ["", value]}))
    };
    let mut entries: serde_json::Map<String, Value> =
        envoy.lock().unwrap().merged().into_iter().map(entry).collect();
    entries.insert("foreign.key".to_owned(), json!({"final_value": "1e+06", "layer_values": []}));
    json!({"layers": ["base", "admin"], "entries": entries}).to_string().into_response()
}

async fn modify(State(envoy): State<Shared>, body: String) -> Response {
    if let Some(garbage) = instead(&envoy).await {
        return garbage;
    }
    let mut envoy = envoy.lock().unwrap();
    if envoy.read_only {
        return (StatusCode::FORBIDDEN, "RBAC: access denied\nand more").into_response();
    }
    if !envoy.admin_layer {
        return (StatusCode::SERVICE_UNAVAILABLE, "No admin layer specified").into_response();
    }
    for pair in body.split('&') {
        let (key, value) = pair.split_once('=').unwrap();
        let value =
            value.replace("%3A", ":").replace("%40", "@").replace("%2F", "/").replace("%3D", "=");
        assert!(!value.contains('%'), "{value}: decode this in the fake");
        if value.is_empty() {
            envoy.runtime.remove(key);
        } else {
            envoy.runtime.insert(key.to_owned(), value);
        }
    }
    envoy.updates.push(body);
    "OK\n".into_response()
}

async fn show_stats(
    State(envoy): State<Shared>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    if let Some(garbage) = instead(&envoy).await {
        return garbage;
    }
    let filter = query.get("filter").unwrap();
    assert!(filter.starts_with("^wasmcustom"), "{filter}");
    let mut envoy = envoy.lock().unwrap();
    envoy.looks += 1;
    envoy.poll();
    let number = |(name, value): (&String, &u64)| json!({"name": name, "value": value});
    let text = |(name, value): (&String, &String)| json!({"name": name, "value": value});
    let bins = |bins: &Vec<(f64, f64, u64)>| -> Value {
        bins.iter().map(|(lower, width, count)| json!({"lower_bound": lower, "width": width, "count": count})).collect()
    };
    let detail = |(name, all): (&String, &Vec<_>)| json!({"name": name, "totals": bins(all), "intervals": []});
    let details: Vec<Value> = envoy.histograms.iter().map(detail).collect();
    let mut stats: Vec<Value> = envoy.numbers.iter().map(number).collect();
    stats.extend(envoy.texts.iter().map(text));
    stats.push(json!({"histograms": {"supported_percentiles": [], "details": details}}));
    let added = envoy.per_look.clone();
    for (name, more) in added {
        *envoy.numbers.entry(name).or_default() += more;
    }
    json!({ "stats": stats }).to_string().into_response()
}

async fn show_config(
    State(envoy): State<Shared>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    if let Some(garbage) = instead(&envoy).await {
        return garbage;
    }
    let shown = query.get("resource").map(String::as_str) == Some("ecds_filters");
    let dump = envoy.lock().unwrap().config_dump.clone();
    if shown { dump.to_string().into_response() } else { "{}".into_response() }
}

async fn show_clusters(State(envoy): State<Shared>) -> Response {
    if let Some(garbage) = instead(&envoy).await {
        return garbage;
    }
    let cluster = |(name, hosts): (&String, &usize)| json!({"name": name, "host_statuses": vec![json!({"weight": 1}); *hosts]});
    let all: Vec<Value> = envoy.lock().unwrap().clusters.iter().map(cluster).collect();
    json!({ "cluster_statuses": all }).to_string().into_response()
}
