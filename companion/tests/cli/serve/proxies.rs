//! Registries and deploy URLs behind a proxy of the environment: HTTP_PROXY, NO_PROXY, and a proxy that doesn't work.

use super::*;
use crate::proxy::{FakeProxy, ProxyMode};
use crate::registry::FakeRegistry;
use crate::{nobody, until};

const MLFLOW: &str = "http://mlflow.example:5000";
const DEPLOYER: &str = "http://deployer.example/hook";

/// A rollout file with a registry at an address, asked every second.
fn registered(mut rollout: Value, uri: &str) -> Value {
    rollout["registry"] = json!({"mlflow": {"uri": uri, "model": "scorer", "poll": "1s"}});
    rollout
}

fn deployed(mut rollout: Value, url: &str) -> Value {
    rollout["deploy"] = json!({"url": url, "timeout": "2s", "minRequests": 50});
    rollout
}

fn serve(place: &Place, environment: &[(&str, &str)]) -> Server {
    Server::spawn(place, &[], |mut ctl| {
        ctl.envs(environment.iter().copied());
        ctl
    })
}

fn waits(status: &Value) -> String {
    status["waits_for"].as_str().unwrap_or_default().to_owned()
}

/// That a proxy's credentials are in nothing that is shown, logged or recorded.
#[track_caller]
fn nothing_shows_the_password(place: &Place, server: &mut Server, rollouts: &[&str]) {
    let get = |path: &str| crate::controller::http("GET", &format!("{}{path}", server.url), &[]).1;
    let mut shown = vec![get("/"), get("/api/v1/rollouts"), get("/metrics")];
    for name in rollouts {
        shown.push(get(&format!("/rollouts/{name}")));
        shown.push(get(&format!("/api/v1/rollouts/{name}")));
        shown.push(server.ctl(&["get", "rollout", name, "-o", "json"]).exits(0).stdout);
        shown.push(server.ctl(&["get", "rollout", name]).exits(0).stdout);
    }
    for entry in std::fs::read_dir(place.state()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        shown.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    shown.extend(server.lines.try_iter());
    shown.append(&mut server.said);
    for text in shown {
        for secret in ["hunter2", "YW5uOmh1bnRlcjI"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

#[test]
fn a_release_goes_through_the_proxy() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    let (registry, proxy) = (FakeRegistry::start(), FakeProxy::start());
    proxy.get().hosts.insert("mlflow.example".to_owned(), registry.url.clone());
    place.file("one.yaml", &deployed(registered(quick("one", &[&envoy]), MLFLOW), DEPLOYER));
    registry.set("challenger", "2");
    let mut server = serve(&place, &[("HTTP_PROXY", &proxy.with_password())]);
    server.hears("one: Healthy");
    until("the champion", || registry.alias("champion").as_deref() == Some("2"));
    let roles: Vec<Value> = proxy
        .bodies("deployer.example")
        .iter()
        .map(|body| serde_json::from_str::<Value>(body).unwrap()["role"].clone())
        .collect();
    assert_eq!(roles, [json!("canary"), json!("stable")]);
    {
        let proxy = proxy.get();
        let outside = |(url, _): &(String, String)| url.contains(".example");
        assert!(proxy.asked.iter().all(outside), "no Envoy: {:?}", proxy.asked);
        let sent = |one: &Option<String>| one.as_deref() == Some("Basic YW5uOmh1bnRlcjI=");
        assert!(proxy.credentials.iter().all(sent), "{:?}", proxy.credentials);
    }
    nothing_shows_the_password(&place, &mut server, &["one"]);
}

#[test]
fn no_proxy_is_honored_for_registries_and_deploy_urls() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    let (registry, proxy, deployer) =
        (FakeRegistry::start(), FakeProxy::start(), FakeProxy::start());
    proxy.get().mode = ProxyMode::Refuses(502);
    let rollout = registered(patient("one", &[&envoy]), &registry.url);
    place.file("one.yaml", &deployed(rollout, &format!("http://{}/hook", deployer.address)));
    registry.set("challenger", "2");
    let environment =
        [("HTTP_PROXY", &*proxy.with_password()), ("NO_PROXY", "localhost, 127.0.0.0/8")];
    let server = serve(&place, &environment);
    server.comes_to("one", is("Paused"));
    assert_eq!(deployer.bodies("/hook").len(), 1);
    assert!(proxy.get().asked.is_empty(), "{:?}", proxy.get().asked);
}

#[test]
fn a_proxy_that_refuses_is_named_and_nothing_else_stops() {
    let (place, envoy, proxy) = (Place::new(), busy(&["one", "two"]), FakeProxy::start());
    proxy.get().mode = ProxyMode::Refuses(407);
    place.file("one.yaml", &registered(patient("one", &[&envoy]), MLFLOW));
    place.file("two.yaml", &deployed(patient("two", &[&envoy]), DEPLOYER));
    let mut server = serve(&place, &[("HTTP_PROXY", &proxy.with_password())]);
    let through = format!("(through the proxy http://{})", proxy.address);
    let refused = "407 Proxy Authentication Required";
    let registry = format!("registry {MLFLOW} {through}: {refused}");
    server.comes_to("one", |status| waits(status).contains(&registry));
    server.ctl(&["start", "one", "--canary-version", "3.3"]).exits(0);
    server.comes_to("one", is("Paused"));
    server.ctl(&["start", "two", "--canary-version", "3.3"]).exits(0);
    let failed = server.comes_to("two", is("Degraded"));
    let reason = failed["reason"].as_str().map_or_else(String::new, str::to_owned);
    let shown = server.ctl(&["get", "rollout", "two"]).exits(0).stdout + &reason;
    assert!(shown.contains(&format!("{refused} {through}")), "{shown}");
    nothing_shows_the_password(&place, &mut server, &["one", "two"]);
}

/// Both requests hang until their own timeouts; looks, leases and rollbacks go on as ever.
#[test]
fn a_proxy_that_hangs_delays_no_decision() {
    let (place, envoy, proxy) = (Place::new(), busy(&["one", "two"]), FakeProxy::start());
    proxy.get().mode = ProxyMode::Hangs;
    place.file("one.yaml", &registered(patient("one", &[&envoy]), MLFLOW));
    let mut two = deployed(patient("two", &[&envoy]), DEPLOYER);
    two["deploy"]["timeout"] = json!("60s");
    place.file("two.yaml", &two);
    let mut server = serve(&place, &[("HTTP_PROXY", &proxy.with_password())]);
    server.ctl(&["start", "one", "--canary-version", "3.3"]).exits(0);
    server.ctl(&["start", "two", "--canary-version", "3.3"]).exits(0);
    server.comes_to("one", is("Paused"));
    server.comes_to("two", is("Deploying"));
    until("both requests", || {
        !proxy.bodies("mlflow").is_empty() && !proxy.bodies("deployer").is_empty()
    });
    let (asked, looks) = (proxy.get().asked.len(), envoy.envoy().looks);
    until("twenty looks", || envoy.envoy().looks >= looks + 20);
    assert_eq!(proxy.get().asked.len(), asked, "meanwhile the same requests hang");
    envoy.envoy().others.get_mut("one").unwrap().canary_fails = 30;
    let rolled_back = server.comes_to("one", is("Degraded"));
    assert_eq!(rolled_back["lease_expired"], false, "{rolled_back:#}");
    server.ctl(&["abort", "two"]).exits(0);
    server.comes_to("two", is("Degraded"));
    let hangs = format!("{MLFLOW} (through the proxy http://{}): no answer in time", proxy.address);
    server.comes_to("one", |status| waits(status).contains(&hangs));
    nothing_shows_the_password(&place, &mut server, &["one", "two"]);
}

#[test]
fn a_proxy_that_cannot_be_used_is_named() {
    let socks = "socks5://ann:hunter2@127.0.0.1:1080";
    let gone = nobody();
    for (proxy, says) in [
        (gone.as_str(), format!("(through the proxy {gone}): Connection refused")),
        (socks, "HTTP_PROXY names no proxy that can be used: expected http://HOST:PORT".to_owned()),
    ] {
        let (place, envoy) = (Place::new(), busy(&["one"]));
        place.file("one.yaml", &registered(patient("one", &[&envoy]), MLFLOW));
        let mut server = serve(&place, &[("HTTP_PROXY", proxy)]);
        let shown = server.comes_to("one", |status| waits(status).contains(&says));
        assert!(waits(&shown).contains(MLFLOW), "{shown:#}");
        server.ctl(&["start", "one", "--canary-version", "3.3"]).exits(0);
        server.comes_to("one", is("Paused"));
        nothing_shows_the_password(&place, &mut server, &["one"]);
    }
}
