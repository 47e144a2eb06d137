//! Many Envoys, and what can happen to them.

use super::*;
use crate::fake::Filter;
use crate::nobody;

#[test]
fn an_envoy_that_cannot_be_reached_is_named_and_does_not_hold_the_others() {
    let (place, envoy, gone) = (Place::new(), busy(0), nobody());
    let mut rollout = quick(&[&envoy]);
    rollout["envoys"].as_array_mut().unwrap().push(json!(gone));
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears(&format!("{gone} can't be reached"));
    let status = controller.comes_to(|status| status["envoys"].as_array().unwrap().len() == 2);
    let named = status["envoys"].as_array().unwrap().iter().find(|one| one["url"] == json!(gone));
    assert_eq!(named.unwrap()["ok"], false, "{status:#}");
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    let named = format!("Out of reach: {gone}, which may serve the stable version");
    assert!(controller.said(&named), "{:#?}", controller.said);
}

/// An Envoy that hangs is waited for once, not at each look: the rollout goes on observing the others once a tick.
#[test]
fn an_envoy_that_hangs_does_not_slow_down_the_looks_at_the_others() {
    let (place, good, hanging) = (Place::new(), busy(0), busy(0));
    let mut rollout = patient(&[&good, &hanging]);
    // Each Envoy has two seconds to answer.
    rollout["lease"] = json!("12s");
    let mut controller = Controller::start(&place, &place.file(&rollout), &[]);
    controller.hears("paused");
    hanging.envoy().delay = Duration::from_secs(600);
    controller.comes_to(|status| {
        let envoys = status["envoys"].as_array().unwrap();
        envoys.iter().any(|one| one["url"] == json!(hanging.url) && one["ok"] == false)
    });
    let looks =
        || place.records().iter().filter(|record| record["record"] == "observation").count();
    let (before, since) = (looks(), Instant::now());
    crate::until("ten more looks", || looks() >= before + 10);
    // Waiting for it each time would take two seconds a look.
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    hanging.envoy().delay = Duration::ZERO;
    controller.comes_to(|status| {
        status["envoys"].as_array().unwrap().iter().all(|one| one["ok"] == true)
    });
}

#[test]
fn an_envoy_that_is_gone_at_the_end_is_named_by_get_and_list() {
    let (place, envoy, gone) = (Place::new(), busy(0), nobody());
    let mut rollout = quick(&[&envoy]);
    rollout["envoys"].as_array_mut().unwrap().push(json!(gone));
    let mut controller = Controller::start(&place, &place.file(&rollout), &["--stay"]);
    controller.hears("Healthy");
    let names = |status: &Value| {
        let envoys = status["envoys"].as_array().unwrap();
        envoys.iter().any(|one| one["url"] == json!(gone) && one["ok"] == false)
    };
    controller.comes_to(|status| status["phase"] == "Healthy" && names(status));
    let get = controller.ctl(&["get", "rollout", "scorer"]).exits(0).stdout;
    assert!(get.contains(&gone), "{get}");
    let list = controller.ctl(&["list"]).exits(0).stdout;
    assert!(list.contains("Healthy") && list.contains(&format!("without {gone}")), "{list}");
    let list = controller.ctl(&["list", "-o", "json"]).exits(0).json();
    assert!(names(&list[0]), "{list:#}");
}

#[test]
fn list_shows_the_phase_of_its_controller() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &[]);
    controller.hears("paused");
    let table = controller.ctl(&["list", "--envoy", &envoy.url]).exits(0).stdout;
    let row = table.lines().nth(1).unwrap();
    assert!(row.contains("Paused") && !row.contains(" ok "), "{table}");
    let list = controller.ctl(&["list"]).exits(0).stdout;
    assert!(list.contains("Paused"), "{list}");
}

/// `get` and `list` show `rq_total` and `rq_failure`, with a controller, too: abandoned requests are
/// requests, although they are no trials.
#[test]
fn requests_and_failures_are_as_the_envoys_count_them() {
    let (place, envoy) = (Place::new(), busy(0));
    {
        let mut envoy = envoy.envoy();
        let traffic = envoy.traffic.as_mut().unwrap();
        (traffic.canary_answers, traffic.stable_fails) = (false, 1);
    }
    let mut controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &[]);
    controller.hears("step 1 of 1");
    let status = controller.comes_to(|status| {
        status["canary"]["requests"].as_u64() > Some(40) && status["stable"]["failures"] != 0
    });
    // Time stands still from here on: nothing flows any more.
    envoy.envoy().traffic = None;
    let number = |role: &str, version: &str, metric: &str| {
        json!(envoy.envoy().numbers[&format!("wasmcustom.canary.scorer.{role}.{version}.{metric}")])
    };
    let expected = |side: &Value, role: &str, version: &str| {
        side["requests"] == number(role, version, "rq_total")
            && side["failures"] == number(role, version, "rq_failure")
    };
    let same = |shown: &Value| {
        expected(&shown["stable"], "stable", "3.1") && expected(&shown["canary"], "canary", "3.2")
    };
    controller.comes_to(same);
    let list = controller.ctl(&["list", "-o", "json"]).exits(0).json();
    assert!(same(&list[0]), "{list:#}");
    let get = ["get", "rollout", "scorer", "-o", "json", "--envoy", &envoy.url];
    let get = controller.ctl(&get).exits(0).json();
    assert!(same(&get) && get["canary"]["failures"] == status["canary"]["failures"], "{get:#}");
}

#[test]
fn counts_of_all_envoys_are_summed_and_all_hold_leases() {
    let (place, one, two) = (Place::new(), busy(0), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&one, &two])), &[]);
    controller.hears("paused");
    let leases = || [&one, &two].map(|envoy| envoy.envoy().merged()["canary.scorer.lease"].clone());
    let first = leases();
    let end = Instant::now() + patience();
    while leases().iter().zip(&first).any(|(now, first)| now == first) {
        assert!(Instant::now() < end, "leases are renewed");
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = controller.comes_to(|status| status["canary"]["requests"].as_u64() > Some(50));
    assert_eq!(status["lease_expired"], false, "{status:#}");
    let lines = place.records().into_iter().filter(|record| record["record"] == "observation");
    let sum: u64 = lines.map(|line| line["canary"]["total"].as_u64().unwrap_or(0)).sum();
    let counted =
        |envoy: &Fake| envoy.envoy().numbers["wasmcustom.canary.scorer.canary.3.2.rq_total"];
    let all = counted(&one) + counted(&two);
    assert!(sum <= all && sum + 60 > all, "{sum} of {all}");
}

#[test]
fn a_restarted_envoy_is_set_again_and_nothing_is_lost() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &[]);
    controller.hears("paused");
    let before = controller.comes_to(|status| status["canary"]["requests"].as_u64() > Some(20));
    envoy.envoy().restart();
    controller.hears("Envoy has restarted");
    let after = controller.comes_to(|status| status["weight"]["in_force"] == 5);
    assert!(after["canary"]["requests"].as_u64() >= before["canary"]["requests"].as_u64());
    assert_eq!(after["phase"], "Paused");
    assert_eq!(envoy.envoy().merged()["canary.scorer.weight"], "5@3.2");
}

#[test]
fn a_guard_that_trips_anywhere_rolls_all_of_them_back() {
    let (place, one, two) = (Place::new(), busy(0), busy(0));
    let mut controller = Controller::start(&place, &place.file(&patient(&[&one, &two])), &[]);
    controller.hears("paused");
    one.envoy().numbers.insert("wasmcustom.canary.scorer.guard_tripped".to_owned(), 1);
    one.envoy().filter = Filter::StaysTripped;
    assert_eq!(controller.ends(), 1);
    assert!(controller.said("the guard tripped on"), "{:#?}", controller.said);
    for envoy in [&one, &two] {
        assert_eq!(envoy.envoy().merged()["canary.scorer.enabled"], "0");
    }
}

#[test]
fn what_must_be_right_before_the_start() {
    let (place, envoy, gone) = (Place::new(), busy(0), nobody());
    let ends = |rollout: &Value| {
        let mut controller = Controller::spawn(&place, &place.file(rollout), &[]);
        let code = controller.ends();
        (code, controller.said.join("\n"))
    };
    let mut nowhere = quick(&[]);
    nowhere["envoys"] = json!([gone]);
    let (code, said) = ends(&nowhere);
    assert!(code == 4 && said.contains("can't connect"), "{code} {said}");
    let mut unknown = quick(&[&envoy]);
    unknown["rollout"] = json!("other");
    let (code, said) = ends(&unknown);
    assert!(code == 2 && said.contains("no rollout \"other\""), "{code} {said}");
    let mut wrong = quick(&[&envoy]);
    wrong["steps"][0]["setWeight"] = json!(101);
    let (code, said) = ends(&wrong);
    assert!(code == 2 && said.contains("steps[0].setWeight"), "{code} {said}");
    assert!(envoy.envoy().updates.is_empty(), "nothing was touched");
    envoy.envoy().admin_layer = false;
    let (code, said) = ends(&quick(&[&envoy]));
    assert!(code == 4 && said.contains("no admin layer"), "{code} {said}");
}

#[test]
fn an_envoy_that_restarts_after_the_end_gets_the_final_state_back() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut controller = Controller::start(&place, &place.file(&quick(&[&envoy])), &["--stay"]);
    controller.hears("Healthy");
    controller.comes_to(|status| status["phase"] == "Healthy");
    std::thread::sleep(Duration::from_millis(500));
    envoy.envoy().restart();
    let end = Instant::now() + patience();
    let weight = || envoy.envoy().merged().get("canary.scorer.weight").cloned();
    while weight().as_deref() != Some("100@3.2") {
        assert!(Instant::now() < end, "{:?} {:#?}", weight(), controller.said);
        std::thread::sleep(Duration::from_millis(50));
    }
    let runtime = envoy.envoy().merged();
    assert!(!runtime.contains_key("canary.scorer.lease"), "{runtime:?}");
    assert!(!runtime.contains_key("canary.scorer.owner"), "{runtime:?}");
    envoy.envoy().runtime.insert("canary.scorer.weight".to_owned(), "7@3.2".to_owned());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(weight().as_deref(), Some("7@3.2"), "an operator's weight is never overwritten");
}

#[test]
fn a_refused_configuration_holds_the_rollout_before_the_first_weight() {
    let (place, envoy) = (Place::new(), busy(0));
    let filter = "extension_config_discovery.http_filter.canary";
    {
        let mut envoy = envoy.envoy();
        envoy.configure("2", "3.1", "3.3", 0.0);
        envoy.texts.insert(format!("{filter}.version_text"), "1".to_owned());
    }
    let mut controller = Controller::start(&place, &place.file(&quick(&[&envoy])), &[]);
    let held = controller.comes_to(|status| {
        status["waits_for"].as_str().is_some_and(|waits| waits.contains("is refused"))
    });
    assert_eq!((&held["phase"], &held["weight"]["set"]), (&json!("Pending"), &Value::Null));
    assert!(!envoy.envoy().merged().contains_key("canary.scorer.weight"), "no weight moves");
    envoy.envoy().configure("1", "3.1", "3.2", 0.0);
    controller.hears("step 1 of 2");
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
}

#[test]
fn a_cluster_without_endpoints_holds_the_rollout() {
    let (place, envoy) = (Place::new(), busy(0));
    envoy.envoy().configure("1", "3.1", "3.2", 0.0);
    envoy.envoy().clusters.insert("b".to_owned(), 0);
    let mut controller = Controller::start(&place, &place.file(&quick(&[&envoy])), &[]);
    controller.comes_to(|status| {
        status["phase"] == "Pending"
            && status["waits_for"].as_str().is_some_and(|waits| waits.contains("endpoint"))
    });
    envoy.envoy().clusters.insert("b".to_owned(), 1);
    controller.hears("step 1 of 2");
}
