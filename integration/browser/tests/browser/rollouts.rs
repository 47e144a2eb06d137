//! Whole rollouts on one page that is never reloaded.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use serde_json::json;

use crate::fake::runtime;
use crate::stage::{OpenedPage, quick};

#[test]
fn a_good_version_is_promoted() {
    let page = OpenedPage::new(0, |envoy| quick(&[envoy]));
    let browser = &page.browser;
    browser.script::<()>("window.sameDocument = true");
    browser.reads("#head h1", "Progressing");
    browser.reads(".steps", "▶ now");
    browser.reads("#link", "live");
    browser.reads("#head h1", "Healthy");
    browser.reads("#rest", "Healthy: all traffic on the canary");
    browser.reads("#head", "100 % set");
    assert!(browser.text(".steps").matches("✓ done").count() == 3, "{}", browser.text(".steps"));
    assert!(browser.script::<bool>("return window.sameDocument === true"), "it was reloaded");
    // Every chart says its last values in words, and draws more than nothing.
    browser.comes("#chart-failures canvas");
    let said: String = browser.script("return document.querySelector('#chart-weight').ariaLabel");
    assert!(said.starts_with("Weight. set: 100 %, in force: 100 %"), "{said}");
    let charts: Vec<String> = browser
        .script("return [...document.querySelectorAll('#charts figure')].map((one) => one.id)");
    for chart in
        ["weight", "failures", "total-p50", "total-p95", "total-p99", "evidence", "certified"]
    {
        assert!(charts.contains(&format!("chart-{chart}")), "no {chart} in {charts:?}");
    }
}

#[test]
fn a_bad_version_is_rolled_back_and_the_page_says_why() {
    let page = OpenedPage::new(60, |envoy| {
        let mut rollout = quick(&[envoy]);
        rollout["steps"] = json!([{"setWeight": 20}, {"pause": {"duration": "1h"}}]);
        rollout
    });
    let browser = &page.browser;
    browser.reads("#head h1", "Degraded");
    browser.reads("#head .note.bad", "failures");
    browser.reads("#head .metrics", "✕ fail");
    browser.reads("#head .effects", "points (");
    browser.reads(".steps", "✕ rolled back here");
    browser.reads("#rest", "rolling back to stable");
    browser.comes("#do-retry");
    assert!(!browser.shows("#do-abort"), "there is nothing to abort any more");
}

#[test]
fn a_metric_that_cannot_be_measured_and_one_that_pauses_are_named() {
    let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(Mutex::new("down".to_owned()));
    let said = Arc::clone(&answer);
    let app = Router::new().route("/api/v1/query", get(async move || said.lock().unwrap().clone()));
    let server = runtime().spawn(async { axum::serve(listener, app).await.unwrap() });
    let page = OpenedPage::new(0, |envoy| {
        let mut rollout = quick(&[envoy]);
        rollout["steps"] = json!([{"setWeight": 5}, {"pause": {"duration": "1h"}}]);
        // Between the two conditions a measurement is neither a success nor a failure.
        rollout["analysis"]["metrics"].as_array_mut().unwrap().push(json!({
            "name": "gpu", "kind": "prometheus", "address": address, "query": "gpu",
            "successCondition": "result < 0.1", "failureCondition": "result > 0.9", "interval": "1s",
            "inconclusiveLimit": 0,
        }));
        rollout
    });
    let browser = &page.browser;
    browser.reads("#rest", "metric gpu can't be measured");
    browser.reads("#head .note.wait", "gpu");
    let half = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"0.5"]}}"#;
    half.clone_into(&mut answer.lock().unwrap());
    browser.reads("#head h1", "Paused");
    browser.reads("#head .note.wait", "gpu");
    browser.comes("#do-resume");
    browser.comes("#do-promote");
    server.abort();
}

#[test]
fn an_ab_test_ends_with_its_effects_and_promotes_nothing() {
    let page = OpenedPage::new(0, |envoy| {
        let mut rollout = quick(&[envoy]);
        rollout["goal"] = json!("measure");
        rollout
    });
    let browser = &page.browser;
    browser.reads(".steps", "nothing is promoted");
    browser.reads("#head h1", "Measured");
    browser.reads("#head .effects", "points (");
    browser.reads("#head", "0 % set");
    browser.reads("#rest", "Measured");
    assert!(!browser.text("#rest").contains("weight 100 %"), "{}", browser.text("#rest"));
}

#[test]
fn a_metric_that_pauses_asks_an_operator_who_overrules_it() {
    let page = OpenedPage::new(60, |envoy| {
        let mut rollout = quick(&[envoy]);
        rollout["steps"] = json!([
            {"setWeight": 20}, {"pause": {"duration": "2s"}}, {"setWeight": 50}, {"pause": {}},
        ]);
        rollout["analysis"]["metrics"][0]["onFailure"] = json!("pause");
        rollout
    });
    let browser = &page.browser;
    browser.reads("#head h1", "Paused");
    browser.reads("#head .note.wait", "failures");
    browser.reads("#head .metrics", "✕ paused");
    browser.click("#do-promote");
    browser.click("#go");
    browser.reads("#rest", "an operator overruled failures");
    browser.reads("#rest", "step 2 of 2: weight 50 %");
}
