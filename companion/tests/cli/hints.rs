//! The commands that hints name, run as an operator would type them. That each parses is tested beside
//! the hints; here they must help.

use std::path::Path;
use std::process::Stdio;

use crate::fake::{Fake, Filter, Traffic};
use crate::{Run, command, ctl, run};

/// The commands in the hints of a run, without `canaryctl`.
fn hinted(run: &Run) -> Vec<Vec<String>> {
    let hints = run.stderr.lines().filter(|line| line.starts_with("hint:"));
    let quoted = hints.flat_map(|hint| hint.split('`').skip(1).step_by(2));
    let commands = quoted.filter_map(|text| text.strip_prefix("canaryctl "));
    commands.map(|text| text.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Runs a hinted command with its words in capitals replaced.
fn typed(words: &[String], replaced: &[(&str, &str)], environment: &[(&str, &str)]) -> Run {
    let replace = |word: &String| {
        let found = replaced.iter().find(|(name, _)| name == word);
        found.map_or(word.clone(), |(_, value)| (*value).to_owned())
    };
    let words: Vec<String> = words.iter().map(replace).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run(command(&words).envs(environment.iter().copied()))
}

#[test]
fn a_tripped_guard() {
    let fake = Fake::start().with(|envoy| envoy.filter = Filter::Tripped);
    let refused = ctl(&[&fake], &["set", "weight", "scorer", "5"]).exits(1);
    let [show, reset] = hinted(&refused).try_into().unwrap();
    let here = [("CANARYCTL_ENVOYS", fake.url.as_str())];
    typed(&show, &[], &here).exits(0);
    typed(&reset, &[("PERCENT", "5")], &here).exits(0);
}

#[test]
fn another_owner() {
    let owned = |envoy: &mut crate::fake::Envoy| {
        envoy.runtime.insert("canary.scorer.owner".to_owned(), "ci@prod".to_owned());
    };
    let fake = Fake::start().with(owned);
    let refused = ctl(&[&fake], &["set", "weight", "scorer", "5"]).exits(1);
    let [abort] = hinted(&refused).try_into().unwrap();
    let controller = crate::nobody();
    let here = [("CANARYCTL_ENVOYS", fake.url.as_str()), ("CANARYCTL_CONTROLLER", &controller)];
    typed(&abort, &[], &here).exits(0);
    ctl(&[&fake], &["set", "weight", "scorer", "5", "--takeover"]).exits(0);
}

fn rollout(envoy: &Fake, seconds: u32) -> String {
    format!(
        "rollout: scorer\nenvoys: [\"{}\"]\nlease: 12s\nsteps:\n  - setWeight: 50\n  \
         - pause: {{duration: {seconds}s}}\nanalysis:\n  metrics:\n    \
         - {{name: failures, kind: failureRate, margin: 1%}}\n",
        envoy.url
    )
}

fn run_rollout(file: &Path, journal: &Path) -> std::process::Command {
    let mut command = command(&["run", "-f", file.to_str().unwrap(), "--tick", "100ms"]);
    command.args(["--listen", "127.0.0.1:0", "--journal", journal.to_str().unwrap()]);
    command
}

/// A controller was killed in the middle of a rollout, and the file has changed since: after the hinted
/// abort, the hinted `run` takes the new file to its end.
#[test]
fn another_rollout_file() {
    let envoy = Fake::start().with(|envoy| envoy.traffic = Some(Traffic::new(400.0, 0)));
    let folder = tempfile::tempdir().unwrap();
    let (file, journal) = (folder.path().join("rollout.yaml"), folder.path().join("a.jsonl"));
    std::fs::write(&file, rollout(&envoy, 3_600)).unwrap();
    let mut first = run_rollout(&file, &journal);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    crate::until("the first step", || {
        let envoy = envoy.envoy();
        envoy.merged().get("canary.scorer.weight").is_some_and(|weight| weight.starts_with("50"))
    });
    first.kill().unwrap();
    first.wait().unwrap();
    std::fs::write(&file, rollout(&envoy, 1)).unwrap();
    let refused = run(&mut run_rollout(&file, &journal)).exits(2);
    let [abort, again] = hinted(&refused).try_into().unwrap();
    let controller = crate::nobody();
    typed(&abort, &[], &[("CANARYCTL_CONTROLLER", &controller)]).exits(0);
    assert!(envoy.envoy().merged()["canary.scorer.weight"].starts_with('0'));
    let other = folder.path().join("b.jsonl");
    let mut again = again;
    again.extend(["--listen", "127.0.0.1:0", "--tick", "100ms"].map(str::to_owned));
    let replaced = [("FILE", file.to_str().unwrap()), ("OTHER", other.to_str().unwrap())];
    typed(&again, &replaced, &[]).exits(0);
    assert!(envoy.envoy().merged()["canary.scorer.weight"].starts_with("100"));
}

/// A controller runs, and the operator has another file: after the hinted abort, which the controller
/// carries out, `run` takes the other file to its end, with the same journal.
#[test]
fn another_rollout_file_while_a_controller_runs() {
    let envoy = Fake::start().with(|envoy| envoy.traffic = Some(Traffic::new(400.0, 0)));
    let folder = tempfile::tempdir().unwrap();
    let (file, journal) = (folder.path().join("rollout.yaml"), folder.path().join("a.jsonl"));
    std::fs::write(&file, rollout(&envoy, 3_600)).unwrap();
    let controller = crate::nobody();
    let mut first = command(&["run", "-f", file.to_str().unwrap(), "--tick", "100ms", "--listen"]);
    first.args([controller.trim_start_matches("http://"), "--journal", journal.to_str().unwrap()]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    crate::until("the first step", || {
        let envoy = envoy.envoy();
        envoy.merged().get("canary.scorer.weight").is_some_and(|weight| weight.starts_with("50"))
    });
    std::fs::write(&file, rollout(&envoy, 1)).unwrap();
    let locked = run(&mut run_rollout(&file, &journal));
    assert_ne!(locked.code, 0, "{locked:?}");
    let hints = hinted(&locked);
    let abort = hints.iter().find(|words| words[0] == "abort").unwrap();
    let here = [("CANARYCTL_CONTROLLER", controller.as_str())];
    typed(abort, &[("NAME", "scorer")], &here).exits(0);
    assert_eq!(first.wait().unwrap().code(), Some(1), "it was rolled back");
    assert!(envoy.envoy().merged()["canary.scorer.weight"].starts_with('0'));
    run(&mut run_rollout(&file, &journal)).exits(0);
    assert!(envoy.envoy().merged()["canary.scorer.weight"].starts_with("100"));
}

#[test]
fn no_controller() {
    let gone = crate::nobody();
    let refused = run(&mut command(&["promote", "scorer", "--controller", &gone])).exits(4);
    let [start] = hinted(&refused).try_into().unwrap();
    let envoy = Fake::start().with(|envoy| envoy.traffic = Some(Traffic::new(400.0, 0)));
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = (folder.path().join("rollout.yaml"), folder.path().join("state"));
    std::fs::write(&file, rollout(&envoy, 1)).unwrap();
    let mut start = start;
    start.extend(["--listen", "127.0.0.1:0", "--tick", "100ms"].map(str::to_owned));
    let replaced = [("FILE", file.to_str().unwrap())];
    typed(&start, &replaced, &[("XDG_STATE_HOME", state.to_str().unwrap())]).exits(0);
}

#[test]
fn a_broken_journal() {
    let envoy = Fake::start().with(|envoy| envoy.traffic = Some(Traffic::new(400.0, 0)));
    let folder = tempfile::tempdir().unwrap();
    let (file, journal) = (folder.path().join("rollout.yaml"), folder.path().join("a.jsonl"));
    std::fs::write(&file, rollout(&envoy, 1)).unwrap();
    std::fs::write(&journal, "no record\n{}\n").unwrap();
    let refused = run(&mut run_rollout(&file, &journal)).exits(4);
    let [again] = hinted(&refused).try_into().unwrap();
    let mut again = again;
    again.extend(["--listen", "127.0.0.1:0", "--tick", "100ms"].map(str::to_owned));
    let other = folder.path().join("b.jsonl");
    let replaced = [("FILE", file.to_str().unwrap()), ("OTHER", other.to_str().unwrap())];
    typed(&again, &replaced, &[]).exits(0);
}
