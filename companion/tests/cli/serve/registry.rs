//! Releases that a model registry starts, and what is written back to it.

use super::*;
use crate::registry::FakeRegistry;
use crate::until;

/// A rollout file with the registry, asked every second.
fn registered(mut rollout: Value, registry: &FakeRegistry) -> Value {
    rollout["registry"] = json!({"mlflow": {"uri": registry.url, "model": "scorer", "poll": "1s"}});
    rollout
}

fn tag(registry: &FakeRegistry, version: &str, tag: &str) -> String {
    registry.tag(version, &format!("canary.{tag}")).unwrap_or_default()
}

#[test]
fn an_alias_starts_a_release_and_gets_its_result() {
    let (place, envoy, registry) = (Place::new(), busy(&["one"]), FakeRegistry::start());
    place.file("one.yaml", &registered(quick("one", &[&envoy]), &registry));
    registry.set("challenger", "2");
    let mut server = Server::start(&place, &["--public-url", "https://canary.example.com/"]);
    server.hears("one: Healthy");
    until("the champion", || registry.alias("champion").as_deref() == Some("2"));
    assert_eq!(tag(&registry, "2", "outcome"), "healthy");
    assert_eq!(tag(&registry, "2", "rollout"), "one");
    assert_eq!(tag(&registry, "2", "report"), "https://canary.example.com/rollouts/one");
    assert!(tag(&registry, "2", "ended_at").ends_with('Z'), "{}", tag(&registry, "2", "ended_at"));
    let start = place.records("one")[0].clone();
    assert_eq!(start["versions"], json!({"stable": "1", "canary": "2"}), "against the champion");
    let status = server.comes_to("one", is("Healthy"));
    assert_eq!(status["canary"]["version"], "2");
    // Aborted after all, the champion goes back.
    server.ctl(&["abort", "one", "--reason", "ticket 7"]).exits(0);
    until("the old champion", || registry.alias("champion").as_deref() == Some("1"));
    assert_eq!(tag(&registry, "2", "outcome"), "degraded");
}

#[test]
fn a_version_that_was_rolled_back_starts_again_only_after_another() {
    let (place, envoy, registry) = (Place::new(), busy(&["one"]), FakeRegistry::start());
    place.file("one.yaml", &registered(patient("one", &[&envoy]), &registry));
    let mut server = Server::start(&place, &[]);
    registry.set("challenger", "2");
    server.comes_to("one", is("Paused"));
    // A move during the release waits for its end and is shown.
    registry.set("challenger", "3");
    let waits = |status: &Value| status["waits_for"].as_str().unwrap_or_default().to_owned();
    let moved =
        "challenger is now version 3 in the registry, which counts after this release's end";
    server.comes_to("one", |status| waits(status).contains(moved));
    registry.set("challenger", "2");
    server.comes_to("one", |status| !waits(status).contains("challenger"));
    server.ctl(&["abort", "one", "--reason", "ticket 7"]).exits(0);
    // Tags are written one after the other, the outcome as the last.
    until("the outcome", || tag(&registry, "2", "outcome") == "degraded");
    for written in ["rollout", "reason", "ended_at"] {
        assert!(!tag(&registry, "2", written).is_empty(), "{written}");
    }
    assert_eq!(registry.alias("champion").as_deref(), Some("1"));
    // Neither goes on by itself, nor after a restart.
    let asked = registry.get().credentials.len();
    until("three looks at the aliases", || registry.get().credentials.len() >= asked + 6);
    server.comes_to("one", is("Degraded"));
    server.kill();
    let server = Server::start(&place, &[]);
    let asked = registry.get().credentials.len();
    until("three looks at the aliases", || registry.get().credentials.len() >= asked + 6);
    server.comes_to("one", is("Degraded"));
    registry.set("challenger", "1");
    let asked = registry.get().credentials.len();
    until("two looks at the aliases", || registry.get().credentials.len() >= asked + 4);
    server.comes_to("one", is("Degraded"));
    registry.set("challenger", "2");
    server.comes_to("one", is("Paused"));
}

/// A fault of the disk at the start isn't the end of the registry.
#[test]
fn a_memory_that_cannot_be_read_at_the_start_is_tried_again() {
    let (place, envoy, registry) = (Place::new(), busy(&["one"]), FakeRegistry::start());
    place.file("one.yaml", &registered(quick("one", &[&envoy]), &registry));
    registry.set("challenger", "2");
    let memory = place.state().join("one.registry.json");
    std::fs::create_dir_all(&memory).unwrap();
    let mut server = Server::start(&place, &[]);
    let waits = |status: &Value| status["waits_for"].as_str().unwrap_or_default().to_owned();
    server.comes_to("one", |status| waits(status).contains("can't read"));
    std::fs::remove_dir(&memory).unwrap();
    server.hears("one: Healthy");
    until("the champion", || registry.alias("champion").as_deref() == Some("2"));
}

/// Nothing waits for a registry, and results arrive when it is back, also after kill -9.
#[test]
fn results_wait_for_the_registry_across_a_restart() {
    let (place, envoy, registry) = (Place::new(), busy(&["one"]), FakeRegistry::start());
    place.file("one.yaml", &registered(patient("one", &[&envoy]), &registry));
    registry.set("challenger", "2");
    let mut server = Server::start(&place, &[]);
    server.comes_to("one", is("Paused"));
    registry.get().down = true;
    server.ctl(&["promote", "one"]).exits(0);
    server.hears("one: Healthy");
    let shown = |text: &'static str| {
        move |status: &Value| status["waits_for"].as_str().is_some_and(|said| said.contains(text))
    };
    let pending = "still to be written back: version 2 is healthy, champion is version 2";
    server.comes_to("one", shown(pending));
    server.comes_to("one", shown("503 Service Unavailable"));
    server.kill();
    let server = Server::start(&place, &[]);
    server.comes_to("one", shown(pending));
    assert_eq!(registry.alias("champion").as_deref(), Some("1"));
    registry.get().down = false;
    until("the champion", || registry.alias("champion").as_deref() == Some("2"));
    server.comes_to("one", |status| !shown("written back")(status));
}

#[test]
fn a_missing_model_is_said_and_a_missing_alias_is_nothing() {
    let (place, envoy, registry) = (Place::new(), busy(&["one", "two"]), FakeRegistry::start());
    place.file("one.yaml", &registered(patient("one", &[&envoy]), &registry));
    let mut other = registered(patient("two", &[&envoy]), &registry);
    other["registry"]["mlflow"]["model"] = json!("ranker");
    place.file("two.yaml", &other);
    let server = Server::start(&place, &[]);
    let said = |status: &Value| status["waits_for"].as_str().unwrap_or_default().to_owned();
    server.comes_to("two", |status| said(status).contains("name=ranker not found"));
    assert_eq!(
        said(&server.comes_to("one", is("Pending"))),
        "waits for its start: canaryctl start one"
    );
}

/// The token goes to the registry with every request, and nowhere else.
#[test]
fn credentials_are_those_of_mlflows_client() {
    let (place, envoy, registry) = (Place::new(), busy(&["one"]), FakeRegistry::start());
    place.file("one.yaml", &registered(patient("one", &[&envoy]), &registry));
    registry.set("challenger", "2");
    let server = Server::spawn(&place, &[], |mut ctl| {
        ctl.env("MLFLOW_TRACKING_TOKEN", "s3cr3t");
        ctl
    });
    let status = server.comes_to("one", is("Paused"));
    assert!(!status.to_string().contains("s3cr3t"));
    let sent = registry.get().credentials.clone();
    assert!(sent.iter().all(|one| one.as_deref() == Some("Bearer s3cr3t")), "{sent:?}");
    for entry in std::fs::read_dir(place.state()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("s3cr3t"), "{}", path.display());
    }
}

/// Versions of MLflow are numbers; whatever else a registry says reaches neither a hook nor an Envoy.
#[test]
fn what_the_registry_calls_a_version_is_never_run() {
    let (place, envoy, registry) = (Place::new(), busy(&["one"]), FakeRegistry::start());
    let mut rollout = registered(patient("one", &[&envoy]), &registry);
    rollout["deploy"] = json!({"command": ["/bin/sh", "-c", "echo \"$CANARY_VERSION\" >> called"]});
    place.file("one.yaml", &rollout);
    let server = Server::start(&place, &[]);
    for odd in ["2; touch hacked", "$(touch hacked)", "../2", "2\n3", "5@2"] {
        registry.get().versions.insert(odd.to_owned(), Default::default());
        registry.set("challenger", odd);
        let told = format!("scorer {odd} in the registry can't be a version's label");
        server.comes_to("one", |status| {
            status["waits_for"].as_str().is_some_and(|waits| waits.contains(&told))
        });
    }
    assert!(envoy.envoy().updates.is_empty(), "{:?}", envoy.envoy().updates);
    registry.set("challenger", "2");
    server.comes_to("one", is("Paused"));
    let called = std::fs::read_to_string(place.files().join("called")).unwrap();
    assert_eq!(called, "2\n");
    assert!(!place.files().join("hacked").exists());
}
