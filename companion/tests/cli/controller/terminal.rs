//! What an operator sees of `run` on a terminal.

use std::fs::{File, OpenOptions};
use std::process::Child;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::*;

/// Wide enough for any sentence.
const WIDE: u16 = 400;

/// A terminal of 40 lines, and the end that a program gets.
fn terminal(columns: u16) -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    tcsetwinsize(&ours, Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
        .unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    (File::from(ours), OpenOptions::new().read(true).write(true).open(path).unwrap())
}

/// Runs a rollout on a terminal to its end. Gives the exit code and the last that the terminal showed.
fn last_showing(place: &Place, file: &Path) -> (i32, String) {
    let (code, shown) = on_terminal(place, file, WIDE);
    (code, shown.rsplit(BEGIN).next().unwrap().to_owned())
}

/// What begins each showing but the first: terminals wait for its end before they draw.
const BEGIN: &str = "\u{1b}[?2026h";

/// The same with everything that the terminal showed.
fn on_terminal(place: &Place, file: &Path, columns: u16) -> (i32, String) {
    let (mut ours, theirs) = terminal(columns);
    let (file, journal) = (file.to_str().unwrap(), place.journal());
    let mut command = command(&["run", file, "--tick", "100ms", "--listen", "127.0.0.1:0"]);
    command.args(["--journal", journal.to_str().unwrap()]).env("TERM", "xterm");
    command.stdout(theirs.try_clone().unwrap()).stderr(theirs);
    let mut child: Child = command.spawn().unwrap();
    // The command holds the program's end open, and reading would never stop.
    drop(command);
    let shown = std::thread::spawn(move || {
        let (mut shown, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = ours.read(&mut part) {
            shown.extend_from_slice(&part[..read]);
        }
        String::from_utf8(shown).unwrap()
    });
    let end = Instant::now() + patience();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap();
        }
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("still running");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    (code, shown.join().unwrap())
}

#[test]
fn the_end_of_a_rollback_says_its_reason_once() {
    let (place, envoy) = (Place::new(), busy(30));
    let (code, shown) = last_showing(&place, &place.file(&quick(&[&envoy])));
    assert_eq!(code, 1, "{shown}");
    let records = place.records();
    let end = records.last().unwrap();
    assert_eq!(end["reason"]["verdict"]["conclusion"], "fail", "{end}");
    let failed = |record: &Value| {
        let verdicts = record["verdicts"].as_array()?;
        let failed = verdicts.iter().find(|verdict| verdict["conclusion"] == "fail")?;
        Some(failed["reason"].as_str()?.to_owned())
    };
    let verdict = records.iter().find_map(failed).unwrap();
    let sentence = verdict.strip_prefix("failures: ").unwrap_or(&verdict);
    assert_eq!(shown.matches(sentence).count(), 1, "\"{sentence}\" in\n{shown}");
    assert!(shown.contains("rollout \"scorer\" is Degraded"), "{shown}");
}

#[test]
fn an_envoy_out_of_reach_is_named_at_the_end() {
    let (place, envoy, gone) = (Place::new(), busy(0), crate::nobody());
    let mut rollout = quick(&[&envoy]);
    rollout["envoys"].as_array_mut().unwrap().push(json!(gone));
    let (code, shown) = last_showing(&place, &place.file(&rollout));
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains(&format!("Out of reach: {gone}")), "{shown}");
}

/// A text without its escape sequences and carriage returns.
fn plain(text: &str) -> String {
    let (mut plain, mut escape) = (String::new(), false);
    for c in text.chars() {
        if escape || c == '\u{1b}' {
            escape = !c.is_ascii_alphabetic();
        } else if c != '\r' {
            plain.push(c);
        }
    }
    plain
}

#[test]
fn steps_figures_and_decisions_are_redrawn_in_80_columns() {
    let (place, envoy) = (Place::new(), busy(0));
    let (code, shown) = on_terminal(&place, &place.file(&quick(&[&envoy])), 80);
    assert_eq!(code, 0, "{shown}");
    let showings: Vec<String> = shown.split(BEGIN).skip(1).map(plain).collect();
    let has = |all: &[&str]| {
        let found = showings.iter().any(|one| all.iter().all(|text| one.contains(text)));
        assert!(found, "no {all:?} at once in {showings:#?}");
    };
    has(&["steps    ▶ 5 %  · 50 %  · 100 %", "weight   set 5 %", "next     step 1 of 2 (5 %)"]);
    has(&["steps    ✓ 5 %  ▶ 50 %  · 100 %", "step 2 of 2: weight 50 %", "stable 3.1"]);
    has(&["steps    ✓ 5 %  ✓ 50 %  ✓ 100 %", "canary against stable", "failures: "]);
    // The last showing is followed by what the program says at its end.
    for showing in showings.iter().rev().skip(1) {
        let widest = showing.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?} columns: {showing}");
    }
    let cleared = shown
        .split(BEGIN)
        .skip(1)
        .all(|one| one.starts_with("\u{1b}[") && !one.contains("F\u{1b}[J"));
    assert!(cleared, "no showing clears the screen before it draws");
}

#[test]
fn get_shows_steps_and_what_happened_last() {
    let (place, envoy) = (Place::new(), busy(0));
    let controller = Controller::start(&place, &place.file(&patient(&[&envoy])), &[]);
    controller.comes_to(|status| status["phase"] == "Paused");
    let text = controller.ctl(&["get", "rollout", "scorer"]).exits(0).stdout;
    assert!(text.contains("▶ 5 %  · 100 %"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{a0}'), "plain in a pipe: {text}");
    assert!(text.contains("step 1 of 1: weight 5 %"), "{text}");
}
