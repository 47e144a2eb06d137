//! Whole releases under `serve`: deploy hooks, the judged handover and `finish`, and what kills of the
//! controller and restarts of an Envoy do to them in each phase.

use super::kills::next;
use super::*;
use crate::process::whole_lines;

/// Writes a hook beside the rollout files, which notes its calls, and gives the section that runs it.
fn hook(place: &Place, then: &str, min_requests: u64) -> Value {
    let text = format!("echo \"$CANARY_ROLE $CANARY_VERSION\" >> called\n{then}\n");
    std::fs::write(place.files().join("deploy.sh"), text).unwrap();
    json!({"command": ["/bin/sh", "./deploy.sh"], "timeout": "60s", "minRequests": min_requests})
}

/// A rollout with a deploy section.
fn release(envoy: &Fake, deploy: &Value) -> Value {
    let mut rollout = quick("one", &[envoy]);
    rollout["deploy"] = deploy.clone();
    rollout
}

fn calls(place: &Place, role: &str) -> usize {
    let text = std::fs::read_to_string(place.files().join("called")).unwrap_or_default();
    whole_lines(&text).filter(|call| call.starts_with(role)).count()
}

#[track_caller]
fn is_finished(envoy: &Fake, version: &str) {
    let shown = |key: &str| envoy.envoy().merged().get(&format!("canary.one.{key}")).cloned();
    let shown =
        ["weight", "enabled", "stable_version", "canary_version", "lease", "owner"].map(shown);
    let labels = ["3.1", "3.2"].map(|configured| Some(format!("{configured}={version}")));
    let [stable, canary] = labels;
    let enabled = Some("100".to_owned());
    assert_eq!(shown, [Some(format!("0@{version}")), enabled, stable, canary, None, None]);
}

fn events(place: &Place, event: &str) -> Vec<Value> {
    let records = place.records("one");
    let all = records.iter().filter_map(|record| record["events"].as_array()).flatten();
    all.filter(|one| one["event"] == event).cloned().collect()
}

fn is_idle(status: &Value) -> bool {
    status["stable"]["version"] == "3.1"
}

#[test]
fn each_release_ends_with_its_version_in_both_places() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &release(&envoy, &hook(&place, "", 100)));
    let mut server = Server::start(&place, &[]);
    server.comes_to("one", is_idle);
    for (version, before) in [("3.3", "3.1"), ("3.4", "3.3")] {
        server.ctl(&["start", "one", "--canary-version", version]).exits(0);
        let versions = &place.records("one")[0]["versions"];
        assert_eq!(versions["canary"], version);
        assert!(versions["stable"].is_null() || versions["stable"] == before, "{versions}");
        server.hears(&format!("both places run version {version}"));
        server.comes_to("one", is("Healthy"));
        is_finished(&envoy, version);
        let aborted = server.ctl(&["abort", "one"]).exits(1);
        aborted.says(&format!("`canaryctl start one --canary-version {before}`"));
    }
    assert_eq!((calls(&place, "canary"), calls(&place, "stable")), (2, 2));
}

#[test]
fn a_release_without_a_hook_is_finished_by_command() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &release(&envoy, &json!({"minRequests": 100})));
    let mut server = Server::start(&place, &[]);
    server.comes_to("one", is_idle);
    server.ctl(&["finish", "one"]).exits(1);
    server.ctl(&["start", "one", "--canary-version", "3.3"]).exits(0);
    server.hears("run `canaryctl finish one");
    server.comes_to("one", is("Healthy"));
    assert_eq!(envoy.envoy().merged()["canary.one.weight"], "100@3.3");
    server.ctl(&["start", "one"]).exits(1).says("all users are in the canary's place");
    server.ctl(&["finish", "one"]).exits(0);
    server.hears("both places run version 3.3");
    server.comes_to("one", is("Healthy"));
    is_finished(&envoy, "3.3");
    server.ctl(&["finish", "one"]).exits(1).says("there is nothing to finish");
}

#[test]
fn a_new_stable_that_fails_gets_nobody_until_it_is_better() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &release(&envoy, &hook(&place, "", 400)));
    let stable_fails = |percent| {
        envoy.envoy().others.get_mut("one").unwrap().stable_fails = percent;
    };
    let mut server = Server::start(&place, &[]);
    server.comes_to("one", is_idle);
    server.ctl(&["start", "one", "--canary-version", "3.3"]).exits(0);
    server.hears("deploying version 3.3 into stable's place");
    stable_fails(30);
    let paused = server.comes_to("one", is("Paused"));
    assert_eq!(paused["weight"]["set"], 100, "{paused}");
    assert!(paused["waits_for"].as_str().unwrap().contains("finish"), "{paused}");
    stable_fails(0);
    server.ctl(&["finish", "one"]).exits(0);
    server.hears("both places run version 3.3");
    is_finished(&envoy, "3.3");
}

/// In each phase the controller is killed and the Envoy restarts, in either order, at any moment.
#[test]
fn killed_and_restarted_in_each_phase_a_release_ends_as_it_should() {
    for seed in [2_u64, 9] {
        struck_with(seed);
    }
}

fn struck_with(mut seed: u64) {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    let waits = "while [ ! -e go-$CANARY_ROLE ]; do sleep 0.05; done";
    let mut rollout = release(&envoy, &hook(&place, waits, 600));
    rollout["steps"] = json!([
        {"setWeight": 5}, {"pause": {"duration": "2s"}},
        {"setWeight": 50}, {"pause": {}},
    ]);
    place.file("one.yaml", &rollout);
    let go = |role: &str| std::fs::write(place.files().join(format!("go-{role}")), "").unwrap();
    let weight =
        |weight: &str| envoy.envoy().merged().get("canary.one.weight").is_some_and(|w| w == weight);
    let mut strike = |server: &mut Server| {
        let kill_first = next(&mut seed).is_multiple_of(2);
        for kills in [kill_first, !kill_first] {
            std::thread::sleep(Duration::from_millis(next(&mut seed) % 300));
            if kills {
                server.kill();
                *server = Server::start(&place, &[]);
            } else {
                envoy.envoy().restart();
            }
        }
    };

    let mut server = Server::start(&place, &[]);
    server.comes_to("one", is_idle);
    server.ctl(&["start", "one", "--canary-version", "3.3"]).exits(0);
    crate::until("the first call", || calls(&place, "canary") == 1);
    strike(&mut server);
    crate::until("the second call", || calls(&place, "canary") == 2);
    assert!(envoy.envoy().merged().is_empty(), "no weight has moved");
    go("canary");

    crate::until("the first step", || weight("5@3.3"));
    strike(&mut server);
    crate::until("the second step", || weight("50@3.3"));
    server.comes_to("one", is("Paused"));
    strike(&mut server);
    server.comes_to("one", |status| {
        status["phase"] == "Paused" && status["weight"]["in_force"] == 50
    });
    crate::until("promote", || server.ctl(&["promote", "one"]).code == 0);

    crate::until("the first call for stable", || calls(&place, "stable") == 1);
    strike(&mut server);
    crate::until("the second call for stable", || calls(&place, "stable") == 2);
    crate::until("100 % again", || weight("100@3.3"));
    assert!(
        !envoy.envoy().merged().contains_key("canary.one.lease"),
        "nothing returns it to stable"
    );
    go("stable");

    crate::until("the handover", || weight("50@3.3"));
    strike(&mut server);
    server.comes_to("one", is("Healthy"));
    is_finished(&envoy, "3.3");
    strike(&mut server);
    server.comes_to("one", is("Healthy"));
    crate::until("the final state", || weight("0@3.3"));
    is_finished(&envoy, "3.3");

    is_told_once(&place);
}

/// Each decision is in the journal once, and a deploy whose end is in it isn't done again.
#[track_caller]
fn is_told_once(place: &Place) {
    assert_eq!((calls(place, "canary"), calls(place, "stable")), (2, 2), "done is done");
    for (event, times) in
        [("started", 1), ("deployed", 2), ("promoting", 1), ("finalizing", 1), ("finished", 1)]
    {
        assert_eq!(events(place, event).len(), times, "{event}");
    }
    let steps: Vec<Value> = events(place, "step").iter().map(|one| one["step"].clone()).collect();
    assert_eq!(steps, [0, 1], "each decision once");
    let records = place.records("one");
    assert_eq!(records.iter().filter(|record| record["record"] == "start").count(), 1);
}
