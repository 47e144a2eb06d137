//! Files that appear, change, break and go.

use super::*;

#[test]
fn a_file_takes_effect_while_its_rollout_is_idle() {
    let (place, envoy) = (Place::new(), busy(&["one", "late"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    let mut server = Server::start(&place, &[]);
    server.comes_to("one", |status| status["stable"]["version"] == "3.1");
    place.file("late.yaml", &patient("late", &[&envoy]));
    server.comes_to("late", |status| status["stable"]["version"] == "3.1");
    let mut other = patient("one", &[&envoy]);
    other["steps"] = json!([{"setWeight": 7}, {"pause": {}}]);
    place.file("one.yaml", &other);
    let told = server.line("one: its file has changed");
    assert!(!told.contains("warning"), "it's nothing to worry about: {told}");
    server.ctl(&["start", "one"]).exits(0);
    let paused = server.comes_to("one", is("Paused"));
    assert_eq!(paused["weight"]["set"], 7);
    // A change during a release waits for the next one.
    place.file("one.yaml", &patient("one", &[&envoy]));
    let waiting = server.comes_to("one", |status| status["notes"][0].is_string());
    let note = waiting["notes"][0].as_str().unwrap();
    assert!(note.contains("one.yaml has changed since this release began"), "{note}");
    let text = server.ctl(&["get", "rollout", "one"]).exits(0).stdout;
    assert!(text.contains("has changed since this release began"), "{text}");
    assert_eq!(envoy.envoy().merged()["canary.one.weight"], "7@3.2");
    server.ctl(&["abort", "one"]).exits(0);
    server.comes_to("one", is("Degraded"));
    server.ctl(&["start", "one"]).exits(0);
    let next = server.comes_to("one", is("Paused"));
    assert_eq!((&next["weight"]["set"], &next["notes"]), (&json!(5), &Value::Null));
}

#[test]
fn a_broken_file_and_a_second_one_change_nothing() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    place.file("never.yaml", &json!({"rollout": "never"}));
    let mut server = Server::start(&place, &[]);
    assert!(server.line("never.yaml").contains("steps"), "{:#?}", server.said);
    server.comes_to("one", |status| status["stable"]["version"] == "3.1");
    std::fs::write(place.files().join("one.yaml"), "rollout: [").unwrap();
    server.hears("rollout \"one\" keeps the last good file");
    place.file("second.yaml", &quick("one", &[&envoy]));
    server.hears("second.yaml: a second file of rollout \"one\"");
    let shown =
        server.comes_to("one", |status| status["notes"].as_array().is_some_and(|n| n.len() == 2));
    assert!(shown["notes"][0].as_str().unwrap().contains("keeps the last good file"), "{shown}");
    server.ctl(&["start", "one"]).exits(0);
    let paused = server.comes_to("one", is("Paused"));
    assert_eq!(paused["step"], json!({"index": 1, "of": 1}));
    assert_eq!(server.names(), ["one"]);
}

#[test]
fn a_rollout_whose_file_is_removed_goes_on_to_its_end() {
    let (place, envoy) = (Place::new(), busy(&["one", "idle"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    place.file("idle.yaml", &patient("idle", &[&envoy]));
    let mut server = Server::start(&place, &[]);
    server.comes_to("one", |status| status["stable"]["version"] == "3.1");
    server.ctl(&["start", "one"]).exits(0);
    server.comes_to("one", is("Paused"));
    std::fs::remove_file(place.files().join("one.yaml")).unwrap();
    std::fs::remove_file(place.files().join("idle.yaml")).unwrap();
    server.hears("one: its file is gone");
    crate::until("the idle one to go", || server.names() == ["one"]);
    // Also over a restart of the controller.
    server.kill();
    let again = Server::start(&place, &[]);
    again
        .comes_to("one", |status| status["phase"] == "Paused" && status["weight"]["in_force"] == 5);
    again.ctl(&["promote", "one", "--full"]).exits(0);
    crate::until("the rollout to end and go", || again.names().is_empty());
    assert_eq!(envoy.envoy().merged()["canary.one.weight"], "100@3.2");
    assert_eq!(place.records("one").last().unwrap()["phase"], "Healthy");
}
