//! The interface of many rollouts: who may do what, errors, events and figures.

use super::*;
use crate::controller::{http, http_with};

#[test]
fn errors_have_their_statuses() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    let server = Server::start(&place, &[]);
    server.comes_to("one", |status| status["stable"]["version"] == "3.1");
    let url = |path: &str| format!("{}{path}", server.url);
    let post = |path: &str, body: &str| http_with("POST", &url(path), &[], body).0;
    assert_eq!(http("GET", &url("/api/v1/rollouts/two"), &[]).0, 404);
    assert_eq!(post("/api/v1/rollouts/two/start", "{}"), 404);
    assert_eq!(post("/api/v1/rollouts/one/fly", "{}"), 404);
    assert_eq!(post("/api/v1/rollouts/one/pause", ""), 409);
    assert_eq!(post("/api/v1/rollouts/one/start", "{\"canary_version\": \"3.1\"}"), 409);
    assert_eq!(post("/api/v1/rollouts/one/start", "{\"version\": \"3.1\"}"), 400);
    assert_eq!(post("/api/v1/rollouts/one/start", "no json"), 400);
    let evil = [("origin", "http://evil.example")];
    assert_eq!(http_with("POST", &url("/api/v1/rollouts/one/start"), &evil, "{}").0, 403);
    envoy.envoy().runtime.insert("canary.one.owner".to_owned(), "bob@desk".to_owned());
    let owned = http_with("POST", &url("/api/v1/rollouts/one/start"), &[], "{}");
    assert_eq!(owned.0, 409);
    assert!(owned.1.contains("is driven by bob@desk"), "{}", owned.1);
    envoy.envoy().runtime.clear();
    let body = "{\"reason\": \"by hand\", \"canary_version\": \"3.2\"}";
    let (status, started) = http_with("POST", &url("/api/v1/rollouts/one/start"), &[], body);
    assert_eq!(status, 200, "{started}");
    let started: Value = serde_json::from_str(&started).unwrap();
    assert_eq!(
        (&started["phase"], &started["canary"]["version"]),
        (&json!("Pending"), &json!("3.2"))
    );
    let paused =
        server.comes_to("one", |one| one["phase"] == "Paused" && one["weight"]["in_force"] == 5);
    let (_, shown) = http("GET", &url("/api/v1/rollouts/one"), &[]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    for field in ["rollout", "phase", "step", "guard_tripped"] {
        assert_eq!(shown[field], paused[field], "as `get -o json`: {field}");
    }
    assert_eq!(shown["weight"]["set"], 5);
}

#[test]
fn read_only_refuses_every_command() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    let server = Server::start(&place, &["--read-only"]);
    server.comes_to("one", |status| status["stable"]["version"] == "3.1");
    for verb in ["start", "promote", "abort"] {
        let url = format!("{}/api/v1/rollouts/one/{verb}", server.url);
        assert_eq!(http("POST", &url, &[]).0, 403, "{verb}");
    }
    server.ctl(&["start", "one"]).exits(1).says("read-only");
    assert!(envoy.envoy().updates.is_empty());
    assert_eq!(http("GET", &format!("{}/metrics", server.url), &[]).0, 200);
}

#[test]
fn a_browser_logs_in_with_the_token() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    let token = place.folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef-secret\n").unwrap();
    let server = Server::start(&place, &["--token-file", token.to_str().unwrap()]);
    let url = |path: &str| format!("{}{path}", server.url);
    assert_eq!(http("GET", &url("/api/v1/rollouts"), &[]).0, 401);
    assert_eq!(http("GET", &url("/metrics"), &[]).0, 401);
    assert_eq!(http("GET", &url("/api/v1/events"), &[]).0, 401);
    assert_eq!(http("GET", &url("/healthz"), &[]).0, 200);
    let page = http("GET", &url("/login"), &[]);
    assert!(page.0 == 200 && page.1.contains("<form"), "{page:?}");
    assert_eq!(http_with("POST", &url("/login"), &[], "token=wrong").0, 401);
    let answer =
        crate::controller::raw("POST", &url("/login"), &[], "token=0123456789abcdef-secret");
    assert_eq!(answer.status().as_u16(), 303);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("secret") && !cookie.contains("Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(http("GET", &url("/api/v1/rollouts"), &[("cookie", cookie)]).0, 200);
    assert_eq!(http("GET", &url("/api/v1/rollouts"), &[("cookie", "canaryctl-session=x")]).0, 401);
    let https = [("origin", "https://canary.example"), ("host", "canary.example")];
    assert_eq!(http_with("POST", &url("/login"), &https, "token=x").0, 403, "a name not listed");
}

#[test]
fn events_tell_what_changes() {
    let (place, envoy) = (Place::new(), busy(&["one", "two"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    place.file("two.yaml", &patient("two", &[&envoy]));
    let server = Server::start(&place, &[]);
    server.comes_to("two", |status| status["stable"]["version"] == "3.1");
    let url = |path: &str| format!("{}{path}", server.url);
    assert_eq!(http("GET", &url("/api/v1/events?rollout=three"), &[]).0, 404);
    let list = crate::controller::events(&url("/api/v1/events"), |event| {
        event.contains("event: list") && event.contains("\"rollout\":\"two\"")
    });
    assert!(list.contains("\"phase\":\"Pending\""), "{list}");
    server.ctl(&["start", "one"]).exits(0);
    let one = crate::controller::events(&url("/api/v1/events?rollout=one"), |event| {
        event.contains("event: rollout") && event.contains("\"phase\":\"Paused\"")
    });
    assert!(one.contains("\"step\":{\"index\":1,\"of\":1}"), "{one}");
    let pages = http("GET", &url("/"), &[]);
    assert!(pages.0 == 200 && pages.1.contains("<a href=\"/rollouts/one\">"), "{}", pages.1);
    let page = http("GET", &url("/rollouts/one"), &[]);
    assert!(page.0 == 200 && page.1.contains("<title>one: Paused</title>"), "{}", page.1);
    assert_eq!(http("GET", &url("/rollouts/two"), &[]).0, 200);
    let metrics = http("GET", &url("/metrics"), &[]).1;
    assert_eq!(metrics.matches("# TYPE canaryctl_phase gauge").count(), 1, "{metrics}");
    for line in [
        "canaryctl_phase{rollout=\"one\",phase=\"Paused\"} 1",
        "canaryctl_phase{rollout=\"two\",phase=\"Pending\"} 1",
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
}
