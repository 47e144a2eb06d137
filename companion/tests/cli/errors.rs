//! What does not depend on the verb: finding Envoys, and Envoys that are none.

use std::time::Duration;

use axum::http::StatusCode;
use insta::assert_snapshot;

use super::{command, ctl, nobody, plain, run};
use crate::fake::Fake;

const VERBS: [&[&str]; 4] = [
    &["set", "weight", "scorer", "5"],
    &["get", "rollout", "scorer"],
    &["list"],
    &["abort", "scorer"],
];

#[test]
fn nobody_there() {
    for verb in VERBS {
        let gone = nobody();
        let mut command = command(verb);
        let run = run(command.args(["--envoy", &gone])).exits(4);
        let run = run.says(&format!("error: {gone}: can't connect: Connection refused"));
        assert!(run.says("hint: check that Envoy runs").stdout.is_empty());
    }
    let socket = ["list", "--envoy", "unix:///nowhere/admin.sock"];
    run(&mut command(&socket))
        .exits(4)
        .says("unix:///nowhere/admin.sock: can't connect: No such file");
    let name = ["list", "--envoy", "http://no-such-envoy.invalid:9901"];
    run(&mut command(&name)).exits(4).says("http://no-such-envoy.invalid:9901: can't connect");
}

#[test]
fn something_else_there() {
    let long = format!("{{\"entries\": {{}}, \"x\": \"{}\"", "x".repeat(100_000));
    for (status, body) in [
        (StatusCode::OK, "<html>hello</html>"),
        (StatusCode::OK, ""),
        (StatusCode::OK, "{}"),
        (StatusCode::OK, long.as_str()),
        (StatusCode::NOT_FOUND, "nothing here"),
        (StatusCode::FORBIDDEN, "RBAC: access denied"),
        (StatusCode::MOVED_PERMANENTLY, ""),
    ] {
        let fake = Fake::start().with(|envoy| envoy.garbage = Some((status, body.to_owned())));
        for verb in [VERBS[0], VERBS[1], VERBS[2]] {
            let run = ctl(&[&fake], verb)
                .exits(4)
                .says("hint: check that this is the address of Envoy's");
            assert!(run.stdout.is_empty(), "{run:?}");
        }
    }
    let fake = Fake::start()
        .with(|envoy| envoy.garbage = Some((StatusCode::FORBIDDEN, "RBAC".to_owned())));
    ctl(&[&fake], &["list"]).says("answered 403 Forbidden to /").says(": RBAC");
}

#[test]
fn no_answer_in_time() {
    let fake = Fake::start().with(|envoy| envoy.delay = Duration::from_secs(60));
    for verb in VERBS {
        let args = [verb, &["--request-timeout", "100ms"]].concat();
        ctl(&[&fake], &args).exits(3).says("no answer to /").says("within 0.1 s");
    }
}

#[test]
fn a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake::start_unix(&directory.path().join("admin.sock"));
    ctl(&[&fake], &["set", "weight", "scorer", "5"]).exits(0);
    assert_eq!(fake.envoy().runtime["canary.scorer.weight"], "5@3.2");
    let run = ctl(&[&fake], &["get", "rollout", "scorer", "-o", "json"]).exits(0);
    assert_eq!(run.json()["envoys"][0]["url"], fake.url);
}

#[test]
fn a_name_is_resolved() {
    let fake = Fake::start();
    let named = fake.url.replace("127.0.0.1", "localhost");
    run(command(&["list", "-o", "json"]).args(["--envoy", &named])).exits(0);
}

#[test]
fn envoys_from_the_environment() {
    let fakes = [Fake::start(), Fake::start()];
    for separator in [",", " ", ", ", "\n"] {
        let both = [fakes[0].url.as_str(), fakes[1].url.as_str()].join(separator);
        let run =
            run(command(&["get", "rollout", "scorer", "-o", "json"]).env("CANARYCTL_ENVOYS", both))
                .exits(0);
        assert_eq!(run.json()["envoys"].as_array().unwrap().len(), 2);
    }
    let mut flags_first = command(&["list", "--envoy", &fakes[0].url]);
    run(flags_first.env("CANARYCTL_ENVOYS", nobody())).exits(0);
}

#[test]
fn no_envoy_given_or_none_that_could_be_one() {
    assert_snapshot!("no_envoy", plain(&run(&mut command(&["list"])), &[]));
    run(command(&["list"]).env("CANARYCTL_ENVOYS", "localhost:9901"))
        .exits(2)
        .says("CANARYCTL_ENVOYS: localhost:9901: expected http://host:port or unix:///path");
    for url in ["https://a:1", "http://a:1/stats", "unix://relative", "9901"] {
        run(&mut command(&["list", "--envoy", url])).exits(2);
    }
}

#[test]
fn usage() {
    for args in
        [&[][..], &["get"], &["set"], &["set", "weight"], &["nothing"], &["list", "-o", "yaml"]]
    {
        let run = run(&mut command(args)).exits(2);
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{run:?}");
    }
    assert!(run(&mut command(&["--help"])).exits(0).stdout.contains("Exit codes"));
}

#[test]
fn version_and_completion() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&mut command(&["version"])).exits(0).stdout, format!("canaryctl {version}\n"));
    assert_eq!(run(&mut command(&["version", "-o", "json"])).exits(0).json()["version"], version);
    assert_eq!(run(&mut command(&["--version"])).exits(0).stdout, format!("canaryctl {version}\n"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&mut command(&["completion", shell])).exits(0).stdout;
        assert!(script.contains("CANARYCTL_COMPLETE"), "{shell}: {script}");
    }
    run(&mut command(&["completion", "cmd"])).exits(2);
}

/// A bash that has sourced the script, and a press of the tab key after `words`.
fn completed_by_bash(words: &[&str], state: &std::path::Path) -> Vec<String> {
    let canaryctl = std::path::Path::new(env!("CARGO_BIN_EXE_canaryctl"));
    let script = "source <(canaryctl completion bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  COMP_TYPE=9; _clap_complete_canaryctl canaryctl \"${COMP_WORDS[COMP_CWORD]}\"; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = std::process::Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).args(words).env_clear();
    bash.env("PATH", format!("{}:/usr/bin:/bin", canaryctl.parent().unwrap().display()));
    bash.env("XDG_STATE_HOME", state).env("CANARYCTL_CONTROLLER", nobody());
    let printed = bash.output().unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    text.lines().map(|word| word.trim().to_owned()).collect()
}

#[test]
fn bash_completes_commands_and_names_of_rollouts() {
    let state = tempfile::tempdir().unwrap();
    std::fs::create_dir(state.path().join("canaryctl")).unwrap();
    for name in ["scorer", "search", "ranker"] {
        std::fs::write(state.path().join(format!("canaryctl/{name}.jsonl")), "").unwrap();
    }
    let complete = |words: &[&str]| completed_by_bash(words, state.path());
    assert_eq!(complete(&["canaryctl", "abort", "s"]), ["scorer", "search"]);
    assert_eq!(complete(&["canaryctl", "get", "rollout", "r"]), ["ranker"]);
    for command in ["status", "promote", "pause", "resume", "retry", "history", "report"] {
        assert_eq!(complete(&["canaryctl", command, "sc"]), ["scorer"], "{command}");
    }
    assert_eq!(complete(&["canaryctl", "hist"]), ["history"]);
}

#[test]
fn no_colours_where_nobody_looks() {
    let fake = Fake::start();
    for (name, value) in [("CLICOLOR_FORCE", "1"), ("FORCE_COLOR", "1"), ("TERM", "xterm-256color")]
    {
        for args in [
            &["list"][..],
            &["get", "rollout", "scorer"],
            &["get", "rollout", "nope"],
            &["--help"],
            &["x"],
        ] {
            let mut command = command(args);
            let run = run(command.env(name, value).env("CANARYCTL_ENVOYS", &fake.url));
            assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{run:?}");
        }
    }
}
