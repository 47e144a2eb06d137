use std::time::Instant;

use super::*;

fn request(folder: &Path) -> DeployRequest {
    DeployRequest {
        rollout: "scorer".to_owned(),
        role: Role::Stable,
        version: "3.2".to_owned(),
        attempt: 7,
        source: None,
        folder: folder.to_owned(),
    }
}

/// Runs a script as a deploy command, without a shell between.
fn run(script: &str, timeout: Duration) -> (DeployAnswer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("deploy.sh"), script).unwrap();
    let line = ["/bin/sh", "./deploy.sh", "a b"].map(str::to_owned).to_vec();
    let spec = Deploy { hook: Some(DeployHook::Command(line)), timeout, min_requests: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let http = crate::http::plain(crate::http::direct()).build().unwrap();
    let answer = runtime.block_on(deploy(&http, &spec, &request(folder.path())));
    (answer, folder)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_command_gets_the_release_in_its_environment_and_runs_in_the_files_folder() {
    let script =
        "echo \"$CANARY_ROLLOUT $CANARY_ROLE $CANARY_VERSION ${CANARY_SOURCE-none} $1\" > said";
    let (answer, folder) = run(script, LONG);
    assert_eq!(answer, DeployAnswer { attempt: 7, failed: None });
    let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
    assert_eq!(said, "scorer stable 3.2 none a b\n");
}

#[test]
fn the_last_lines_of_stderr_are_the_reason() {
    let (answer, _folder) =
        run("echo to stdout; for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3", LONG);
    let reason = "/bin/sh exited with 3: line 3; line 4; line 5; line 6; line 7";
    assert_eq!(answer.failed.unwrap(), reason);
    let (answer, _folder) = run("kill -9 $$", LONG);
    assert_eq!(answer.failed.unwrap(), "/bin/sh was ended by a signal: 9 (SIGKILL)");
}

#[test]
fn a_long_output_is_neither_kept_nor_blocks() {
    let script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789; \
                  echo abcdefghijklmnopqrstuvwxyz >&2; i=$((i+1)); done; echo the end >&2; exit 1";
    let (answer, _folder) = run(script, LONG);
    let reason = answer.failed.unwrap();
    assert!(reason.ends_with("the end") && reason.len() < 300, "{reason}");
}

#[test]
fn a_command_that_cannot_run_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let line = vec!["./missing.sh".to_owned()];
    let spec = Deploy { hook: Some(DeployHook::Command(line)), timeout: LONG, min_requests: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let http = crate::http::plain(crate::http::direct()).build().unwrap();
    let answer = runtime.block_on(deploy(&http, &spec, &request(folder.path())));
    let reason = answer.failed.unwrap();
    assert!(reason.starts_with("./missing.sh can't be run in "), "{reason}");
}

/// Whether a process still runs; a zombie doesn't.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[track_caller]
fn ends(pid: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    while runs(pid) {
        assert!(Instant::now() < end, "{pid} still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn at_the_timeout_the_whole_process_group_is_killed() {
    let script = "sleep 600 & echo $! > grandchild; echo waiting >&2; wait";
    let (answer, folder) = run(script, Duration::from_millis(700));
    let reason = answer.failed.unwrap();
    assert_eq!(reason, "/bin/sh was killed because it took longer than 700ms: waiting");
    ends(std::fs::read_to_string(folder.path().join("grandchild")).unwrap().trim());
}

#[test]
fn it_ends_when_its_own_process_exits_and_what_it_leaves_is_left_alone() {
    let begin = Instant::now();
    let (answer, folder) = run("(sleep 600 & echo $! > left); exit 0", LONG);
    assert_eq!(answer.failed, None);
    assert!(begin.elapsed() < Duration::from_secs(30), "it waited for a pipe");
    let left = std::fs::read_to_string(folder.path().join("left")).unwrap();
    let left = left.trim();
    assert!(runs(left));
    let pid = Pid::from_raw(left.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    ends(left);
}
