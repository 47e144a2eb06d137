//! Releases: versions as labels, deploy hooks, the handover, and `finish`.

use super::hooks::Web;
use super::*;

/// A rollout that releases version 3.3, with a deploy hook or without.
fn release(envoy: &Fake, deploy: &Value) -> Value {
    let mut rollout = quick(&[envoy]);
    rollout["versions"] = json!({"canary": "3.3"});
    if !deploy.is_null() {
        rollout["deploy"] = deploy.clone();
    }
    rollout
}

/// A fake whose configuration says what its labels replace.
fn configured() -> Fake {
    busy(0).with(|envoy| envoy.configure("1", "3.1", "3.2", 0.0))
}

/// Writes a script beside the rollout file, and gives the deploy section that runs it.
fn script(place: &Place, text: &str) -> Value {
    std::fs::write(place.folder.path().join("deploy.sh"), text).unwrap();
    json!({"command": ["/bin/sh", "./deploy.sh"], "timeout": "20s", "minRequests": 100})
}

fn called(place: &Place) -> Vec<String> {
    let text = std::fs::read_to_string(place.folder.path().join("called")).unwrap_or_default();
    crate::process::whole_lines(&text).map(str::to_owned).collect()
}

#[track_caller]
fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + patience();
    while !what() {
        assert!(Instant::now() < end, "it never comes");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const CALL: &str = "echo \"$CANARY_ROLE $CANARY_VERSION\" >> called\n";

#[track_caller]
fn is_finished(envoy: &Fake) {
    let runtime = envoy.envoy().merged();
    let shown = |key: &str| runtime.get(&format!("canary.scorer.{key}")).map(String::as_str);
    assert_eq!((shown("weight"), shown("enabled")), (Some("0@3.3"), Some("100")));
    assert_eq!(
        (shown("stable_version"), shown("canary_version")),
        (Some("3.1=3.3"), Some("3.2=3.3"))
    );
    assert_eq!((shown("lease"), shown("owner")), (None, None));
}

#[test]
fn a_release_with_a_command_ends_with_the_new_version_in_both_places() {
    let (place, envoy) = (Place::new(), configured());
    let deploy = script(&place, CALL);
    let mut controller = Controller::start(&place, &place.file(&release(&envoy, &deploy)), &[]);
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    assert_eq!(called(&place), ["canary 3.3", "stable 3.3"]);
    is_finished(&envoy);
    for said in [
        "deploying version 3.3 into canary's place",
        "finalizing: version 3.3 takes over stable's place",
        "handing over: weight 50 %",
        "Healthy: all traffic is in stable's place, and both places run version 3.3",
    ] {
        assert!(controller.said(said), "{said}: {:#?}", controller.said);
    }
    // The labels come with the first weight and with the half, each in one update with a new window.
    let updates = envoy.envoy().updates.clone();
    let first = |key: &str| updates.iter().find(|update| update.contains(key)).unwrap().clone();
    let canary = first("canary_version=3.2%3D3.3");
    assert!(canary.contains("weight=5%403.3") && canary.contains("window="), "{canary}");
    let stable = first("stable_version=3.1%3D3.3");
    assert!(stable.contains("weight=50%403.3") && stable.contains("lease=&"), "{stable}");
}

#[test]
fn a_release_with_a_url_posts_the_version() {
    let (place, envoy, hook) = (Place::new(), configured(), Web::start(200, ""));
    let deploy = json!({"url": hook.url, "minRequests": 50});
    let mut controller = Controller::start(&place, &place.file(&release(&envoy, &deploy)), &[]);
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    let payload = |role: &str| json!({"rollout": "scorer", "role": role, "version": "3.3"});
    assert_eq!(hook.bodies(), [payload("canary"), payload("stable")]);
    is_finished(&envoy);
}

#[test]
fn a_deploy_that_fails_moves_no_weight_and_says_why() {
    let (place, envoy, hook) = (Place::new(), configured(), Web::start(503, "no such version"));
    let by_url = json!({"url": hook.url});
    let by_command = script(&place, "echo disk full >&2; exit 7");
    for (deploy, reason) in [
        (by_url, "503 Service Unavailable: no such version"),
        (by_command, "/bin/sh exited with 7: disk full"),
    ] {
        let mut controller = Controller::start(&place, &place.file(&release(&envoy, &deploy)), &[]);
        assert_eq!(controller.ends(), 1);
        let said = "could not be deployed into the canary's place";
        assert!(controller.said(said) && controller.said(reason), "{:#?}", controller.said);
        assert!(envoy.envoy().updates.is_empty(), "{:?}", envoy.envoy().updates);
    }
}

#[test]
fn an_abort_while_deploying_kills_the_hook_and_observation_goes_on_until_then() {
    let (place, envoy) = (Place::new(), configured());
    let deploy = script(&place, "echo $$ > pid; sleep 300 & wait");
    let mut controller = Controller::start(&place, &place.file(&release(&envoy, &deploy)), &[]);
    let waiting = controller.comes_to(|status| status["phase"] == "Deploying");
    assert!(waiting["waits_for"].as_str().unwrap().contains("version 3.3 to be deployed"));
    let pid = place.folder.path().join("pid");
    until(|| std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')));
    // A hook that runs keeps nobody from being looked at.
    controller.comes_to(|status| status["envoys"][0]["ok"] == true);
    controller.ctl(&["abort", "scorer"]).exits(0);
    assert_eq!(controller.ends(), 1, "{:#?}", controller.said);
    assert!(controller.said("Degraded: no weight has moved"), "{:#?}", controller.said);
    assert!(envoy.envoy().updates.is_empty());
    let pid = std::fs::read_to_string(&pid).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    until(|| std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
}

#[test]
fn a_release_survives_kills_of_the_controller_and_restarts_of_envoy() {
    let (place, envoy) = (Place::new(), configured());
    // Each role's hook waits until the test lets it go on.
    let deploy =
        script(&place, &format!("{CALL}while [ ! -e go-$CANARY_ROLE ]; do sleep 0.05; done"));
    let file = place.file(&release(&envoy, &deploy));
    let go =
        |role: &str| std::fs::write(place.folder.path().join(format!("go-{role}")), "").unwrap();
    let calls = |role: &str| called(&place).iter().filter(|call| call.starts_with(role)).count();
    let resumed = || Controller::start(&place, &file, &[]);

    let mut first = resumed();
    until(|| calls("canary") == 1);
    first.kill();
    let mut second = resumed();
    until(|| calls("canary") == 2);
    second.comes_to(|status| status["phase"] == "Deploying");
    go("canary");
    second.hears("finalizing");
    until(|| calls("stable") == 1);
    second.kill();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "100@3.3");
    assert!(
        !envoy.envoy().merged().contains_key("canary.scorer.lease"),
        "nothing returns it to stable"
    );
    let mut third = resumed();
    until(|| calls("stable") == 2);
    third.comes_to(|status| status["phase"] == "Finalizing");
    // An Envoy that restarts in this phase gets 100 % back.
    envoy.envoy().restart();
    until(|| envoy.envoy().merged().get("canary.scorer.weight").is_some_and(|w| w == "100@3.3"));
    go("stable");
    third.hears("handing over");
    third.kill();
    let mut last = resumed();
    assert_eq!(last.ends(), 0, "{:#?}", last.said);
    is_finished(&envoy);
    let records = place.records();
    let events = records.iter().filter_map(|record| record["events"].as_array()).flatten();
    let finished = events.filter(|event| event["event"] == "finished").count();
    assert_eq!(finished, 1);
}

#[test]
fn an_abort_in_finalizing_says_that_no_user_is_back_on_stable() {
    let (place, envoy) = (Place::new(), configured());
    let deploy = script(&place, "[ $CANARY_ROLE = canary ] || sleep 300");
    let mut controller = Controller::start(&place, &place.file(&release(&envoy, &deploy)), &[]);
    controller.hears("deploying version 3.3 into stable's place");
    let aborted = controller.ctl(&["abort", "scorer"]).exits(0);
    assert!(aborted.stdout.contains("no user is back on stable"), "{}", aborted.stdout);
    let paused = controller.comes_to(|status| status["phase"] == "Paused");
    assert_eq!(paused["weight"]["set"], 100.0);
    // All steps are behind it; it is paused in what comes after them.
    let shown = controller.ctl(&["get", "rollout", "scorer"]).exits(0).stdout;
    assert!(shown.contains("✓ 50 %  ▶ 100 %"), "{shown}");
    let page = http("GET", &format!("{}/rollouts/scorer", controller.url), &[]).1;
    let journal = place.journal();
    let report = ["report", "scorer", "--journal", journal.to_str().unwrap()];
    for page in [page, run(&mut command(&report)).exits(0).stdout] {
        let now = "aria-current=\"step\"><b>100 %</b>▶ now<br>\
                   <small>all traffic, then the handover to stable&#39;s place</small>";
        assert!(page.contains(now), "{page}");
        assert_eq!(page.matches("aria-current=\"step\"").count(), 1, "{page}");
    }
    let history = http("GET", &format!("{}/rollouts/scorer/history", controller.url), &[]).1;
    let history: Value = serde_json::from_str(&history).unwrap();
    assert_eq!(history["charts"][0]["ahead"], json!([]), "no steps are ahead: {history:#}");
    controller.ctl(&["resume", "scorer"]).exits(1).says("`finish` goes on with it");
    script(&place, "");
    controller.ctl(&["finish", "scorer"]).exits(0);
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    is_finished(&envoy);
}

#[test]
fn without_a_hook_finish_does_the_handover_by_itself() {
    let (place, envoy) = (Place::new(), configured());
    let file = place.file(&release(&envoy, &json!({"minRequests": 50})));
    let mut controller = Controller::start(&place, &file, &[]);
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    assert!(controller.said("run `canaryctl finish scorer -f FILE`"), "{:#?}", controller.said);
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "100@3.3");
    let finish = |journal: &Path| {
        let mut finish = command(&["finish", "scorer", "-f", file.to_str().unwrap()]);
        finish.args(["--tick", "100ms", "--listen", "127.0.0.1:0"]);
        finish.args(["--journal", journal.to_str().unwrap()]);
        finish.env("CANARYCTL_CONTROLLER", "http://127.0.0.1:9");
        run(&mut finish)
    };
    let finished = finish(&place.journal()).exits(0);
    assert!(finished.stdout.contains("both places run version 3.3"), "{}", finished.stdout);
    is_finished(&envoy);
    finish(&place.journal()).exits(1).says("runs in both places already");
    // Where the journal isn't, the Envoys say that there is nothing to finish.
    let elsewhere = Place::new();
    finish(&elsewhere.journal()).exits(1).says("not all traffic in the canary's place");
}

#[test]
fn finish_needs_no_journal() {
    let (place, elsewhere, envoy) = (Place::new(), Place::new(), configured());
    let file = place.file(&release(&envoy, &json!({"minRequests": 50})));
    let mut controller = Controller::start(&place, &file, &[]);
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    let mut finish = command(&["finish", "scorer", "-f", file.to_str().unwrap()]);
    finish.args(["--tick", "100ms", "--listen", "127.0.0.1:0"]);
    finish.args(["--journal", elsewhere.journal().to_str().unwrap()]);
    finish.env("CANARYCTL_CONTROLLER", "http://127.0.0.1:9");
    run(&mut finish).exits(0);
    is_finished(&envoy);
}

#[test]
fn versions_of_the_command_line_come_before_the_files() {
    let (place, envoy) = (Place::new(), configured());
    let mut rollout = release(&envoy, &Value::Null);
    rollout["steps"] = json!([{"setWeight": 5}, {"pause": {}}]);
    let file = place.file(&rollout);
    let args = ["--stable-version", "3.0", "--canary-version", "3.4"];
    let mut controller = Controller::start(&place, &file, &args);
    controller.hears("paused");
    let runtime = envoy.envoy().merged();
    assert_eq!(runtime["canary.scorer.stable_version"], "3.1=3.0");
    assert_eq!(runtime["canary.scorer.canary_version"], "3.2=3.4");
    assert_eq!(runtime["canary.scorer.weight"], "5@3.4");
    let status = controller.comes_to(|status| status["weight"]["in_force"] == 5);
    assert_eq!(
        (&status["stable"]["version"], &status["canary"]["version"]),
        (&json!("3.0"), &json!("3.4"))
    );
    // Without the controller, `set weight` names the version in force.
    controller.kill();
    super::super::ctl(&[&envoy], &["set", "weight", "scorer", "7", "--takeover"]).exits(0);
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "7@3.4");
    super::super::ctl(&[&envoy], &["abort", "scorer"]).exits(0).says("drives this rollout");
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "0@3.4");
}

#[test]
fn a_canary_of_stables_version_is_refused() {
    let (place, envoy) = (Place::new(), configured());
    let file = place.file(&release(&envoy, &Value::Null));
    let mut same = Controller::spawn(&place, &file, &["--canary-version", "3.1"]);
    assert_eq!(same.ends(), 1);
    assert!(same.said("version 3.1 is stable's version of \"scorer\" already"), "{:#?}", same.said);
    let mut registry = release(&envoy, &Value::Null);
    registry["registry"] = json!({"mlflow": {"uri": "http://127.0.0.1:5000", "model": "m"}});
    let mut refused = Controller::spawn(&place, &place.file(&registry), &[]);
    assert_eq!(refused.ends(), 2);
    assert!(refused.said("has a registry"), "{:#?}", refused.said);
    assert!(envoy.envoy().updates.is_empty());
}
