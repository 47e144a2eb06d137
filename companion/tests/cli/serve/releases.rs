//! Releases of served rollouts: which start, about which versions, and what stays of them.

use super::*;

#[test]
fn each_rollout_is_released_on_its_own() {
    let (place, envoy) = (Place::new(), busy(&["one", "two"]));
    place.file("one.yaml", &quick("one", &[&envoy]));
    place.file("two.yml", &patient("two", &[&envoy]));
    let mut server = Server::start(&place, &[]);
    let idle = server.comes_to("one", |status| status["stable"]["version"] == "3.1");
    assert_eq!((&idle["phase"], &idle["canary"]["version"]), (&json!("Pending"), &json!("3.2")));
    assert_eq!(idle["waits_for"], "waits for its start: canaryctl start one");
    assert_eq!(server.names(), ["one", "two"]);
    assert!(envoy.envoy().updates.is_empty(), "nothing starts by itself");
    server.ctl(&["promote", "one"]).exits(1).says("no release of \"one\" has begun");
    server.ctl(&["start", "three"]).exits(2).says("no rollout \"three\" here");
    server.ctl(&["start", "one", "--reason", "it is time"]).exits(0);
    server.ctl(&["start", "two"]).exits(0);
    server.hears("one: Healthy");
    let two = server.comes_to("two", is("Paused"));
    assert_eq!(two["weight"]["in_force"], 5);
    server.ctl(&["start", "two"]).exits(1).says("a release is under way already: it is Paused");
    server.ctl(&["start", "one"]).exits(1).says("all users are in the canary's place, on 3.2");
    server.ctl(&["abort", "two", "--reason", "ticket 7"]).exits(0);
    server.comes_to("two", is("Degraded"));
    let aborted = place.records("two").into_iter().find(|record| record["reason"] == "ticket 7");
    assert!(aborted.is_some(), "the reason is in the journal");
    let merged = envoy.envoy().merged();
    assert_eq!(merged["canary.one.weight"], "100@3.2");
    assert_eq!(merged["canary.two.weight"], "0@3.2");
}

#[test]
fn versions_come_from_the_command_and_a_pair_of_equal_ones_is_refused() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    let server = Server::start(&place, &[]);
    server.comes_to("one", |status| status["stable"]["version"] == "3.1");
    let equal = server.ctl(&["start", "one", "--canary-version", "3.1"]).exits(1);
    equal.says("the canary's version would be 3.1, as stable's is");
    server.ctl(&["start", "one", "--canary-version", "a b"]).exits(2).says("version label");
    server.ctl(&["start", "one", "--stable-version", "3.0"]).exits(0);
    let start = |place: &Place| place.records("one")[0].clone();
    assert_eq!(start(&place)["versions"], json!({"stable": "3.0", "canary": "3.2"}));
    server.comes_to("one", is("Paused"));
    server.ctl(&["abort", "one"]).exits(0);
    server.comes_to("one", is("Degraded"));
    server.ctl(&["start", "one"]).exits(0);
    // The label that the first release set is in force, so that is the version that runs there.
    assert_eq!(envoy.envoy().merged()["canary.one.stable_version"], "3.1=3.0");
    assert_eq!(start(&place)["versions"], json!({"stable": "3.0", "canary": "3.2"}));
}

#[test]
fn each_release_has_a_journal_and_history_shows_all() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    let server = Server::start(&place, &[]);
    for _ in 0..3 {
        server.comes_to("one", |status| status["stable"]["version"] == "3.1");
        server.ctl(&["start", "one"]).exits(0);
        server.comes_to("one", is("Paused"));
        server.ctl(&["abort", "one"]).exits(0);
        server.comes_to("one", is("Degraded"));
        crate::until("the end to be written", || {
            place.records("one").last().unwrap()["record"] == "end"
        });
    }
    let starts = place.records("one").iter().filter(|record| record["record"] == "start").count();
    assert_eq!(starts, 1, "a journal holds one release");
    let state = place.state();
    let mut history =
        command(&["history", "one", "--state", state.to_str().unwrap(), "-o", "json"]);
    let history = run(&mut history).exits(0).json();
    assert_eq!(history.as_array().unwrap().len(), 3);
    let mut report = command(&["report", "one", "--state", state.to_str().unwrap(), "-o", "json"]);
    assert_eq!(run(&mut report).exits(0).json()["phase"], "Degraded");
}

#[test]
fn an_envoy_that_restarts_gets_the_final_state_back() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &quick("one", &[&envoy]));
    let mut server = Server::start(&place, &[]);
    server.comes_to("one", |status| status["stable"]["version"] == "3.1");
    server.ctl(&["start", "one"]).exits(0);
    server.hears("one: Healthy");
    envoy.envoy().runtime.clear();
    let weight = || envoy.envoy().merged().get("canary.one.weight").cloned();
    crate::until("the weight to be set again", || weight().as_deref() == Some("100@3.2"));
    // The same after a restart of the controller.
    server.kill();
    envoy.envoy().runtime.clear();
    let again = Server::start(&place, &[]);
    again.comes_to("one", is("Healthy"));
    crate::until("the weight to be set again", || weight().as_deref() == Some("100@3.2"));
    // What somebody else has set since is shown, not overwritten.
    envoy.envoy().runtime.insert("canary.one.weight".to_owned(), "7@3.2".to_owned());
    let shown = again.comes_to("one", |status| !status["envoys"][0]["error"].is_null());
    let error = shown["envoys"][0]["error"].as_str().unwrap();
    assert!(error.contains("it was changed after the end"), "{error}");
    assert_eq!(weight().as_deref(), Some("7@3.2"));
}
