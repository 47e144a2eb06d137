//! `set weight`: what it writes, confirms and refuses.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use serde_json::json;

use super::{ctl, fake::Filter, nobody, plain, run};
use crate::fake::Fake;

fn runtime(fake: &Fake) -> BTreeMap<String, String> {
    fake.envoy().runtime.clone()
}

#[test]
fn sets_in_one_update_and_waits_until_it_is_in_force() {
    let fake = Fake::start();
    let set = ctl(&[&fake], &["set", "weight", "scorer", "0.25"]).exits(0);
    assert_snapshot!(plain(&set, &[&fake]), @r"
    exit 0
    --- stdout
    scorer: weight 0.25 %
      http://envoy-0:9901  in force
    --- stderr
    ");
    let updates = fake.envoy().updates.clone();
    assert_eq!(
        updates,
        ["canary.scorer.enabled=100&canary.scorer.lease=&canary.scorer.weight=0.25%403.2"]
    );
    let json = ctl(&[&fake], &["set", "weight", "scorer", "100", "-o", "json"]).exits(0).json();
    let envoys = json!([{"url": fake.url, "ok": true, "error": null}]);
    assert_eq!(json, json!({"rollout": "scorer", "weight": 100, "lease": null, "envoys": envoys}));
}

#[test]
fn weight_0_leaves_the_kill_switch_alone() {
    let fake = Fake::start();
    ctl(&[&fake], &["set", "weight", "scorer", "0"]).exits(0);
    assert_eq!(fake.envoy().updates, ["canary.scorer.lease=&canary.scorer.weight=0%403.2"]);
}

#[test]
fn a_lease_is_fresh_each_time_and_goes_when_it_is_not_asked_for() {
    let fake = Fake::start();
    let lease = || {
        ctl(&[&fake], &["set", "weight", "scorer", "5", "--lease", "30s"]).exits(0);
        runtime(&fake)["canary.scorer.lease"].clone()
    };
    let (first, second) = (lease(), lease());
    assert!(first.starts_with("30:") && second.starts_with("30:"));
    assert_ne!(first, second);
    canary_model::runtime::Lease::parse(&first).unwrap();
    ctl(&[&fake], &["set", "weight", "scorer", "6"]).exits(0);
    assert!(!runtime(&fake).contains_key("canary.scorer.lease"));
}

#[test]
fn another_owner_is_not_fought() {
    let fake = Fake::start().with(|envoy| {
        envoy.runtime.insert("canary.scorer.owner".to_owned(), "controller@prod".to_owned());
    });
    let refused = ctl(&[&fake], &["set", "weight", "scorer", "5"]).exits(1);
    assert_snapshot!(plain(&refused, &[&fake]), @r#"
    exit 1
    --- stdout
    --- stderr
    error: http://envoy-0:9901: rollout "scorer" is driven by controller@prod
    nothing was changed
    hint: steer the rollout through its owner, send everything back to stable with `canaryctl abort scorer`, or repeat the command with --takeover
    "#);
    assert!(fake.envoy().updates.is_empty());
    ctl(&[&fake], &["set", "weight", "scorer", "5", "--takeover"]).exits(0);
    assert_eq!(runtime(&fake)["canary.scorer.owner"], "ann@desk");
    ctl(&[&fake], &["set", "weight", "scorer", "6"]).exits(0);
}

#[test]
fn an_unknown_rollout_changes_nothing_anywhere() {
    let known = Fake::start();
    let other = Fake::start().with(|envoy| {
        envoy.numbers.clear();
        envoy.rollout("ranker", "1", "2");
    });
    let refused = ctl(&[&known, &other], &["set", "weight", "scorer", "5"]).exits(2);
    assert_snapshot!(plain(&refused, &[&known, &other]), @r#"
    exit 2
    --- stdout
    --- stderr
    error: http://envoy-1:9901: no rollout "scorer"
    nothing was changed
    hint: this Envoy's rollouts: ranker
    "#);
    assert!(known.envoy().updates.is_empty() && other.envoy().updates.is_empty());
}

#[test]
fn one_envoy_that_is_gone_does_not_hold_back_the_others() {
    let fake = Fake::start();
    let gone = nobody();
    let partial = ctl(&[&fake], &["set", "weight", "scorer", "5", "-o", "json", "--envoy", &gone])
        .exits(1)
        .says(&format!("{gone}: can't connect: Connection refused"))
        .says("hint: check that Envoy runs");
    let json = partial.json();
    assert_eq!(
        json["envoys"][0],
        json!({"url": gone, "ok": false, "error": "can't connect: Connection refused (os error 111)"})
    );
    assert_eq!(json["envoys"][1]["ok"], true);
    assert_eq!(runtime(&fake)["canary.scorer.weight"], "5@3.2");
}

#[test]
fn several_envoys_get_the_same_update() {
    let fakes = [Fake::start(), Fake::start()];
    let both =
        ctl(&[&fakes[0], &fakes[1]], &["set", "weight", "scorer", "5", "--lease", "1h"]).exits(0);
    assert_snapshot!(plain(&both, &[&fakes[0], &fakes[1]]), @r"
    exit 0
    --- stdout
    scorer: weight 5 % for 3600 s
      http://envoy-0:9901  in force
      http://envoy-1:9901  in force
    --- stderr
    ");
    assert_eq!(fakes[0].envoy().updates, fakes[1].envoy().updates);
}

#[test]
fn an_envoy_named_twice_is_one() {
    let fake = Fake::start();
    let set = ctl(&[&fake, &fake], &["set", "weight", "scorer", "5", "-o", "json"]).exits(0);
    assert_eq!(set.json()["envoys"].as_array().unwrap().len(), 1);
    assert_eq!(fake.envoy().updates.len(), 1);
}

#[test]
fn no_admin_layer() {
    let fake = Fake::start().with(|envoy| envoy.admin_layer = false);
    ctl(&[&fake], &["set", "weight", "scorer", "5"])
        .exits(4)
        .says("its layered_runtime has no admin layer")
        .says("hint: add a layer to Envoy's bootstrap and restart Envoy");
}

#[test]
fn an_admin_interface_that_is_read_only() {
    let fake = Fake::start().with(|envoy| envoy.read_only = true);
    ctl(&[&fake], &["set", "weight", "scorer", "5"])
        .exits(4)
        .says("Envoy answered 403 to the update: RBAC: access denied\n")
        .says("must allow POST /runtime_modify");
}

#[test]
fn an_envoy_that_can_not_be_looked_at_is_not_written() {
    let fake = Fake::start();
    let blind =
        Fake::start().with(|envoy| envoy.numbers.insert("x".repeat(65 << 20), 1).map_or((), drop));
    // The limit is in bytes: reading up to it takes longer than the default deadline on a busy machine.
    let patient = ["set", "weight", "scorer", "5", "--request-timeout", "60s"];
    ctl(&[&fake, &blind], &patient).exits(1).says("answers more than");
    assert_eq!(fake.envoy().updates.len(), 1);
    assert!(blind.envoy().updates.is_empty());
}

#[test]
fn a_layer_above_is_noticed() {
    let fake = Fake::start().with(|envoy| {
        envoy.above.insert("canary.scorer.weight".to_owned(), "1".to_owned());
    });
    ctl(&[&fake], &["set", "weight", "scorer", "5"])
        .exits(1)
        .says("canary.scorer.weight was set to 5@3.2, but the runtime shows 1")
        .says("hint: a runtime layer above the admin layer");
}

#[test]
fn a_filter_that_does_not_follow_times_out_with_its_reason() {
    for (filter, why) in [
        (Filter::Dead, "the filter's heartbeat stands still"),
        (Filter::CannotPoll, "the filter's polls of the admin interface fail"),
    ] {
        let fake = Fake::start().with(|envoy| envoy.filter = filter);
        ctl(&[&fake], &["set", "weight", "scorer", "5", "--timeout", "300ms"])
            .exits(3)
            .says("the weight is set but not in force after 0.3 s")
            .says(why)
            .says("in force: 0 %");
        assert_eq!(runtime(&fake)["canary.scorer.weight"], "5@3.2");
    }
}

#[test]
fn a_tripped_guard_is_told_at_once_and_cleared_by_a_new_epoch() {
    let fake = Fake::start().with(|envoy| envoy.filter = Filter::Tripped);
    ctl(&[&fake], &["set", "weight", "scorer", "5", "--timeout", "1h"])
        .exits(1)
        .says("the guard has tripped in this epoch")
        .says("--reset-guard");
    ctl(&[&fake], &["set", "weight", "scorer", "5", "--reset-guard"]).exits(0);
    assert_eq!(runtime(&fake)["canary.scorer.epoch"], "1");
}

#[test]
fn what_can_not_be_a_weight_is_refused_before_any_envoy_is_asked() {
    let cases = [
        (["scorer", "101"], "a weight lies between 0 and 100 percent"),
        (["scorer", "abc"], "a weight is a percentage from 0 to 100"),
        (["scorer", "-1"], "a weight is a percentage from 0 to 100"),
        (["scorer", "0.00001"], "up to four decimals"),
        (["no.dots", "5"], "a name of at most 63 characters"),
    ];
    for ([name, percent], message) in cases {
        let mut command = super::command(&["set", "weight", name, percent, "--envoy", &nobody()]);
        let refused = run(&mut command).exits(2).says(message);
        assert!(refused.stdout.is_empty(), "{refused:?}");
    }
    for lease in ["0s", "500ms", "25h", "30"] {
        let args = ["set", "weight", "scorer", "5", "--lease", lease, "--envoy", &nobody()];
        run(&mut super::command(&args)).exits(2).says("a lease is 1s to 24h");
    }
}
