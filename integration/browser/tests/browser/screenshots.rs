//! Pictures of the page for the documentation. They are written to the folder that `SCREENSHOTS` names
//! (scripts/screenshots sets it), else below `target/`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chromium::Browser;
use crate::fake::Fake;
use crate::stage::{Controller, Place, canaryctl};

fn rollout(name: &str, envoy: &Fake) -> Value {
    json!({
        "rollout": name,
        "envoys": [envoy.url],
        "lease": "30s",
        "steps": [
            {"setWeight": 5}, {"pause": {"duration": "10s", "minRequests": 50}},
            {"setWeight": 20}, {"pause": {"duration": "12s"}},
            {"setWeight": 50}, {"pause": {}},
        ],
        "analysis": {"metrics": [
            {"name": "failures", "kind": "failureRate", "margin": "0.5%"},
            {"name": "latency", "kind": "latency", "tolerance": 1.5},
        ]},
    })
}

fn scheme(browser: &Browser, scheme: &str) {
    let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    browser.devtools("Emulation.setEmulatedMedia", features);
}

/// Makes the window as high as the page, at most so high.
fn fit(browser: &Browser, width: u32, highest: u64, scale: u32) {
    let size = |height: u64| {
        let scale =
            json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": false});
        browser.devtools("Emulation.setDeviceMetricsOverride", scale);
    };
    // A document is never lower than its window.
    size(300);
    std::thread::sleep(Duration::from_millis(300));
    let height: u64 = browser.script("return document.documentElement.scrollHeight");
    size(height.min(highest));
    std::thread::sleep(Duration::from_millis(600));
}

#[test]
fn pictures_for_the_documentation() {
    let target = || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    let folder = std::env::var_os("SCREENSHOTS").map_or_else(target, PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let names = ["fraud-scorer", "ranker", "summarizer"];
    let envoy = Fake::start().with(|envoy| {
        envoy.busy_rollout("fraud-scorer", 400.0, 0);
        envoy.busy_rollout("ranker", 200.0, 30);
        envoy.busy_rollout("summarizer", 50.0, 0);
    });
    let place = Place::new();
    for name in names {
        place.write(&format!("files/{name}.yaml"), rollout(name, &envoy));
    }
    let controller = Controller::serve(&place, &["--tick", "250ms"]);
    let browser = Browser::new(1200, 1000);
    let page = |name: &str| format!("{}/rollouts/{name}", controller.url);
    for name in ["fraud-scorer", "ranker"] {
        browser.goto(&page(name));
        browser.click("#do-start");
        browser.click("#go");
        browser.reads("#head h1", "Progressing");
    }
    browser.goto(&page("ranker"));
    browser.reads("#head h1", "Degraded");
    browser.goto(&page("fraud-scorer"));
    browser.reads("#head h1", "Paused");
    std::thread::sleep(Duration::from_secs(5));
    for name in ["light", "dark"] {
        scheme(&browser, name);
        fit(&browser, 1200, 3_600, 1);
        browser.screenshot(&folder.join(format!("page-{name}.png")));
    }
    scheme(&browser, "light");
    browser.click("#do-abort");
    fit(&browser, 1200, 700, 1);
    browser.screenshot(&folder.join("page-dialog.png"));
    browser.click("#cancel");
    fit(&browser, 360, 1_400, 2);
    browser.screenshot(&folder.join("page-phone.png"));
    browser.goto(&page("ranker"));
    browser.comes("#chart-evidence canvas");
    fit(&browser, 1200, 3_600, 1);
    browser.screenshot(&folder.join("page-rolled-back.png"));
    let report = place.path("report.html");
    let (state, to) = (place.path("state"), report.to_str().unwrap().to_owned());
    let arguments = ["report", "ranker", "--state", state.to_str().unwrap(), "--write", &to];
    let written = std::process::Command::new(canaryctl()).args(arguments).env_clear().status();
    assert!(written.unwrap().success());
    browser.goto(&format!("file://{to}"));
    browser.comes("#chart-evidence canvas");
    fit(&browser, 1200, 3_600, 1);
    browser.screenshot(&folder.join("report.png"));
    browser.goto(&controller.url);
    browser.reads("#row-ranker", "back on stable");
    fit(&browser, 1200, 700, 1);
    browser.screenshot(&folder.join("page-list.png"));
    for picture in std::fs::read_dir(&folder).unwrap() {
        let length = picture.unwrap().metadata().unwrap().len();
        assert!(length > 5_000, "a picture of {length} bytes shows nothing");
    }
}
