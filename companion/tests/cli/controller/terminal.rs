//! What an operator sees of `run` on a terminal.

use std::fs::{File, OpenOptions};
use std::process::Child;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::*;

/// A terminal that is wide enough for any sentence, and the end that a program gets.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    tcsetwinsize(&ours, Winsize { ws_row: 40, ws_col: 400, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    (File::from(ours), OpenOptions::new().read(true).write(true).open(path).unwrap())
}

/// Runs a rollout on a terminal to its end. Gives the exit code and the last that the terminal showed.
fn last_showing(place: &Place, file: &Path) -> (i32, String) {
    let (mut ours, theirs) = terminal();
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
    let shown = shown.join().unwrap();
    (code, shown.rsplit("\u{1b}[J").next().unwrap().to_owned())
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
