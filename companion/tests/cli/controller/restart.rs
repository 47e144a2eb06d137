//! What a stopped controller leaves behind, and how the next one goes on.

use std::process::Command;

use super::hooks::Web;
use super::*;
use crate::fake::Filter;

fn weights(records: &[Value]) -> Vec<Value> {
    let steps = records.iter().filter_map(|record| record["events"].as_array());
    let events = steps.flatten().filter(|event| event["event"] == "step");
    events.map(|event| event["weight"].clone()).collect()
}

/// Kills a controller at a point of its rollout, and makes sure that this is where it was: in a phase, with
/// these weights decided.
#[track_caller]
fn kill_in(place: &Place, controller: &mut Controller, phase: &str, decided: &[u32]) {
    controller.kill();
    let records = place.records();
    let step = records.iter().rfind(|record| record["record"] == "step").unwrap();
    assert_eq!(step["phase"], phase, "{:#?}", controller.said);
    assert_eq!(json!(weights(&records)), json!(decided), "{:#?}", controller.said);
}

/// A rollout that a gate holds before each of its steps and before its promotion, so that it stays at
/// each point until a test lets it go on.
fn gated(envoy: &Fake, gates: &[Web; 3]) -> Value {
    let mut rollout = quick(&[envoy]);
    let gate =
        |(before, gate): (Value, &Web)| json!({"before": before, "url": gate.url, "timeout": "2s"});
    rollout["gates"] =
        [json!(5), json!(50), json!("promotion")].into_iter().zip(gates).map(gate).collect();
    rollout
}

#[test]
fn killed_at_any_time_it_goes_on_where_it_was() {
    let (place, envoy) = (Place::new(), busy(0));
    let gates = [(); 3].map(|()| Web::start(503, "not yet"));
    let file = place.file(&gated(&envoy, &gates));
    let mut owners = Vec::new();
    let mut first = Controller::start(&place, &file, &[]);
    first.hears(&format!("{} holds it", gates[0].url));
    kill_in(&place, &mut first, "Pending", &[]);
    for (index, decided) in [[5].as_slice(), &[5, 50]].into_iter().enumerate() {
        gates[index].answers(204, "");
        let mut begins = resumed(&place, &file);
        begins.hears(&format!("step {} of 2", index + 1));
        kill_in(&place, &mut begins, "Progressing", decided);
        let mut waits = resumed(&place, &file);
        waits.comes_to(|status| {
            let shown = status["weight"]["in_force"] == json!(decided.last());
            let waits = status["waits_for"].as_str().unwrap_or_default();
            shown && waits.contains(&gates[index + 1].url)
        });
        kill_in(&place, &mut waits, "Progressing", decided);
        owners.extend(envoy.envoy().merged().get("canary.scorer.owner").cloned());
    }
    envoy.envoy().filter = Filter::Dead;
    gates[2].answers(204, "");
    let mut begins = resumed(&place, &file);
    begins.hears("promoting");
    kill_in(&place, &mut begins, "Promoting", &[5, 50]);
    let mut waits = resumed(&place, &file);
    waits.comes_to(|status| status["phase"] == "Promoting" && status["weight"]["in_force"] == 50);
    kill_in(&place, &mut waits, "Promoting", &[5, 50]);
    owners.extend(envoy.envoy().merged().get("canary.scorer.owner").cloned());
    envoy.envoy().filter = Filter::Follows;
    let mut last = resumed(&place, &file);
    assert_eq!(last.ends(), 0, "{:#?}", last.said);
    let records = place.records();
    assert_eq!(weights(&records), [json!(5), json!(50)], "each decision once");
    assert_eq!(records.iter().filter(|record| record["record"] == "start").count(), 1);
    owners.dedup();
    assert_eq!(owners.len(), 1, "the same owner all along: {owners:?}");
}

#[test]
fn killed_while_it_rolls_back_it_goes_on_rolling_back() {
    let (place, envoy) = (Place::new(), busy(30));
    let file = place.file(&quick(&[&envoy]));
    let mut first = Controller::start(&place, &file, &[]);
    first.hears("step 1 of 2");
    // It answers questions and takes no orders: everything is decided and nothing arrives.
    envoy.envoy().read_only = true;
    first.hears("rolling back");
    kill_in(&place, &mut first, "Aborting", &[5]);
    let mut second = resumed(&place, &file);
    second.comes_to(|status| status["phase"] == "Aborting");
    kill_in(&place, &mut second, "Aborting", &[5]);
    envoy.envoy().read_only = false;
    let mut last = resumed(&place, &file);
    assert_eq!(last.ends(), 1, "{:#?}", last.said);
    assert!(last.said("Degraded: failures"), "{:#?}", last.said);
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "0@3.2");
}

/// The next controller, which goes on.
#[track_caller]
fn resumed(place: &Place, file: &Path) -> Controller {
    let controller = Controller::start(place, file, &[]);
    assert!(controller.said("continuing the unfinished rollout"), "{:#?}", controller.said);
    controller
}

/// The first answer after a restart has what happened before it, in every place that shows it.
#[test]
fn what_happened_before_a_restart_is_shown_at_once() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.file(&patient(&[&envoy]));
    let mut first = Controller::start(&place, &file, &[]);
    first.hears("paused");
    let recent = |controller: &Controller| -> Value {
        let url = format!("{}/api/v1/rollouts/scorer", controller.url);
        let answer: Value = serde_json::from_str(&http("GET", &url, &[]).1).unwrap();
        answer["detail"]["recent"].clone()
    };
    let before = recent(&first);
    let last = before.as_array().unwrap().last().unwrap()["text"].as_str().unwrap().to_owned();
    assert!(last.starts_with("paused"), "{before:#}");
    for asked in ["get", "get -w", "page", "api"] {
        kill_in(&place, &mut first, "Paused", &[5]);
        first = resumed(&place, &file);
        let text = match asked {
            "get" => first.ctl(&["get", "rollout", "scorer"]).exits(0).stdout,
            "get -w" => {
                let mut watch = command(&["get", "rollout", "scorer", "-w", "--interval", "60s"]);
                let watch = watch.args(["--controller", &first.url]).stdout(Stdio::piped());
                let mut watch = watch.spawn().unwrap();
                let (sender, lines) = mpsc::channel();
                listen(watch.stdout.take().unwrap(), sender);
                let found = lines.iter().find(|line| line.contains(&last));
                watch.kill().unwrap();
                watch.wait().unwrap();
                found.unwrap_or_default()
            }
            "page" => http("GET", &format!("{}/", first.url), &[]).1,
            _ => recent(&first).to_string(),
        };
        assert!(text.contains(&last), "{asked}: no \"{last}\" in {text}");
    }
    assert_eq!(recent(&first), before);
}

#[test]
fn a_torn_journal_loses_its_last_line_alone() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.file(&patient(&[&envoy]));
    let mut controller = Controller::start(&place, &file, &[]);
    controller.hears("paused");
    controller.kill();
    let whole = std::fs::read(place.journal()).unwrap();
    std::fs::write(place.journal(), &whole[..whole.len() - 7]).unwrap();
    let mut again = Controller::start(&place, &file, &[]);
    assert!(again.said("dropped a torn last line"), "{:#?}", again.said);
    again.comes_to(|status| status["phase"] == "Paused");
    again.ctl(&["abort", "scorer"]).exits(0);
    assert_eq!(again.ends(), 1);
}

#[test]
fn another_file_does_not_go_on_with_a_rollout() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &[]);
    controller.hears("paused");
    controller.kill();
    let mut other = Controller::spawn(&place, &place.file(&quick(&[&envoy])), &[]);
    assert_eq!(other.ends(), 2);
    assert!(other.said("another rollout file"), "{:#?}", other.said);
}

#[test]
fn a_signal_stops_it_and_changes_no_weight() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.file(&patient(&[&envoy]));
    let mut controller = Controller::start(&place, &file, &[]);
    controller.hears("paused");
    let pid = controller.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(controller.ends(), 1);
    assert!(controller.said("the weight stays at 5 %"), "{:#?}", controller.said);
    assert!(
        controller.said("the lease returns all traffic to stable within 3s"),
        "{:#?}",
        controller.said
    );
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "5@3.2");
    let in_force = || ctl_get(&envoy)["weight"]["in_force"].clone();
    let end = Instant::now() + patience();
    while in_force() != json!(0) {
        assert!(Instant::now() < end, "the lease must run out");
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut again = Controller::start(&place, &file, &[]);
    again.comes_to(|status| status["weight"]["in_force"] == 5);
    again.kill();
}

#[test]
fn what_was_decided_stays_decided() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.file(&quick(&[&envoy]));
    let mut controller = Controller::start(&place, &file, &["--stay"]);
    controller.hears("Healthy");
    let end = Instant::now() + patience();
    let journal = || std::fs::read_to_string(place.journal()).unwrap();
    while !journal().contains("\"record\":\"end\"") {
        assert!(Instant::now() < end, "the end is written down");
        std::thread::sleep(Duration::from_millis(20));
    }
    controller.kill();
    let updates = envoy.envoy().updates.len();
    let again = Controller::start(&place, &file, &["--stay"]);
    assert!(again.said("has ended already"), "{:#?}", again.said);
    again.ctl(&["status", "scorer", "--watch"]).exits(0);
    assert_eq!(envoy.envoy().updates.len(), updates, "nothing is set again");
    drop(again);
    assert_eq!(journal().matches("\"record\":\"end\"").count(), 1, "and nothing is written again");
    let mut told = Controller::start(&place, &file, &[]);
    assert_eq!(told.ends(), 0, "killed before it had told its end, it tells it");
    assert!(told.said("killed before it reported the result"), "{:#?}", told.said);
    let mut anew = Controller::start(&place, &file, &[]);
    anew.hears("step 1 of 2: weight 5 %");
}

fn ctl_get(envoy: &Fake) -> Value {
    super::super::ctl(&[envoy], &["get", "rollout", "scorer", "-o", "json"]).exits(0).json()
}

#[test]
fn a_journal_that_cannot_be_written_is_refused_before_anything_is_done() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.file(&quick(&[&envoy]));
    let nowhere = ["--journal", "/proc/nowhere/journal.jsonl"];
    let mut refused = command(&["run", file.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    run(refused.args(nowhere)).exits(4).says("can't make the folder of the journal");
    assert!(envoy.envoy().updates.is_empty());
}

#[test]
fn nothing_is_done_that_the_full_disk_does_not_hold() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.file(&patient(&[&envoy]));
    // The system's limit on a file's size fails writes as a full disk does.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
    let mut limited = Command::new("sh");
    limited.args(["-c", script, env!("CARGO_BIN_EXE_canaryctl"), "run", file.to_str().unwrap()]);
    limited.args(["--tick", "20ms", "--listen", "127.0.0.1:0"]);
    limited.args(["--journal", place.journal().to_str().unwrap()]);
    limited.env_clear().env("USER", "ann").env("PATH", "/usr/bin:/bin");
    run(&mut limited).exits(4).says("can't write the journal").says("free some space");
    let records = place.records();
    assert_ne!(records.last().unwrap()["record"], "end");
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "5@3.2", "the lease brings it back");
    let again = Controller::start(&place, &file, &[]);
    assert!(again.said("continuing the unfinished rollout"), "{:#?}", again.said);
    again.comes_to(|status| status["phase"] == "Paused");
}

#[test]
fn two_controllers_never_drive_one_rollout() {
    let (place, other, envoy) = (Place::new(), Place::new(), busy(0));
    let file = place.file(&patient(&[&envoy]));
    let mut first = Controller::start(&place, &file, &[]);
    first.hears("paused");
    let mut same_journal = Controller::spawn(&place, &file, &[]);
    assert_eq!(same_journal.ends(), 1);
    assert!(same_journal.said("another controller (process "), "{:#?}", same_journal.said);
    let mut same_rollout = Controller::spawn(&other, &file, &[]);
    assert_eq!(same_rollout.ends(), 1);
    assert!(same_rollout.said("is driven by ann@desk/run-"), "{:#?}", same_rollout.said);
    assert!(!other.journal().exists() || other.records().is_empty());
    super::super::ctl(&[&envoy], &["set", "weight", "scorer", "9"]).exits(1).says("is driven by");
    let second = Controller::start(&other, &file, &["--takeover"]);
    assert_eq!(first.ends(), 1);
    assert!(first.said("drives this rollout now"), "{:#?}", first.said);
    second.comes_to(|status| status["phase"] == "Paused" && status["weight"]["in_force"] == 5);
}
