//! The controller comes and goes, and so do tabs.

use crate::chromium::{Browser, until};
use crate::stage::{Controller, Place, busy, patient};

#[test]
fn a_controller_that_is_gone_is_said_to_be_and_taken_back() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.write("rollout.yaml", patient(&[&envoy]));
    let mut controller = Controller::run(&place, &file, &[]);
    let browser = Browser::new(1200, 900);
    browser.goto(&controller.page());
    browser.script::<()>("window.sameDocument = true");
    browser.reads("#link", "live");
    browser.reads("#head h1", "Paused");
    let address = controller.address().to_owned();
    controller.kill();
    browser.comes("#gone");
    assert_eq!(browser.text("#link"), "not connected");
    assert!(browser.text("#gone").contains("can't be reached"), "{}", browser.text("#gone"));
    assert!(browser.text("#head h1").contains("Paused"), "what was known stays");
    // A command is answered, too.
    browser.click("#do-abort");
    browser.click("#go");
    browser.reads("#refusal", "doesn't answer");
    browser.click("#cancel");
    let _controller = Controller::run_at(&place, &file, &address, &[]);
    until("the page to be live again", || {
        !browser.shows("#gone") && browser.text("#link") == "live"
    });
    let requests = |browser: &Browser| browser.text(".sides tbody tr");
    let before = requests(&browser);
    until("new figures", || requests(&browser) != before);
    assert!(browser.script::<bool>("return window.sameDocument === true"), "it was reloaded");
}

#[test]
fn an_envoy_that_is_gone_is_named() {
    let (place, envoy, other) = (Place::new(), busy(0), busy(0));
    let file = place.write("rollout.yaml", patient(&[&envoy, &other]));
    let controller = Controller::run(&place, &file, &[]);
    let browser = Browser::new(1200, 900);
    browser.goto(&controller.page());
    browser.reads("#head h1", "Paused");
    let lost = other.url.clone();
    drop(other);
    browser.reads("#rest", &format!("{lost} can't be reached"));
    browser.reads("#head .note.bad", &lost);
    browser.reads("#rest", "✕");
}

#[test]
fn ten_tabs_work() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.write("rollout.yaml", patient(&[&envoy]));
    let controller = Controller::run(&place, &file, &[]);
    let browser = Browser::new(1200, 900);
    browser.goto(&controller.page());
    for _ in 1..10 {
        browser.new_tab();
        browser.goto(&controller.page());
        browser.reads("#link", "live");
        browser.comes("#chart-weight canvas");
    }
    // The first one was hidden all the time; it is up to date as soon as it is seen.
    browser.switch(0);
    let requests = |browser: &Browser| browser.text(".sides tbody tr");
    let before = requests(&browser);
    until("new figures", || requests(&browser) != before);
}
