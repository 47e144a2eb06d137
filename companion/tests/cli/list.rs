//! `list`, read from Envoys without a controller.

use insta::assert_snapshot;
use serde_json::json;

use super::{ctl, nobody, plain};
use crate::fake::Fake;

#[test]
fn every_rollout_of_every_envoy() {
    let first = Fake::start().with(|envoy| {
        envoy.version("scorer", "stable", "3.1", 950, 1);
        envoy.version("scorer", "canary", "3.2", 50, 2);
        envoy.runtime.insert("canary.scorer.weight".to_owned(), "5".to_owned());
    });
    let second = Fake::start().with(|envoy| {
        envoy.rollout("ranker-eu", "1.0.0", "1.1.0-rc1");
        envoy.numbers.insert("wasmcustom.canary.ranker-eu.guard_tripped".to_owned(), 1);
        envoy.runtime.insert("canary.scorer.weight".to_owned(), "5".to_owned());
    });
    let envoys = [&first, &second];
    assert_snapshot!("list", plain(&ctl(&envoys, &["list"]), &envoys));
    let json = ctl(&envoys, &["list", "-o", "json"]).exits(0).json();
    let names: Vec<_> = json.as_array().unwrap().iter().map(|one| &one["rollout"]).collect();
    assert_eq!(names, ["ranker-eu", "scorer"]);
    assert_eq!(json[0]["envoys"], json!([{"url": second.url, "ok": true, "error": null}]));
    assert_eq!(json[1]["envoys"].as_array().unwrap().len(), 2);
    assert_eq!(json[1]["weight"], json!({"set": 5, "in_force": 5, "measured": null}));
}

#[test]
fn no_filter_no_rollouts() {
    let fake = Fake::start().with(|envoy| envoy.numbers.clear());
    let run = ctl(&[&fake], &["list", "-o", "json"]).exits(0).says("no canary filter has started");
    assert_eq!(run.json(), json!([]));
    assert!(ctl(&[&fake], &["list"]).exits(0).stdout.is_empty());
}

#[test]
fn one_envoy_that_is_gone_is_named() {
    let (fake, gone) = (Fake::start(), nobody());
    let run = ctl(&[&fake], &["list", "-o", "json", "--envoy", &gone]).exits(1).says(&gone);
    assert_eq!(run.json()[0]["envoys"][0]["ok"], false);
}
