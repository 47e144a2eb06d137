//! Commands from the page, by mouse and by keyboard.

use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::Key;

use crate::chromium::{Browser, until};
use crate::stage::{Controller, OpenedPage, Place, busy, patient};

/// The commands in the journal with their reasons.
fn commands(place: &Place) -> Vec<(Value, Value)> {
    let records = place.journal();
    let steps = records.iter().filter(|record| record["replies"].is_array());
    steps.map(|step| (step["replies"][0]["command"].clone(), step["reason"].clone())).collect()
}

#[test]
fn abort_by_button_with_a_reason_while_the_page_is_redrawn() {
    let page = OpenedPage::paused();
    let browser = &page.browser;
    browser.click("#do-abort");
    browser.comes("#command[open]");
    assert_eq!(browser.text("#command-title"), "Abort scorer?");
    assert_eq!(browser.text("#go"), "Abort", "the button says what it does");
    browser.click("#reason");
    browser.press("customers see <b>wrong");
    // The page is redrawn meanwhile: what is typed, and the focus, stay.
    let requests = |browser: &Browser| browser.text(".sides tbody tr");
    let before = requests(browser);
    until("new figures", || requests(browser) != before);
    assert_eq!(browser.focused(), "reason");
    browser.press(" labels");
    browser.click("#go");
    browser.reads("#head h1", "Degraded");
    assert!(!browser.shows("#command"), "the dialog is closed");
    let reason = "customers see <b>wrong labels";
    assert!(
        commands(&page.place).contains(&(json!("abort"), json!(reason))),
        "{:?}",
        commands(&page.place)
    );
    browser.reads("#rest", reason);
}

#[test]
fn abort_by_keyboard_alone() {
    let page = OpenedPage::paused();
    let browser = &page.browser;
    let tab = |browser: &Browser, to: &str| {
        for _ in 0..30 {
            if browser.focused() == to {
                return;
            }
            browser.press(Key::Tab + "");
        }
        panic!("{to} can't be reached by the Tab key; the focus is on \"{}\"", browser.focused());
    };
    tab(browser, "do-abort");
    browser.press(Key::Enter + "");
    browser.comes("#command[open]");
    browser.press(Key::Escape + "");
    until("the dialog to close", || !browser.shows("#command"));
    assert_eq!(browser.focused(), "do-abort", "the focus goes back to the button");
    // It survives being redrawn.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(browser.focused(), "do-abort");
    browser.press(Key::Enter + "");
    browser.comes("#command[open]");
    tab(browser, "reason");
    browser.press("by keyboard");
    tab(browser, "go");
    browser.press(Key::Enter + "");
    browser.reads("#head h1", "Degraded");
    assert!(commands(&page.place).contains(&(json!("abort"), json!("by keyboard"))));
}

#[test]
fn a_refusal_is_shown_in_the_dialog() {
    let page = OpenedPage::paused();
    let browser = &page.browser;
    browser.click("#do-promote");
    browser.comes("#command[open]");
    // Meanwhile somebody else aborts.
    browser.script::<()>(
        "return fetch('/api/v1/rollouts/scorer/abort', {method: 'POST'}).then(() => null)",
    );
    browser.click("#go");
    browser.comes("#refusal");
    assert!(browser.shows("#command[open]"), "the dialog stays, with what was typed");
    assert!(!browser.text("#refusal").is_empty());
}

#[test]
fn promote_moves_on_a_step() {
    let page = OpenedPage::paused();
    let browser = &page.browser;
    browser.click("#do-promote");
    browser.click("#go");
    browser.reads("#rest", "step 2 of 2: weight 50 %");
    browser.reads("#head", "50 % set");
    browser.click("#do-promote-full");
    assert_eq!(browser.text("#go"), "Promote fully");
    browser.click("#go");
    browser.reads("#head h1", "Healthy");
}

#[test]
fn read_only_shows_everything_and_steers_nothing() {
    let (place, envoy) = (Place::new(), busy(0));
    let file = place.write("rollout.yaml", patient(&[&envoy]));
    let controller = Controller::run(&place, &file, &["--read-only"]);
    let browser = Browser::new(1200, 900);
    browser.goto(&controller.page());
    browser.reads("#head h1", "Paused");
    browser.comes("#chart-weight canvas");
    let buttons: u64 =
        browser.script("return document.querySelectorAll('main button, dialog').length");
    assert_eq!(buttons, 0);
    let status: u16 = browser.script(
        "return fetch('/api/v1/rollouts/scorer/abort', {method: 'POST'}).then((answer) => answer.status)",
    );
    assert_eq!(status, 403);
    browser.reads("#head h1", "Paused");
}
