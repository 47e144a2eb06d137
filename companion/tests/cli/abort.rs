//! `abort` with and without a controller.

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::json;

use super::{ctl, nobody, plain};
use crate::fake::Fake;

const ABORT: &str = "canary.scorer.enabled=0&canary.scorer.weight=0";

#[test]
fn one_update_stops_everything() {
    let fake = Fake::start();
    ctl(&[&fake], &["set", "weight", "scorer", "5"]).exits(0);
    let aborted = ctl(&[&fake], &["abort", "scorer"]).exits(0);
    assert_snapshot!(plain(&aborted, &[&fake]), @r"
    exit 0
    --- stdout
    scorer: aborted, all traffic goes to stable, version 3.1
      http://envoy-0:9901  switched off
    --- stderr
    ");
    let of_version = "canary.scorer.enabled=0&canary.scorer.weight=0%403.2";
    assert_eq!(fake.envoy().updates.last().unwrap(), of_version);
    let json = ctl(&[&fake], &["abort", "scorer", "-o", "json"]).exits(0).json();
    let envoys = json!([{"url": fake.url, "ok": true, "error": null}]);
    assert_eq!(
        json,
        json!({"rollout": "scorer", "weight": 0, "enabled": false, "version": "3.1", "envoys": envoys})
    );
}

#[test]
fn never_refused_because_of_an_owner() {
    let fake = Fake::start().with(|envoy| {
        envoy.runtime.insert("canary.scorer.owner".to_owned(), "controller@prod".to_owned());
    });
    ctl(&[&fake], &["abort", "scorer"])
        .exits(0)
        .says("warning: controller@prod drives this rollout and may set its weight again");
    assert_eq!(fake.envoy().updates, [ABORT]);
}

#[test]
fn an_unknown_name_is_a_typo_but_a_dead_filter_is_not() {
    let fake = Fake::start();
    ctl(&[&fake], &["abort", "scorrer"])
        .exits(2)
        .says("no rollout \"scorrer\"")
        .says("this Envoy's rollouts: scorer");
    assert!(fake.envoy().updates.is_empty());
    let dead = Fake::start().with(|envoy| {
        envoy.numbers.clear();
        envoy.runtime.insert("canary.scorer.weight".to_owned(), "5".to_owned());
    });
    ctl(&[&dead], &["abort", "scorer"]).exits(0);
    assert_eq!(dead.envoy().updates, [ABORT]);
}

#[test]
fn aborts_wherever_it_can_and_names_the_rest() {
    let (fake, gone) = (Fake::start(), nobody());
    let partial = ctl(&[&fake], &["abort", "scorer", "--envoy", &gone])
        .exits(1)
        .says(&format!("error: {gone}: can't connect"));
    assert!(partial.stdout.contains(&format!("{gone}  failed")), "{partial:?}");
    assert_eq!(fake.envoy().updates, [ABORT]);
    let unreachable = ctl(&[], &["abort", "scorer", "--envoy", &gone]).exits(4);
    assert!(unreachable.stdout.is_empty(), "{unreachable:?}");
}

#[test]
fn a_slow_envoy_does_not_hold_back_the_others() {
    let fast = Fake::start();
    let slow = Fake::start().with(|envoy| envoy.delay = Duration::from_secs(60));
    let begin = Instant::now();
    ctl(&[&slow, &fast], &["abort", "scorer", "--request-timeout", "500ms"])
        .exits(1)
        .says("no answer to /runtime_modify within 0.5 s");
    assert_eq!(fast.envoy().updates, [ABORT]);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn no_admin_layer() {
    let fake = Fake::start().with(|envoy| envoy.admin_layer = false);
    ctl(&[&fake], &["abort", "scorer"]).exits(4).says("no admin layer");
}

#[test]
fn a_layer_above_is_noticed() {
    let fake = Fake::start().with(|envoy| {
        envoy.above.insert("canary.scorer.enabled".to_owned(), "100".to_owned());
    });
    ctl(&[&fake], &["abort", "scorer"])
        .exits(1)
        .says("canary.scorer.enabled was set to 0, but the runtime shows 100");
}
