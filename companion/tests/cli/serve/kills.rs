//! `serve` is killed at any moment, and goes on with every rollout.

use super::*;

/// A random number that is the same in every run of the test.
pub(super) fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn killed_at_any_time_every_rollout_goes_on() {
    for seed in [1_u64, 7, 23] {
        killed_with(seed);
    }
}

fn killed_with(mut seed: u64) {
    let names = ["one", "two", "bad"];
    let (place, envoy) = (Place::new(), busy(&["one", "two"]));
    envoy.envoy().busy_rollout("bad", 400.0, 40);
    for name in names {
        let mut rollout = quick(name, &[&envoy]);
        rollout["steps"] = json!([
            {"setWeight": 5}, {"pause": {"duration": "1s"}},
            {"setWeight": 50}, {"pause": {"duration": "1s"}},
        ]);
        place.file(&format!("{name}.yaml"), &rollout);
    }
    let mut server = Server::start(&place, &[]);
    for name in names {
        server.comes_to(name, |status| status["stable"]["version"] == "3.1");
        // A busy machine may take longer to look at its Envoy than a lease of 3 s allows.
        crate::until("the start", || server.ctl(&["start", name]).code == 0);
    }
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(next(&mut seed) % 700));
        server.kill();
        server = Server::start(&place, &[]);
    }
    for (name, phase) in [("one", "Healthy"), ("two", "Healthy"), ("bad", "Degraded")] {
        let end = server.comes_to(name, is(phase));
        assert_eq!(end["phase"], phase);
        crate::until("the end to be written", || {
            place.records(name).last().unwrap()["record"] == "end"
        });
        let records = place.records(name);
        let events = records.iter().filter_map(|record| record["events"].as_array()).flatten();
        let steps: Vec<&Value> =
            events.filter(|event| event["event"] == "step").map(|event| &event["step"]).collect();
        // The bad one may get as far as the second step before there is enough evidence.
        let expected: Vec<usize> = (0..if name == "bad" { steps.len() } else { 2 }).collect();
        assert_eq!(json!(steps), json!(expected), "{name}: each decision once");
        assert_eq!(records.iter().filter(|record| record["record"] == "start").count(), 1);
    }
}

#[test]
fn it_stops_cleanly_and_goes_on() {
    let (place, envoy) = (Place::new(), busy(&["one"]));
    place.file("one.yaml", &patient("one", &[&envoy]));
    let mut server = Server::start(&place, &[]);
    server.comes_to("one", |status| status["stable"]["version"] == "3.1");
    server.ctl(&["start", "one"]).exits(0);
    server.comes_to("one", is("Paused"));
    let pid = server.child.id().to_string();
    let terminated = std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(terminated.success());
    let end = Instant::now() + patience();
    let status = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < end, "still running");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
    assert_eq!(envoy.envoy().merged()["canary.one.weight"], "5@3.2");
    let again = Server::start(&place, &[]);
    again
        .comes_to("one", |status| status["phase"] == "Paused" && status["weight"]["in_force"] == 5);
    let records = place.records("one");
    assert_eq!(records.iter().filter(|record| record["record"] == "start").count(), 1);
}
