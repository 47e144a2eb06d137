//! The verbs that steer and show a running rollout.

use super::*;
use crate::ctl;

#[test]
fn promote_pause_resume() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut rollout = patient(&[&envoy]);
    rollout["steps"] =
        json!([{"setWeight": 5}, {"pause": {}}, {"setWeight": 20}, {"pause": {"duration": "1h"}}]);
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears("paused");
    assert_eq!(controller.ctl(&["status", "scorer"]).exits(0).stdout, "Paused\n");
    let promoted = controller.ctl(&["promote", "scorer"]).exits(0);
    assert!(promoted.stdout.starts_with("scorer: promote: "), "{promoted:?}");
    controller.hears("step 2 of 2: weight 20 %");
    controller.ctl(&["pause", "scorer"]).exits(0);
    controller.ctl(&["resume", "scorer"]).exits(0);
    controller.ctl(&["resume", "scorer"]).exits(1).says("it is not paused");
    assert_eq!(controller.ctl(&["status", "scorer"]).exits(0).stdout, "Progressing\n");
    let late = ["status", "scorer", "--watch", "--timeout", "300ms"];
    controller.ctl(&late).exits(3).says("still Progressing");
    controller.ctl(&["retry", "scorer"]).exits(1).says("only a rollout that was rolled back");
    controller.ctl(&["promote", "scorer", "--full"]).exits(0);
    let watched = controller.ctl(&["status", "scorer", "--watch"]).exits(0);
    assert_eq!(watched.stdout, "Healthy\n");
    assert_eq!(controller.ends(), 0);
}

#[test]
fn abort_and_retry() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &["--stay"]);
    controller.hears("paused");
    controller.ctl(&["abort", "scorer"]).exits(0);
    let runtime = envoy.envoy().merged();
    assert_eq!(
        (&*runtime["canary.scorer.weight"], &*runtime["canary.scorer.enabled"]),
        ("0@3.2", "0")
    );
    controller.hears("Degraded");
    let degraded = controller.ctl(&["status", "scorer", "--watch"]).exits(1);
    assert_eq!(degraded.stdout, "Degraded\n");
    controller.ctl(&["retry", "scorer"]).exits(0);
    controller.hears("started again, attempt 2");
    controller.hears("paused");
    assert_eq!(envoy.envoy().merged()["canary.scorer.enabled"], "100");
}

#[test]
fn the_controller_aborts_when_somebody_else_does() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &[]);
    controller.hears("paused");
    ctl(&[&envoy], &["abort", "scorer"]).exits(0).says("drives this rollout");
    assert_eq!(controller.ends(), 1);
    assert!(controller.said("the kill switch was thrown"), "{:#?}", controller.said);
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "0@3.2");
}

#[test]
fn get_and_list_ask_the_controller() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &[]);
    controller.hears("paused");
    let got = controller.comes_to(|status| status["canary"]["requests"].as_u64() > Some(20));
    let keys: Vec<&String> = got.as_object().unwrap().keys().collect();
    let contract = [
        "canary",
        "effects",
        "envoys",
        "guard_tripped",
        "lease_expired",
        "metrics",
        "phase",
        "rollout",
        "stable",
        "step",
        "waits_for",
        "weight",
    ];
    assert_eq!(keys, contract);
    assert_eq!(got["phase"], "Paused");
    assert_eq!(got["step"], json!({"index": 1, "of": 1}));
    let metric = &got["metrics"][0];
    assert_eq!((&metric["metric"], &metric["action"]), (&json!("failures"), &json!("abort")));
    assert!(metric["status"].is_string() && metric["reason"].is_string(), "{metric:#}");
    assert_eq!((&got["weight"]["set"], &got["weight"]["in_force"]), (&json!(5), &json!(5)));
    let measured = got["weight"]["measured"].as_f64().unwrap();
    assert!((3.0..7.0).contains(&measured), "{got:#}");
    assert_eq!(
        (&got["stable"]["version"], &got["canary"]["version"]),
        (&json!("3.1"), &json!("3.2"))
    );
    assert!(got["waits_for"].as_str().unwrap().contains("promote"), "{got:#}");
    assert_eq!(got["envoys"], json!([{"url": envoy.url, "ok": true, "error": null}]));
    let text = controller.ctl(&["get", "rollout", "scorer"]).exits(0).stdout;
    assert!(text.contains("Paused  step 1 of 1") && text.contains("failures  "), "{text}");
    let with_envoy =
        controller.ctl(&["get", "rollout", "scorer", "-o", "json", "--envoy", &envoy.url]);
    assert_eq!(with_envoy.exits(0).json()["phase"], "Paused");
    assert_eq!(controller.ctl(&["list", "-o", "json"]).exits(0).json()[0]["phase"], "Paused");
    assert!(controller.ctl(&["list"]).exits(0).stdout.starts_with("scorer  Paused"));
    controller.ctl(&["get", "rollout", "other"]).exits(2).says("no rollout \"other\" here");
}

#[test]
fn without_a_controller() {
    let nobody = super::super::nobody();
    for verb in ["status", "promote", "pause", "resume", "retry", "abort"] {
        let gone = run(&mut command(&[verb, "scorer", "--controller", &nobody]));
        gone.exits(4).says("no controller at").says("canaryctl run -f FILE");
    }
}

#[test]
fn history() {
    let (place, envoy) = (Place::new(), busy(30));
    let mut controller = Controller::start(&place, &place.file(&quick(&[&envoy])), &[]);
    assert_eq!(controller.ends(), 1);
    let journal = place.journal();
    let from = ["--journal", journal.to_str().unwrap()];
    let past = run(command(&["history", "-o", "json"]).args(from)).exits(0).json();
    assert_eq!((&past[0]["rollout"], &past[0]["phase"]), (&json!("scorer"), &json!("Degraded")));
    assert!(past[0]["reason"].as_str().unwrap().starts_with("failures: "), "{past:#}");
    let told = run(command(&["history", "scorer"]).args(from)).exits(0).stdout;
    assert!(told.contains("step 1 of 2: weight 5 %") && told.contains("rolling back"), "{told}");
    run(command(&["history", "other"]).args(from)).exits(2).says("no journal has a rollout");
}

#[test]
fn status_waits_for_a_controller_that_is_not_up_yet_or_restarts() {
    let nobody = super::super::nobody();
    let never = ["status", "scorer", "--watch", "--timeout", "600ms", "--controller", &nobody];
    let begin = Instant::now();
    run(&mut command(&never)).exits(4).says("no controller at");
    assert!(begin.elapsed() >= Duration::from_millis(600), "it waits until the timeout");
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &[]);
    controller.hears("paused");
    let url = controller.url.clone();
    let watching = std::thread::spawn(move || {
        let args = ["status", "scorer", "--watch", "--timeout", "3s", "--controller", &url];
        run(&mut command(&args))
    });
    std::thread::sleep(Duration::from_secs(1));
    controller.kill();
    watching.join().unwrap().exits(3).says("was Paused when its controller last answered");
}

#[test]
fn after_the_end_the_journal_answers() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&quick(&[&envoy])), &[]);
    controller.hears("Healthy");
    assert_eq!(controller.ends(), 0);
    let state = place.folder.path().join("state");
    std::fs::create_dir_all(state.join("canaryctl")).unwrap();
    std::fs::copy(place.journal(), state.join("canaryctl/scorer.jsonl")).unwrap();
    let ask = |args: &[&str]| {
        run(command(args).args(["--controller", &controller.url]).env("XDG_STATE_HOME", &state))
    };
    let status = ask(&["status", "scorer"]).exits(0).says("it ended Healthy at");
    assert_eq!(status.stdout, "Healthy\n");
    let got = ask(&["get", "rollout", "scorer", "-o", "json"]).exits(0).json();
    assert_eq!((&got["phase"], &got["weight"]["set"]), (&json!("Healthy"), &json!(100)));
    assert_eq!(got["canary"]["version"], "3.2");
}

#[test]
fn stopped_after_the_end_is_no_failure() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&quick(&[&envoy])), &["--stay"]);
    controller.hears("Healthy");
    controller.comes_to(|status| status["phase"] == "Healthy");
    std::thread::sleep(Duration::from_millis(500));
    let id = controller.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    assert!(!controller.said("stopped before the end"), "{:#?}", controller.said);
}
