//! Who may use the page.

use axum::Router;
use axum::response::Html;
use axum::routing::get;

use crate::chromium::Browser;
use crate::fake::runtime;
use crate::stage::{Controller, Place, busy, patient};

#[test]
fn the_login_takes_the_token_and_leads_back() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.write("rollout.yaml", patient(&[&envoy]));
    let token = place.write("token", "0123456789abcdef-secret\n");
    let arguments = ["--token-file", token.to_str().unwrap()];
    let controller = Controller::run_at(&place, &file, "0.0.0.0:0", &arguments);
    let browser = Browser::new(1200, 900);
    browser.goto(&controller.page());
    assert!(browser.url().contains("/login"), "{}", browser.url());
    browser.click("#token");
    browser.press("0123456789abcdef-wrong!\u{e007}");
    browser.reads(".refusal", "isn't the controller's token");
    browser.click("#token");
    browser.press("0123456789abcdef-secret\u{e007}");
    browser.reads("#head h1", "Paused");
    assert_eq!(browser.url(), controller.page(), "it leads back to where one came from");
    browser.reads("#link", "live");
    let cookies = browser.cookies();
    assert_eq!(
        (&cookies[0]["httpOnly"], &cookies[0]["sameSite"]),
        (&true.into(), &"Strict".into())
    );
    assert!(
        !cookies[0]["value"].as_str().unwrap().contains("secret"),
        "the cookie isn't the token"
    );
    browser.click("#do-abort");
    browser.click("#go");
    browser.reads("#head h1", "Degraded");
}

/// A page of another origin that tries to steer, to read and to frame the controller.
const HOSTILE: &str = r"<!doctype html><title>hostile</title><p id=done></p><iframe id=frame src='TARGET/'></iframe>
<script>
  const text = (said) => { document.getElementById('done').textContent += said + ' '; };
  const attempts = [
    fetch('TARGET/api/v1/rollouts/scorer/abort', {method: 'POST', mode: 'no-cors'}),
    fetch('TARGET/api/v1/rollouts/scorer/abort', {method: 'POST', mode: 'no-cors', body: '{}'}),
    fetch('TARGET/api/v1/rollouts/scorer').then((answer) => text('read ' + answer.status)),
  ];
  Promise.allSettled(attempts).then(() => text('tried'));
</script>";

#[test]
fn another_origin_neither_steers_nor_reads_nor_frames() {
    let (place, envoy) = (Place::new(), busy(0));
    let controller = Controller::run(&place, &place.write("rollout.yaml", patient(&[&envoy])), &[]);
    let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let page = HOSTILE.replace("TARGET", &controller.url);
    let app = Router::new().route("/", get(async move || Html(page)));
    let server = runtime().spawn(async { axum::serve(listener, app).await.unwrap() });
    // Names of the attacker's that lead to this host, as DNS rebinding makes them.
    let names = ["--host-resolver-rules=MAP evil.example 127.0.0.1"];
    let browser = Browser::with(1200, 900, &names);
    browser.goto(&format!("http://evil.example:{port}/"));
    browser.reads("#done", "tried");
    assert!(!browser.text("#done").contains("read"), "{}", browser.text("#done"));
    let framed: bool = browser.script(
        "try { return document.getElementById('frame').contentDocument !== null } catch { return false }",
    );
    assert!(!framed, "its frame can't be looked into");
    // The rebound name itself.
    let port = controller.address().rsplit_once(':').unwrap().1;
    browser.goto(&format!("http://evil.example:{port}/"));
    browser.reads("body", "refused");
    browser.goto(&controller.page());
    browser.reads("#head h1", "Paused");
    server.abort();
}
