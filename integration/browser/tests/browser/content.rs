//! What is on the page: foreign text, long histories, many rollouts, small screens; and what it costs.

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};

use crate::chromium::{Browser, until};
use crate::fake::{Fake, runtime};
use crate::stage::{Controller, Place, busy, canaryctl, patient};

/// What would show if any of it became part of the page.
const MARKUP: &str =
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";

#[test]
fn markup_in_files_reasons_and_answers_is_text() {
    let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let gate = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().route("/", post(async || (StatusCode::FORBIDDEN, MARKUP)));
    let server = runtime().spawn(async { axum::serve(listener, app).await.unwrap() });
    let (place, envoy) = (Place::new(), busy(0));
    let mut rollout = patient(&[&envoy]);
    rollout["steps"] = json!([{"setWeight": 5}, {"pause": {}}]);
    rollout["gates"] = json!([{"before": "promotion", "url": gate}]);
    let file = place.write("rollout.yaml", format!("# {MARKUP}\n{rollout}"));
    let controller = Controller::run(&place, &file, &[]);
    let browser = Browser::new(1200, 900);
    browser.goto(&controller.page());
    browser.reads("#head h1", "Paused");
    browser.click("#do-promote");
    browser.click("#reason");
    browser.press(MARKUP);
    browser.click("#go");
    browser.reads("#rest", "onerror");
    browser.reads("#head", "waits for the gate");
    browser.click("#file summary");
    browser.reads("#file pre", MARKUP);
    browser.goto(&format!("{}/", controller.url));
    browser.reads("#list", "scorer");
    assert_clean(&browser);
    browser.goto(&controller.page());
    browser.reads("#rest", "<script>");
    assert_clean(&browser);
    // The report, where a journal could also hold versions that no Envoy would.
    let records = std::fs::read_to_string(place.path("journal.jsonl")).unwrap();
    let journal =
        place.write("hostile.jsonl", records.replace("\"3.2\"", &json!(MARKUP).to_string()));
    let report = report(&place, &journal);
    browser.goto(&format!("file://{}", report.display()));
    browser.reads("#head", MARKUP);
    assert_clean(&browser);
    server.abort();
}

/// No element came out of foreign text.
fn assert_clean(browser: &Browser) {
    let title: String = browser.script("return document.title");
    assert!(!title.contains("owned"), "{title}");
    let foreign: u64 = browser.script("return document.querySelectorAll('img, body script:not([src]):not([type]):not(:last-of-type)').length");
    assert_eq!(foreign, 0);
}

/// Writes the report of a journal.
fn report(place: &Place, journal: &Path) -> std::path::PathBuf {
    let file = place.path("report.html");
    let (journal, to) = (journal.to_str().unwrap(), file.to_str().unwrap());
    let arguments = ["report", "scorer", "--journal", journal, "--write", to];
    let status =
        std::process::Command::new(canaryctl()).args(arguments).env_clear().status().unwrap();
    assert!(status.success());
    file
}

#[test]
fn the_report_is_the_same_view_and_needs_nobody() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.write("rollout.yaml", patient(&[&envoy]));
    let mut controller = Controller::run(&place, &file, &[]);
    let browser = Browser::new(1200, 900);
    browser.goto(&controller.page());
    browser.reads("#head h1", "Paused");
    browser.comes("#chart-weight canvas");
    let charts =
        "return [...document.querySelectorAll('#charts figcaption')].map((one) => one.innerText)";
    let live: Vec<String> = browser.script(charts);
    controller.kill();
    drop(envoy);
    let report = report(&place, &place.path("journal.jsonl"));
    browser.goto(&format!("file://{}", report.display()));
    browser.reads("#head h1", "Paused");
    browser.comes("#chart-weight canvas");
    assert_eq!(browser.script::<Vec<String>>(charts), live);
    let loaded: u64 = browser.script("return performance.getEntriesByType('resource').length");
    assert_eq!(loaded, 0, "it loads nothing");
    assert!(!browser.shows("button") && !browser.shows("#link"));
}

/// Puts a day of observations into the journal of a rollout that is paused.
fn age_by_a_day(journal: &Path) {
    let text = std::fs::read_to_string(journal).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let record = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let state = lines.iter().rposition(|line| line.starts_with("{\"record\":\"state\"")).unwrap();
    let mut state = record(lines[state]);
    let last = |holds: &dyn Fn(&Value) -> bool| {
        lines.iter().rev().map(|line| record(line)).find(|record| holds(record)).unwrap()
    };
    let mut step = last(&|one| one["record"] == "step" && one["counted"] == true);
    step["events"] = json!([]);
    step["actions"] = json!([]);
    let mut line = last(&|one| one["record"] == "observation");
    let begin = line["t"].as_f64().unwrap();
    let mut day = Vec::new();
    for second in 1..=86_400u32 {
        line["t"] = json!(begin + f64::from(second));
        day.push(line.to_string());
        day.push(step.to_string());
    }
    let passed = &mut state["state"]["clock"]["passed"]["secs"];
    *passed = json!(passed.as_u64().unwrap() + 86_401);
    day.push(state.to_string());
    lines.extend(day.iter().map(String::as_str));
    std::fs::write(journal, lines.join("\n") + "\n").unwrap();
}

#[test]
fn a_day_of_history_costs_no_more_than_a_minute() {
    let (place, envoy) = (Place::new(), busy(0));
    let mut rollout = patient(&[&envoy]);
    rollout["lease"] = json!("1h");
    let file = place.write("rollout.yaml", rollout);
    let mut controller = Controller::run(&place, &file, &[]);
    let browser = Browser::new(1200, 900);
    browser.goto(&controller.page());
    browser.reads("#head h1", "Paused");
    browser.reads("#chart-weight .u-legend", "set");
    controller.kill();
    age_by_a_day(&place.path("journal.jsonl"));
    let controller = Controller::run(&place, &file, &["--tick", "1s"]);
    browser.goto("about:blank");
    until("the history to be read", || {
        browser.goto(&controller.page());
        browser.text("#head").contains("observed for 24 h")
    });
    browser.comes("#chart-weight canvas");
    let (points, bytes): (u64, u64) = browser.script(
        "return fetch('/rollouts/scorer/history').then((answer) => answer.text())
           .then((text) => [JSON.parse(text).t.length, text.length])",
    );
    assert!((300..=1_000).contains(&points), "{points} points");
    assert!(bytes < 400_000, "{bytes} bytes of history");
    let wire: f64 = browser.script(
        "const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
         const page = all.filter((one) => !one.name.includes('/history') && !one.name.includes('/events'));
         return Math.max(...page.map((one) => one.startTime)) < 1e9
           ? page.slice(0, 3).reduce((sum, one) => sum + one.transferSize, 0) : -1",
    );
    println!("on the wire: {wire} bytes, {points} points, {bytes} bytes of history");
    assert!(wire > 1_000.0 && wire < 300_000.0, "{wire} bytes on the wire");
    let idle = processor_share(&controller, &browser, 0);
    let tabs = 5;
    let open = processor_share(&controller, &browser, tabs);
    let each = (open - idle) / tabs as f64;
    println!(
        "controller: {:.2} % of a core, and {:.2} % for each open tab",
        idle * 100.0,
        each * 100.0
    );
    assert!(each < 0.01, "each open tab costs {:.2} % of a core", each * 100.0);
}

/// The share of a core that the controller takes with so many visible tabs.
fn processor_share(controller: &Controller, browser: &Browser, tabs: usize) -> f64 {
    const SECONDS: u32 = 12;
    browser.goto("about:blank");
    for _ in 0..tabs {
        browser.new_window();
        browser.goto(&controller.page());
        browser.reads("#link", "live");
        assert!(!browser.script::<bool>("return document.hidden"), "each window is visible");
    }
    std::thread::sleep(Duration::from_secs(3));
    let before = controller.processor_seconds();
    std::thread::sleep(Duration::from_secs(SECONDS.into()));
    (controller.processor_seconds() - before) / f64::from(SECONDS)
}

#[test]
fn fifty_rollouts_are_listed_and_started_from_the_page() {
    let names: Vec<String> = (0..50).map(|number| format!("model-{number:02}")).collect();
    let envoy = Fake::start().with(|envoy| {
        names.iter().for_each(|name| envoy.busy_rollout(name, 100.0, 0));
    });
    let place = Place::new();
    for name in &names {
        let mut rollout = patient(&[&envoy]);
        rollout["rollout"] = json!(name);
        place.write(&format!("files/{name}.yaml"), rollout);
    }
    let controller = Controller::serve(&place, &[]);
    let browser = Browser::new(1200, 900);
    browser.goto(&controller.url);
    let rows = "return document.querySelectorAll('#list tbody tr').length";
    until("fifty rows", || browser.script::<u64>(rows) == 50);
    browser.click("#row-model-07 a");
    browser.reads("#head", "No release has begun");
    browser.click("#do-start");
    browser.comes("#canary_version");
    browser.click("#go");
    browser.reads("#head h1", "Paused");
    browser.comes("#chart-weight canvas");
    browser.click("nav a");
    browser.reads("#row-model-07", "Paused");
    browser.reads("#row-model-07", "paused");
    browser.reads("#row-model-08", "Pending");
}

#[test]
fn it_fits_a_phone_and_both_schemes() {
    let (place, envoy) = (Place::new(), busy(0));
    let controller = Controller::run(&place, &place.write("rollout.yaml", patient(&[&envoy])), &[]);
    let browser = Browser::new(320, 640);
    for path in ["/rollouts/scorer", "/"] {
        browser.goto(&format!("{}{path}", controller.url));
        browser.reads("h1", if path == "/" { "Rollouts" } else { "Paused" });
        until("charts or none", || path == "/" || browser.shows("#chart-weight canvas"));
        let widest: u64 = browser.script("return document.documentElement.scrollWidth");
        assert!(widest <= 320, "{path} is {widest} px wide");
    }
    browser.goto(&controller.page());
    browser.comes("#do-abort");
    let background = "return getComputedStyle(document.body).backgroundColor";
    let mut seen = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.devtools("Emulation.setEmulatedMedia", features);
        seen.push(browser.script::<String>(background));
        let low = browser.script::<Vec<String>>(LOW_CONTRAST);
        assert!(low.is_empty(), "{scheme}: {low:#?}");
    }
    assert_ne!(seen[0], seen[1]);
}

/// Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, AA).
const LOW_CONTRAST: &str = "
  const parse = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const node of document.querySelectorAll('main *, header *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`);
  }
  return low";
