//! `cohort`: which version each affinity key gets.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::json;
use tempfile::TempDir;

use crate::{Run, command, ctl, run};

/// The filter's configuration, with the rollout's fields in question.
fn filter(dir: &TempDir, fields: &str) -> PathBuf {
    let path = dir.path().join("filter.json");
    let text = format!(
        r#"{{"rollouts": [{{"name": "scorer", {fields}
            "stable": {{"version": "3.1", "cluster": "a"}}, "canary": {{"version": "3.2", "cluster": "b"}}}}]}}"#
    );
    std::fs::write(&path, text).unwrap();
    path
}

const STICKY: &str = r#""affinity": [{"header": "x-user-id"}],"#;

fn cohort(filter: &std::path::Path, more: &[&str], keys: &[u8]) -> Run {
    let arguments = ["cohort", "scorer", "--filter", filter.to_str().unwrap()];
    let mut command = command(&[&arguments[..], more].concat());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments doesn't read.
    let _ = child.stdin.take().unwrap().write_all(keys);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[test]
fn keys_come_from_standard_input_or_a_file() {
    let dir = TempDir::new().unwrap();
    let filter = filter(&dir, STICKY);
    let all = cohort(&filter, &["--weight", "100"], b"ann\nbob\r\n").exits(0);
    assert_eq!((all.stdout.as_str(), all.stderr.as_str()), ("ann\t3.2\nbob\t3.2\n", ""));
    let keys = dir.path().join("keys");
    std::fs::write(&keys, "ann\r\nbob").unwrap();
    let arguments = ["cohort", "scorer", "--filter", filter.to_str().unwrap(), "--weight", "0"];
    let none = ctl(&[], &[&arguments[..], &["-f", keys.to_str().unwrap()]].concat()).exits(0);
    assert_eq!(none.stdout, "ann\t3.1\nbob\t3.1\n");
    let json = cohort(&filter, &["--weight", "0", "-o", "json"], b"ann\n").exits(0).json();
    assert_eq!(json, json!([{"key": "ann", "version": "3.1"}]));
    assert_eq!(cohort(&filter, &["--weight", "5"], b"").exits(0).stdout, "");
}

#[test]
fn versions_of_the_command_line_replace_those_of_the_configuration() {
    let dir = TempDir::new().unwrap();
    let filter = filter(&dir, STICKY);
    let versions = ["--stable-version", "3.2", "--canary-version", "4.0-rc1"];
    let with = |weight| cohort(&filter, &[&versions[..], &["--weight", weight]].concat(), b"ann\n");
    assert_eq!(with("100").exits(0).stdout, "ann\t4.0-rc1\n");
    assert_eq!(with("0").exits(0).stdout, "ann\t3.2\n");
    cohort(&filter, &["--weight", "5", "--canary-version", "rq_total"], b"")
        .exits(2)
        .says("version");
}

#[test]
fn what_has_no_answer_is_refused() {
    let dir = TempDir::new().unwrap();
    let random = filter(&dir, "");
    let weight = ["--weight", "5"];
    cohort(&random, &weight, b"ann\n").exits(2).says("rollout \"scorer\" has no `affinity`");
    let sticky = filter(&dir, STICKY);
    let run = cohort(&sticky, &weight, b"ann\n\nbob\n").exits(2);
    let run = run.says("standard input: line 2 is empty");
    assert_eq!(run.stdout.lines().count(), 1, "what came before is answered");
    cohort(&sticky, &["--weight", "101"], b"").exits(2);
    let nowhere = ["--weight", "5", "-f", "/nowhere/keys"];
    cohort(&sticky, &nowhere, b"").exits(2).says("/nowhere/keys: ");
    let path = sticky.to_str().unwrap();
    let other = ctl(&[], &["cohort", "ranker", "--filter", path, "--weight", "5"]).exits(2);
    other.says("has no rollout \"ranker\", only scorer");
    let wrong = filter(&dir, r#""afinity": [],"#);
    cohort(&wrong, &weight, b"").exits(2).says("filter.json:1: rollouts[0].afinity: ");
}

/// A reader that has seen enough is no error, as with every other command.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let dir = TempDir::new().unwrap();
    let keys = dir.path().join("keys");
    let text: String = (0..100_000).map(|number| format!("user-{number}\n")).collect();
    std::fs::write(&keys, text).unwrap();
    let filter = filter(&dir, STICKY);
    let mut shell = std::process::Command::new("sh");
    let script = "\"$0\" cohort scorer --filter \"$1\" --weight 5 -f \"$2\" | head -n 1";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_canaryctl")]).args([&filter, &keys]);
    let run = run(&mut shell).exits(0);
    assert_eq!((run.stdout.lines().count(), run.stderr.as_str()), (1, ""));
}
