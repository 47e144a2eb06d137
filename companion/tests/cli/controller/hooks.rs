//! Gates, notifications and Prometheus: web servers that a test controls.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::task::JoinHandle;

use super::*;
use crate::fake::runtime;

/// What a web server answers and was asked.
struct Said {
    status: u16,
    body: String,
    location: Option<String>,
    /// A `content-encoding` that it claims.
    encoding: Option<&'static str>,
    /// Whether the body is repeated without an end.
    endless: bool,
    /// Method, path with query, and body.
    asked: Vec<(String, String)>,
    /// The headers that each request had.
    headers: Vec<axum::http::HeaderMap>,
}

/// A web server that stops when it is dropped.
pub(super) struct Web {
    pub(super) url: String,
    said: Arc<Mutex<Said>>,
    server: JoinHandle<()>,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Web {
    pub(super) fn start(status: u16, body: &str) -> Self {
        let (body, asked, headers) = (body.to_owned(), Vec::new(), Vec::new());
        let said =
            Said { status, body, location: None, encoding: None, endless: false, asked, headers };
        let said = Arc::new(Mutex::new(said));
        let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&said));
        let server = runtime().spawn(async { axum::serve(listener, app).await.unwrap() });
        Self { url, said, server }
    }

    pub(super) fn answers(&self, status: u16, body: &str) {
        let mut said = self.said.lock().unwrap();
        (said.status, said.body) = (status, body.to_owned());
    }

    /// Whether a request had this header.
    pub(super) fn was_sent(&self, name: &str, value: &str) -> bool {
        let said = self.said.lock().unwrap();
        said.headers.iter().any(|headers| headers.get(name).is_some_and(|found| found == value))
    }

    /// The bodies that it was sent.
    pub(super) fn bodies(&self) -> Vec<Value> {
        let said = self.said.lock().unwrap();
        said.asked.iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    }
}

async fn answer(State(said): State<Arc<Mutex<Said>>>, request: Request) -> Response {
    let (path, headers) = (request.uri().to_string(), request.headers().clone());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut said = said.lock().unwrap();
    said.headers.push(headers);
    said.asked.push((path, String::from_utf8(body.to_vec()).unwrap()));
    let body = said.body.clone();
    let body = if said.endless {
        axum::body::Body::from_stream(futures_util::stream::repeat_with(move || {
            Ok::<_, std::convert::Infallible>(body.clone())
        }))
    } else {
        body.into()
    };
    let status = StatusCode::from_u16(said.status).unwrap();
    let mut response = ([("content-type", "text/html; charset=utf-8")], body).into_response();
    *response.status_mut() = status;
    if let Some(encoding) = said.encoding {
        let name = axum::http::header::CONTENT_ENCODING;
        response.headers_mut().insert(name, encoding.parse().unwrap());
    }
    if let Some(to) = &said.location {
        response.headers_mut().insert(axum::http::header::LOCATION, to.parse().unwrap());
    }
    response
}

#[test]
fn a_gate_holds_the_promotion_until_it_consents() {
    let (place, envoy, gate) = (Place::new(), busy(0), Web::start(403, "no"));
    let mut rollout = quick(&[&envoy]);
    rollout["gates"] = json!([{"before": "promotion", "url": gate.url, "timeout": "2s"}]);
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears("holds it: 403 Forbidden");
    let waiting = controller.comes_to(|status| status["weight"]["in_force"] == 50);
    assert!(waiting["waits_for"].as_str().unwrap().contains(&gate.url), "{waiting:#}");
    gate.answers(204, "");
    controller.hears("lets it pass");
    assert_eq!(controller.ends(), 0);
    let asked = gate.bodies();
    assert_eq!((&asked[0]["name"], &asked[0]["phase"]), (&json!("scorer"), &json!("Progressing")));
    assert!(asked[0]["namespace"].is_string() && asked[0]["metadata"].is_object(), "{asked:#?}");
}

#[test]
fn a_gate_never_blocks_a_rollback() {
    let (place, envoy, gate) = (Place::new(), busy(0), Web::start(500, ""));
    let mut rollout = quick(&[&envoy]);
    rollout["gates"] = json!([{"before": "promotion", "url": gate.url, "timeout": "2s"}]);
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears("holds it: 500");
    envoy.envoy().traffic.as_mut().unwrap().canary_fails = 30;
    controller.hears("rolling back");
    assert_eq!(controller.ends(), 1);
}

#[test]
fn notifications_are_told_and_never_wait() {
    let (place, envoy, hook) = (Place::new(), busy(0), Web::start(200, ""));
    let dead = super::super::nobody();
    let mut rollout = quick(&[&envoy]);
    rollout["notify"] = json!([
        {"on": ["started", "completed"], "url": hook.url},
        {"on": ["started"], "url": dead},
    ]);
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears("Healthy");
    assert_eq!(controller.ends(), 0);
    let told = hook.bodies();
    let topics: Vec<&Value> = told.iter().map(|body| &body["metadata"]["topic"]).collect();
    assert_eq!(topics, [&json!("started"), &json!("completed")]);
    assert!(told[1]["metadata"]["eventMessage"].as_str().unwrap().contains("Healthy"), "{told:#?}");
}

#[test]
fn a_prometheus_outage_holds_and_a_bad_value_aborts() {
    let (place, envoy) = (Place::new(), busy(0));
    let value = |value: &str| {
        format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"{value}"]}}}}"#)
    };
    let prometheus = Web::start(503, "down");
    let mut rollout = quick(&[&envoy]);
    rollout["analysis"]["metrics"].as_array_mut().unwrap().push(json!({
        "name": "gpu", "kind": "prometheus", "address": prometheus.url, "query": "gpu{a=\"b\"} + 1",
        "failureCondition": "result > 0.9", "interval": "1s", "failureLimit": 0,
    }));
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears("step 1 of 2");
    let held = controller.comes_to(|status| {
        let enough = status["canary"]["requests"].as_u64() > Some(60);
        enough && status["waits_for"].as_str().is_some_and(|waits| waits.contains("gpu"))
    });
    assert_eq!(
        (&held["phase"], &held["weight"]["set"]),
        (&json!("Progressing"), &json!(5)),
        "{held:#}"
    );
    prometheus.answers(200, &value("0.5"));
    controller.hears("step 2 of 2");
    prometheus.answers(200, &value("0.95"));
    controller.hears("rolling back to stable: gpu");
    assert_eq!(controller.ends(), 1);
    let asked = prometheus.said.lock().unwrap().asked[0].0.clone();
    assert!(asked.starts_with("/api/v1/query?query=gpu%7B"), "{asked}");
}

fn with_gpu(envoy: &Fake, address: &str) -> Value {
    let mut rollout = patient(&[envoy]);
    rollout["analysis"]["metrics"].as_array_mut().unwrap().push(json!({
        "name": "gpu", "kind": "prometheus", "address": address, "query": "up",
        "failureCondition": "result > 0.9", "interval": "1s",
    }));
    rollout
}

/// The longest text that a journal has anywhere.
fn longest(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.iter().map(longest).max().unwrap_or(0),
        Value::Object(fields) => fields.values().map(longest).max().unwrap_or(0),
        _ => 0,
    }
}

#[test]
fn whatever_prometheus_answers_is_named_and_cut() {
    let (place, envoy) = (Place::new(), busy(0));
    let prometheus = Web::start(404, "<html>nothing here</html>");
    let file = place.file(&with_gpu(&envoy, &prometheus.url));
    let mut controller = Controller::start(&place, &file, &[]);
    controller.hears("paused");
    let names = |text: &str| {
        let end = Instant::now() + patience();
        while !place.records().iter().any(|record| record.to_string().contains(text)) {
            assert!(Instant::now() < end, "no {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    names(
        "404 Not Found (content type text/html; charset=utf-8) instead of an answer of the query API",
    );
    prometheus.answers(401, "");
    names("401 Unauthorized");
    prometheus.said.lock().unwrap().location = Some("https://elsewhere/?secret=1".to_owned());
    prometheus.answers(302, "");
    names("302 Found: a redirect to https://elsewhere/?redacted, and redirects are not followed");
    let long = json!({"status": "error", "error": "x".repeat(1_500_000)}).to_string();
    prometheus.answers(500, &long);
    names("500 Internal Server Error: xxx");
    prometheus.said.lock().unwrap().encoding = Some("gzip");
    prometheus.answers(200, "\u{1f}\u{8b}");
    names("200 OK, and the answer is compressed (gzip), which was not asked for");
    prometheus.said.lock().unwrap().encoding = None;
    prometheus.said.lock().unwrap().endless = true;
    prometheus.answers(200, &"<p>".repeat(20_000));
    names("200 OK, and an answer of more than 4194304 bytes");
    let status = controller.comes_to(|status| status["phase"] == "Paused");
    assert_eq!(status["lease_expired"], false, "the lease is renewed all along: {status:#}");
    let records = place.records();
    let others = records.iter().filter(|record| record["record"] == "step");
    assert!(others.map(longest).max().unwrap() <= 300);
}

#[test]
fn secrets_in_urls_appear_nowhere() {
    let (place, envoy) = (Place::new(), busy(0));
    let (gate, prometheus) = (Web::start(403, ""), Web::start(500, "down"));
    let with = |url: &str, user: &str, query: &str| {
        format!("{}{query}", url.replace("http://", &format!("http://{user}")))
    };
    let mut rollout = with_gpu(&envoy, &with(&prometheus.url, "ann:hunter2@", ""));
    rollout["gates"] = json!([{"before": 5, "url": with(&gate.url, "", "/ok?token=hunter2"),
        "timeout": "2s"}]);
    rollout["notify"] = json!([{"on": ["started"], "url": with(&gate.url, "me:hunter2@", "/n")}]);
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears("holds it: 403 Forbidden");
    gate.answers(200, "");
    controller.hears("paused");
    std::thread::sleep(Duration::from_millis(500));
    let get =
        |path: &str| super::interface::http("GET", &format!("{}{path}", controller.url), &[]).1;
    let journal = place.journal();
    let report = run(command(&["report", "scorer"]).args(["--journal", journal.to_str().unwrap()]));
    let shown = [
        std::fs::read_to_string(&journal).unwrap(),
        get("/"),
        get("/api/v1/rollouts"),
        get("/metrics"),
        controller.ctl(&["get", "rollout", "scorer", "-o", "json"]).exits(0).stdout,
        report.exits(0).stdout,
    ];
    for text in &shown {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(!controller.said("hunter2"), "{:#?}", controller.said);
    let asked = gate.said.lock().unwrap().asked.clone();
    assert!(asked.iter().any(|(path, _)| path == "/ok?token=hunter2"), "but the gate gets it");
}

/// An answer whose end never comes is cut off by the deadline, and the rollout goes on holding.
#[test]
fn a_prometheus_that_never_ends_its_answer_is_harmless() {
    let (place, envoy) = (Place::new(), busy(0));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{";
            let _ = stream.read(&mut [0; 4096]);
            let _ = std::io::Write::write_all(&mut stream, head.as_bytes());
            held.push(stream);
        }
    });
    let mut controller = Controller::start(&place, &place.file(&with_gpu(&envoy, &address)), &[]);
    controller.hears("metric gpu can't be measured");
    assert!(controller.said("no answer in time"), "{:#?}", controller.said);
    let status = controller.comes_to(|status| status["phase"] == "Paused");
    assert_eq!(
        (&status["weight"]["in_force"], &status["lease_expired"]),
        (&json!(5), &json!(false))
    );
}

#[test]
fn a_metric_outage_is_logged_notified_and_in_the_history() {
    let (place, envoy) = (Place::new(), busy(0));
    let (prometheus, hook) = (Web::start(503, "down"), Web::start(200, ""));
    let mut rollout = with_gpu(&envoy, &prometheus.url);
    rollout["notify"] = json!([{"on": ["outage"], "url": hook.url}]);
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears("metric gpu can't be measured: Prometheus at http://127.0.0.1");
    let value = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"0.5"]}}"#;
    prometheus.answers(200, value);
    controller.hears("metric gpu is measured again");
    crate::until("a notification", || !hook.bodies().is_empty());
    let told = &hook.bodies()[0]["metadata"];
    assert_eq!(told["topic"], "outage");
    assert!(told["eventMessage"].as_str().unwrap().contains("503 Service Unavailable"), "{told}");
    let journal = place.journal();
    let history = ["history", "scorer", "--journal", journal.to_str().unwrap()];
    let history = run(&mut command(&history)).exits(0).stdout;
    assert!(history.contains("metric gpu can't be measured: Prometheus at"), "{history}");
    assert!(history.contains("metric gpu is measured again"), "{history}");
}

#[test]
fn an_undeliverable_notification_of_the_end_is_mentioned_at_the_end() {
    let (place, envoy, dead) = (Place::new(), busy(0), super::super::nobody());
    let mut rollout = quick(&[&envoy]);
    rollout["notify"] = json!([{"on": ["completed"], "url": format!("{dead}/?token=hunter2")}]);
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears("Healthy");
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    let lost =
        |line: &String| line.contains("completed") && line.contains("could not be delivered");
    let line = controller.said.iter().find(|line| lost(line)).unwrap_or_else(|| {
        panic!("{:#?}", controller.said);
    });
    assert!(line.contains(&dead) && !line.contains("hunter2"), "{line}");
}

/// A proxy of the environment: gates, notifications and Prometheus go through it, Envoys don't.
#[test]
fn proxies_are_for_the_world_outside() {
    let (place, envoy, proxy) = (Place::new(), busy(0), Web::start(200, ""));
    let mut rollout = with_gpu(&envoy, "http://prometheus.example:9090");
    rollout["gates"] = json!([{"before": 5, "url": "http://gate.example/ok", "timeout": "2s"}]);
    rollout["notify"] = json!([
        {"on": ["started"], "url": "http://hook.example/n"},
        {"on": ["started"], "url": format!("{}/near", Web::start(200, "").url)},
    ]);
    let file = place.file(&rollout);
    let set = [
        ("HTTP_PROXY", proxy.url.as_str()),
        ("http_proxy", proxy.url.as_str()),
        ("NO_PROXY", "127.0.0.2"),
    ];
    let mut controller = Controller::spawn_with(&place, &file, &[], &set);
    let interface = controller.line("interface: http");
    controller.hears("lets it pass");
    controller.hears("paused");
    let hosts = || {
        let asked = proxy.said.lock().unwrap().asked.clone();
        let url = |(path, _): &(String, String)| path.split('?').next().unwrap().to_owned();
        asked.iter().map(url).collect::<std::collections::BTreeSet<String>>()
    };
    let outside = |host: &String| host.contains(".example") || host.ends_with("/near");
    crate::until("everything outside is asked", || {
        ["gate.example/ok", "hook.example/n", "prometheus.example:9090/api/v1/query", "/near"]
            .iter()
            .all(|part| hosts().iter().any(|host| host.ends_with(part)))
    });
    let url = interface.split_whitespace().nth(1).unwrap();
    for direct in [
        command(&["get", "rollout", "scorer", "--controller", url]),
        command(&["list", "--envoy", &envoy.url]),
    ] {
        let mut direct = direct;
        run(direct.envs(set)).exits(0);
    }
    assert!(
        hosts().iter().all(outside),
        "an Envoy or the controller went through the proxy: {:?}",
        hosts()
    );
}

/// `NO_PROXY` holds for gates, notifications and Prometheus.
#[test]
fn no_proxy_is_honored() {
    let (place, envoy) = (Place::new(), busy(0));
    let (gate, proxy) = (Web::start(200, ""), Web::start(502, ""));
    let mut rollout = patient(&[&envoy]);
    rollout["gates"] = json!([{"before": 5, "url": format!("{}/ok", gate.url), "timeout": "2s"}]);
    let file = place.file(&rollout);
    let set = [("HTTP_PROXY", proxy.url.as_str()), ("NO_PROXY", "127.0.0.1")];
    let mut controller = Controller::spawn_with(&place, &file, &[], &set);
    controller.hears("lets it pass");
    assert!(proxy.said.lock().unwrap().asked.is_empty());
    assert_eq!(gate.said.lock().unwrap().asked[0].0, "/ok");
}
