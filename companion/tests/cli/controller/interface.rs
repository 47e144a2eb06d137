//! The controller's interface: who may come in, and what it shows.

use reqwest::header::{HeaderMap, HeaderName};

use super::*;
use crate::fake::runtime;

/// A request with some headers; gives the status and the body.
pub(crate) fn http(method: &str, url: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
    http_with(method, url, headers, "")
}

/// The same with a body.
pub(crate) fn http_with(
    method: &str,
    url: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> (u16, String) {
    let answer = raw(method, url, headers, body);
    let status = answer.status().as_u16();
    (status, runtime().block_on(answer.text()).unwrap())
}

/// The same; gives the answer before its body was read. Redirects aren't followed.
pub(crate) fn raw(
    method: &str,
    url: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> reqwest::Response {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime().block_on(async {
        let none = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().no_proxy().redirect(none).build().unwrap();
        let request = client.request(method.parse().unwrap(), url).headers(headers);
        request.body(body.to_owned()).send().await.unwrap()
    })
}

/// The first event of a stream that is the right one.
pub(crate) fn events(url: &str, right: impl Fn(&str) -> bool) -> String {
    let mut answer = raw("GET", url, &[], "");
    assert_eq!(answer.status().as_u16(), 200);
    let read = async {
        let mut text = String::new();
        while let Some(chunk) = answer.chunk().await.unwrap() {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((event, rest)) = text.split_once("\n\n") {
                if right(event) {
                    return event.to_owned();
                }
                text = rest.to_owned();
            }
        }
        panic!("the stream ended: {text}");
    };
    let read = async { tokio::time::timeout(patience(), read).await };
    runtime().block_on(read).unwrap()
}

#[test]
fn pages_of_other_origins_and_rebound_names_are_refused() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &[]);
    controller.hears("paused");
    let abort = format!("{}/api/v1/rollouts/scorer/abort", controller.url);
    let evil: [&[(&'static str, &str)]; 4] = [
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("host", "evil.example")],
    ];
    for headers in evil {
        assert_eq!(http("POST", &abort, headers).0, 403, "{headers:?}");
        let list = format!("{}/api/v1/rollouts", controller.url);
        assert_eq!(http("GET", &list, headers).0, 403, "{headers:?}");
    }
    let status = controller.ctl(&["status", "scorer"]).exits(0);
    assert_eq!(status.stdout, "Paused\n", "none of it did anything");
    assert_eq!(http("POST", &abort, &[("origin", &controller.url)]).0, 200, "its own page");
}

#[test]
fn what_it_shows() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &[]);
    controller.hears("paused");
    controller.comes_to(|status| status["phase"] == "Paused");
    let get = |path: &str| http("GET", &format!("{}{path}", controller.url), &[]);
    assert_eq!(get("/healthz"), (200, "ok\n".to_owned()));
    // The first who asks has the journal read, in the background.
    let has_points = |history: &str| {
        let history: Value = serde_json::from_str(history).unwrap_or_default();
        history["t"].as_array().is_some_and(|times| !times.is_empty())
    };
    crate::until("the history", || has_points(&get("/rollouts/scorer/history").1));
    let (status, page) = get("/rollouts/scorer");
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("<title>scorer: Paused</title>"), "{page}");
    assert!(!page.contains("http-equiv=\"refresh\""), "it is brought up to date in place");
    // It is made from memory, and goes on with the rollout: the journal isn't read for it.
    std::fs::rename(place.journal(), place.folder.path().join("moved")).unwrap();
    let requests = |page: &str| -> u64 {
        let row = page.split("<td>requests</td><td class=\"n\">").nth(1);
        row.map_or(0, |row| row.split('<').next().unwrap().parse().unwrap())
    };
    let before = requests(&page);
    crate::until("more requests on the page", || requests(&get("/rollouts/scorer").1) > before);
    std::fs::rename(place.folder.path().join("moved"), place.journal()).unwrap();
    policy_and_assets(&controller.url, &page);
    charts(&controller.url);
    let (status, list) = get("/api/v1/rollouts");
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (status, &list[0]["rollout"], &list[0]["phase"]),
        (200, &json!("scorer"), &json!("Paused"))
    );
    let (status, one) = get("/api/v1/rollouts/scorer");
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!((status, &one["step"]), (200, &json!({"index": 1, "of": 1})));
    assert_eq!(get("/api/v1/rollouts/other").0, 404);
    assert_eq!(get("/nowhere").0, 404);
    let (status, metrics) = get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "canaryctl_phase{rollout=\"scorer\",phase=\"Paused\"} 1",
        "canaryctl_phase{rollout=\"scorer\",phase=\"Healthy\"} 0",
        "canaryctl_step{rollout=\"scorer\"} 1",
        "canaryctl_weight_percent{rollout=\"scorer\",kind=\"set\"} 5",
        "canaryctl_evidence_ratio{rollout=\"scorer\",metric=\"failures\"} ",
        "# TYPE canaryctl_decisions_total counter",
        "canaryctl_envoy_errors_total{rollout=\"scorer\"} 0",
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
}

#[test]
fn beyond_loopback_a_token_is_demanded() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.file(&patient(&[&envoy]));
    let everywhere = ["--listen", "0.0.0.0:0"];
    let mut refused = command(&["run", file.to_str().unwrap()]);
    run(refused.args(everywhere)).exits(2).says("demands a token");
    assert!(envoy.envoy().updates.is_empty());
    let token = place.folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef-secret\n").unwrap();
    let with_token = ["--token-file", token.to_str().unwrap()];
    let mut controller = Controller::start(&place, &file, &with_token);
    controller.hears("paused");
    controller.ctl(&["status", "scorer"]).exits(1).says("a token is needed");
    controller.ctl(&["pause", "scorer"]).exits(1).says("a token is needed");
    let with = |verb: &str| controller.ctl(&[&[verb, "scorer"][..], &with_token].concat());
    assert_eq!(with("status").exits(0).stdout, "Paused\n");
    with("abort").exits(0);
    assert_eq!(http("GET", &format!("{}/healthz", controller.url), &[]).0, 200);
}

/// The page runs its own script alone, can't be framed, and loads nothing from elsewhere.
fn policy_and_assets(url: &str, page: &str) {
    let answer = raw("GET", &format!("{url}/rollouts/scorer"), &[], "");
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let policy = header("content-security-policy");
    for rule in
        ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
    {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(
        (header("x-frame-options").as_str(), header("cache-control").as_str()),
        ("DENY", "no-store")
    );
    assert!(!page.contains("http://") || !page.contains("src=\"http"), "{page}");
    let script = page.split("<script src=\"").nth(1).unwrap().split('"').next().unwrap();
    let answer = raw("GET", &format!("{url}{script}"), &[], "");
    assert_eq!(answer.status().as_u16(), 200, "{script}");
    assert!(answer.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    assert_eq!(http("GET", &format!("{url}/assets/x/../../etc/passwd"), &[]).0, 404);
}

/// The charts' data: whole, and from a point on as long as the earlier points stand.
fn charts(url: &str) {
    let get = |query: &str| -> Value {
        let (status, text) = http("GET", &format!("{url}/rollouts/scorer/history{query}"), &[]);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let whole = get("");
    let points = whole["t"].as_array().unwrap().len();
    assert!(points > 0 && whole["from"] == 0, "{whole}");
    let generation = whole["generation"].as_str().unwrap();
    let part = get(&format!("?after={}&generation={generation}", points - 1));
    assert_eq!(part["from"], points - 1);
    let other = get(&format!("?after={}&generation=other", points - 1));
    assert_eq!(other["from"], 0, "another generation gets everything");
    let charts: Vec<&str> = whole["charts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|chart| chart["id"].as_str().unwrap())
        .collect();
    assert_eq!(charts[..2], ["weight", "failures"]);
    let lines = |chart: &Value| chart["series"].as_array().unwrap().clone();
    for chart in whole["charts"].as_array().unwrap() {
        for line in lines(chart) {
            assert_eq!(line["values"].as_array().unwrap().len(), points, "{line}");
        }
    }
}
