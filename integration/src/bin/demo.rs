//! The demo: traffic through a real Envoy, two versions of a service behind it, and the real canaryctl.
//! Without options the new version is as good as the old one: its weight goes 0 → 5 → 25 → 100 → 0 by
//! hand, and then a rollout file promotes it. With `--bad`, the rollout finds a version that fails 3 %
//! of its requests, and the guard stops one that fails all of them. `--keep` leaves everything running
//! at the end. `scripts/demo` builds and runs it.

// As in the harness: what can't continue says so and ends.
#![allow(clippy::expect_used, clippy::panic)]

use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use canary_integration::{Load, LoadTally, Rig, Running, RunningLoad, TestUpstream, artifacts};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

const WEIGHTS: [&str; 5] = ["0", "5", "25", "100", "0"];
const PER_SECOND: f64 = 500.0;
/// How long both versions take to answer.
const LATENCY_MS: u64 = 10;
/// How long the traffic is watched at each weight.
const WATCHED: Duration = Duration::from_secs(3);
/// The share of the requests that the subtly bad version fails.
const SUBTLE: f64 = 0.03;
/// After this long, everything that was decided before the weight changed has been answered.
const SETTLED: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |option: &str| arguments.iter().any(|argument| argument == option);
    if arguments.iter().any(|argument| !matches!(argument.as_str(), "--keep" | "--bad")) {
        eprintln!("usage: ./scripts/demo [--bad] [--keep]");
        return ExitCode::from(2);
    }
    let (bad, keep) = (given("--bad"), given("--keep"));
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a signal handler");
    tokio::select! {
        code = demo(bad, keep) => code,
        _ = interrupt.recv() => ExitCode::from(130),
        _ = terminate.recv() => ExitCode::from(143),
    }
}

async fn demo(bad: bool, keep: bool) -> ExitCode {
    let start = Instant::now();
    let version = || TestUpstream::ok().latency_ms(LATENCY_MS);
    let rig = Rig::new().stable(version()).canary(version()).on_shipped_addresses();
    // Everything is answered within milliseconds, so nothing is gained by judging it later.
    let rig = rig.rollout(|rollout| rollout["outcome_age"] = "1s".into()).start().await;
    introduce(&rig);
    let traffic = rig.load(Load::ENDLESS).concurrency(64).rate(PER_SECOND).spawn();
    let as_expected = if bad {
        subtle_regression(&rig, &traffic).await && dead_version(&rig, &traffic).await
    } else {
        by_hand(&rig, &traffic).await && promotion(&rig, &traffic).await
    };
    if !as_expected {
        eprintln!("\nThe demo didn't end as it should: the output above shows where.");
        return ExitCode::FAILURE;
    }
    println!("\nThe demo took {} seconds.", start.elapsed().as_secs());
    if keep {
        let admin = rig.admin().address();
        println!("Everything keeps running until Ctrl-C, with the traffic. Try:\n");
        println!("  dist/canaryctl --envoy {admin} set weight demo 50");
        println!("  dist/canaryctl --envoy {admin} get rollout demo -w");
        println!("  curl -i http://{}/", rig.address());
        std::future::pending::<()>().await;
    }
    ExitCode::SUCCESS
}

fn introduce(rig: &Running) {
    println!("\nA service in two versions, behind an Envoy with the canary filter:\n");
    println!("  Envoy        http://{}   admin {}", rig.address(), rig.admin().address());
    for (role, server) in [("stable", rig.stable()), ("canary", rig.canary())] {
        println!("  {role} {} http://{}", server.version(), server.at());
    }
    println!(
        "\nClients send {PER_SECOND} requests a second. Both versions answer after {LATENCY_MS} ms."
    );
}

/// Moves the weight by hand. Whether every command succeeded.
async fn by_hand(rig: &Running, traffic: &RunningLoad) -> bool {
    for weight in WEIGHTS {
        if !step(rig, traffic, weight).await {
            return false;
        }
    }
    true
}

/// A rollout of a version that is as good as stable. Whether it got all traffic.
async fn promotion(rig: &Running, traffic: &RunningLoad) -> bool {
    println!(
        "\nNow a rollout file moves the weight, and canaryctl compares both versions every second:"
    );
    let (promoted, tally) = rollout(rig, traffic).await;
    let failed = failures(&tally);
    println!(
        "\nConclusion: the new version is as good as stable, so it now has all traffic; of {} requests \
         meanwhile, {failed} failed.",
        tally.requests()
    );
    promoted && failed == 0
}

/// A rollout of a version that fails a few of its requests. Whether it was rolled back.
async fn subtle_regression(rig: &Running, traffic: &RunningLoad) -> bool {
    let percent = 100.0 * SUBTLE;
    println!("\nThe new version fails {percent} % of its requests; stable fails none.");
    rig.canary().change(|behavior| behavior.errors = SUBTLE);
    let (promoted, tally) = rollout(rig, traffic).await;
    println!(
        "\nConclusion: the new version fails {percent} % of its requests, and canaryctl found that while it \
         had {:.0} % of the traffic; {} of {} requests failed until everyone was back on stable.",
        share(&tally, rig.canary().version()),
        failures(&tally),
        tally.requests()
    );
    !promoted && failures(&tally) > 0
}

/// A version that dies at 5 %, with no controller. Whether the guard stopped it.
async fn dead_version(rig: &Running, traffic: &RunningLoad) -> bool {
    println!(
        "\nNow without a controller: a good version at 5 %, which suddenly fails all of its requests."
    );
    rig.canary().change(|behavior| behavior.errors = 0.0);
    if !step(rig, traffic, "5").await {
        return false;
    }
    let _before = traffic.take();
    let start = Instant::now();
    rig.canary().change(|behavior| behavior.errors = 1.0);
    let tripped = async || rig.stat("demo.guard_tripped").await;
    rig.eventually("the guard stops the canary", tripped, |tripped| *tripped == 1).await;
    let took = start.elapsed();
    tokio::time::sleep(WATCHED).await;
    let shown = canaryctl(rig, &["get", "rollout", "demo"]).await;
    let failed = failures(&traffic.take());
    println!(
        "\nConclusion: the guard inside Envoy sent everyone back to stable {:.1} seconds after the new version \
         died, without a controller; {failed} requests failed.",
        took.as_secs_f64()
    );
    shown && failed > 0
}

/// Runs the rollout file to its end. Whether the canary got all traffic, and what clients saw meanwhile.
async fn rollout(rig: &Running, traffic: &RunningLoad) -> (bool, LoadTally) {
    let file = artifacts::root().join("integration/demo/rollout.yaml");
    let folder = tempfile::tempdir().expect("a folder for the journal");
    let journal = folder.path().join("demo.jsonl");
    let (file, journal) = (file.to_string_lossy(), journal.to_string_lossy());
    let _before = traffic.take();
    let arguments = ["run", &file, "--journal", &journal, "--listen", "127.0.0.1:0"];
    let promoted = canaryctl(rig, &arguments).await;
    tokio::time::sleep(SETTLED).await;
    let tally = traffic.take();
    let shown = canaryctl(rig, &["get", "rollout", "demo"]).await;
    (promoted && shown, tally)
}

/// Sets a weight, watches the traffic, and shows both sides: what clients saw, and what canaryctl says.
async fn step(rig: &Running, traffic: &RunningLoad, weight: &str) -> bool {
    if !canaryctl(rig, &["set", "weight", "demo", weight]).await {
        return false;
    }
    tokio::time::sleep(SETTLED).await;
    let _before = traffic.take();
    tokio::time::sleep(WATCHED).await;
    let tally = traffic.take();
    let canary = rig.canary().version();
    println!(
        "\nAt {weight} %, {canary} answered {} of {} requests ({:.2} %); {} failed.",
        tally.of_version(canary),
        tally.requests(),
        share(&tally, canary),
        failures(&tally)
    );
    canaryctl(rig, &["get", "rollout", "demo"]).await
}

fn failures(tally: &LoadTally) -> u64 {
    tally.count(|outcome| outcome.status >= 500) + tally.broken.len() as u64
}

/// The percentage of the requests that this version answered.
#[allow(clippy::cast_precision_loss)]
fn share(tally: &LoadTally, version: &str) -> f64 {
    100.0 * tally.of_version(version) as f64 / tally.requests().max(1) as f64
}

/// Runs the built canaryctl as an operator would, with its output on the terminal.
async fn canaryctl(rig: &Running, arguments: &[&str]) -> bool {
    println!("\n$ canaryctl {}", arguments.join(" "));
    let mut command = Command::new(artifacts::canaryctl());
    command.args(arguments).env("CANARYCTL_ENVOYS", rig.admin().address().to_string());
    let status =
        command.stdin(Stdio::null()).kill_on_drop(true).status().await.expect("canaryctl runs");
    status.success()
}
