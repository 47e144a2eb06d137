//! Pictures of the page for the documentation. They are written to the folder that `SCREENSHOTS` names
//! (scripts/screenshots sets it), else below `target/`.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
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

/// What `canaryctl get` shows on a terminal of 80 columns, as a document.
fn on_terminal(controller: &str, rollout: &str) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    tcsetwinsize(&ours, Winsize { ws_row: 50, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut command = Command::new(canaryctl());
    command.args(["get", "rollout", rollout, "--controller", controller]).env_clear();
    let status = command.env("TERM", "xterm").stdout(theirs).status().unwrap();
    assert!(status.success());
    // Its end that the program had is closed, or reading would never stop.
    drop(command);
    let (mut ours, mut shown, mut part) = (File::from(ours), Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = ours.read(&mut part) {
        shown.extend_from_slice(&part[..read]);
    }
    let text = String::from_utf8(shown).unwrap();
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let (mut pieces, mut html) = (text.split("\u{1b}["), String::new());
    html += pieces.next().unwrap();
    let mut open = 0;
    for piece in pieces {
        let (code, rest) = piece.split_once('m').unwrap();
        if code == "0" {
            html += &"</span>".repeat(std::mem::take(&mut open));
        } else {
            html += &format!("<span class='c{code}'>");
            open += 1;
        }
        html += rest;
    }
    format!(
        "<!doctype html><meta charset=utf-8><style>body{{margin:0;padding:16px;background:#12161c;color:#e4e9f0;
         font:14px/1.35 'DejaVu Sans Mono',monospace}}pre{{font:inherit;margin:0}}.c1{{font-weight:bold}}
         .c31{{color:#ff8880}}.c32{{color:#55cc8d}}.c33{{color:#e3c254}}.c36{{color:#58d3d2}}</style>
         <pre>$ canaryctl get rollout {rollout}\n{html}</pre>"
    )
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
        browser.screenshot(&folder.join(format!("page-{name}.webp")));
    }
    scheme(&browser, "light");
    browser.click("#do-abort");
    fit(&browser, 1200, 700, 1);
    browser.screenshot(&folder.join("page-dialog.webp"));
    browser.click("#cancel");
    let shown = place.write("terminal.html", on_terminal(&controller.url, "fraud-scorer"));
    fit(&browser, 360, 1_400, 2);
    browser.screenshot(&folder.join("page-phone.webp"));
    browser.goto(&page("ranker"));
    browser.comes("#chart-evidence canvas");
    fit(&browser, 1200, 3_600, 1);
    browser.screenshot(&folder.join("page-rolled-back.webp"));
    let report = place.path("report.html");
    let (state, to) = (place.path("state"), report.to_str().unwrap().to_owned());
    let arguments = ["report", "ranker", "--state", state.to_str().unwrap(), "--write", &to];
    let written = std::process::Command::new(canaryctl()).args(arguments).env_clear().status();
    assert!(written.unwrap().success());
    browser.goto(&format!("file://{to}"));
    browser.comes("#chart-evidence canvas");
    fit(&browser, 1200, 3_600, 1);
    browser.screenshot(&folder.join("report.webp"));
    browser.goto(&format!("file://{}", shown.display()));
    fit(&browser, 720, 1_000, 1);
    browser.screenshot(&folder.join("terminal.webp"));
    browser.goto(&controller.url);
    browser.reads("#row-ranker", "back on stable");
    fit(&browser, 1200, 700, 1);
    browser.screenshot(&folder.join("page-list.webp"));
    for picture in std::fs::read_dir(&folder).unwrap() {
        let length = picture.unwrap().metadata().unwrap().len();
        assert!(length > 5_000, "a picture of {length} bytes shows nothing");
    }
}
