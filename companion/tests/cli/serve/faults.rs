//! What goes wrong in one rollout stays there.

use std::collections::BTreeMap;

use super::*;

/// The lease keys of a rollout as they change, over some time.
fn renewals(envoy: &Fake, rollout: &str, over: Duration) -> usize {
    let key = format!("canary.{rollout}.lease");
    let end = Instant::now() + over;
    let mut seen = BTreeMap::new();
    while Instant::now() < end {
        if let Some(lease) = envoy.envoy().merged().get(&key) {
            seen.insert(lease.clone(), ());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    seen.len()
}

#[test]
fn an_envoy_that_hangs_delays_nobody_else() {
    let (place, good, hanging) = (Place::new(), busy(&["one", "two"]), busy(&["one"]));
    place.file("one.yaml", &patient("one", &[&good, &hanging]));
    place.file("two.yaml", &patient("two", &[&good]));
    let server = Server::start(&place, &[]);
    for name in ["one", "two"] {
        server.comes_to(name, |status| status["stable"]["version"] == "3.1");
        server.ctl(&["start", name]).exits(0);
        server.comes_to(name, is("Paused"));
    }
    hanging.envoy().delay = Duration::from_secs(600);
    server.comes_to("one", |status| {
        let envoys = status["envoys"].as_array().unwrap();
        envoys.iter().any(|one| one["url"] == hanging.url.as_str() && one["ok"] == false)
    });
    // Both keep their leases where they can.
    assert!(renewals(&good, "two", Duration::from_secs(4)) >= 3);
    assert!(renewals(&good, "one", Duration::from_secs(4)) >= 3);
    let before = Instant::now();
    server.ctl(&["abort", "two"]).exits(0);
    let aborted = || envoy_weight(&good, "two") == "0@3.2";
    crate::until("the abort", aborted);
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    server.ctl(&["abort", "one"]).exits(1).says(&hanging.url);
    crate::until("the abort", || envoy_weight(&good, "one") == "0@3.2");
}

fn envoy_weight(envoy: &Fake, rollout: &str) -> String {
    envoy.envoy().merged().get(&format!("canary.{rollout}.weight")).cloned().unwrap_or_default()
}

#[test]
fn one_look_per_envoy_whatever_runs_on_it() {
    let names: Vec<String> = (0..10).map(|number| format!("r{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (place, envoy) = (Place::new(), busy(&names));
    names.iter().for_each(|name| place.file(&format!("{name}.yaml"), &patient(name, &[&envoy])));
    let server = Server::start(&place, &["--tick", "500ms"]);
    for name in &names {
        server.comes_to(name, |status| status["stable"]["version"] == "3.1");
    }
    let (before, since) = (envoy.envoy().looks, Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let (looks, seconds) = (envoy.envoy().looks - before, since.elapsed().as_secs_f64());
    // Two questions each time: one so that Envoy merges its histograms, and one for the answer.
    assert!(looks as f64 <= 2.0 * (seconds / 0.5 + 2.0), "{looks} looks in {seconds} s");
    assert!(looks >= 6, "{looks} looks in {seconds} s");
}

#[test]
fn a_slow_hook_holds_its_own_rollout_alone() {
    let (place, envoy) = (Place::new(), busy(&["one", "two"]));
    // It takes a connection, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut held = patient("one", &[&envoy]);
    held["gates"] = json!([{"before": 5, "url": url, "timeout": "60s"}]);
    place.file("one.yaml", &held);
    place.file("two.yaml", &quick("two", &[&envoy]));
    let mut server = Server::start(&place, &[]);
    for name in ["one", "two"] {
        server.comes_to(name, |status| status["stable"]["version"] == "3.1");
        server.ctl(&["start", name]).exits(0);
    }
    server.hears("two: Healthy");
    let one = server.comes_to("one", is("Pending"));
    assert!(one["waits_for"].as_str().unwrap().contains(&url), "{one}");
    server.ctl(&["abort", "one"]).exits(0);
    server.comes_to("one", is("Degraded"));
}

#[test]
fn without_its_journal_a_rollout_holds_and_can_be_aborted() {
    let (place, envoy) = (Place::new(), busy(&["one", "two", "three"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    place.file("two.yaml", &patient("two", &[&envoy]));
    place.file("three.yaml", &quick("three", &[&envoy]));
    // A folder stands where the journal should be.
    std::fs::create_dir_all(place.journal("three")).unwrap();
    // The system's limit on a file's size fails writes as a full disk does.
    let mut server = Server::limited(&place, 64);
    for name in ["one", "two", "three"] {
        server.comes_to(name, |status| status["stable"]["version"] == "3.1");
    }
    server.ctl(&["start", "three"]).exits(1).says("three.jsonl");
    server.ctl(&["start", "one"]).exits(0);
    let held = server.comes_to("one", |status| {
        status["notes"][0].as_str().is_some_and(|note| note.contains("can't be written"))
    });
    assert_eq!((&held["phase"], &held["weight"]["in_force"]), (&json!("Paused"), &json!(5)));
    assert!(held["waits_for"].as_str().unwrap().contains("its journal, which can't be written"));
    server.hears("one: the journal can't be written");
    let metrics = crate::controller::http("GET", &format!("{}/metrics", server.url), &[]).1;
    for line in
        ["canaryctl_journal_ok{rollout=\"one\"} 0", "canaryctl_journal_ok{rollout=\"two\"} 1"]
    {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    server.ctl(&["promote", "one", "--full"]).exits(1).says("its journal can't be written");
    assert!(renewals(&envoy, "one", Duration::from_secs(4)) >= 3, "it holds its lease");
    assert_eq!(envoy_weight(&envoy, "one"), "5@3.2");
    server.ctl(&["start", "two"]).exits(0);
    server.comes_to("two", is("Paused"));
    server.ctl(&["abort", "one"]).exits(0);
    server.comes_to("one", is("Degraded"));
    assert_eq!(envoy_weight(&envoy, "one"), "0@3.2");
    assert_eq!(envoy_weight(&envoy, "three"), "");
}
