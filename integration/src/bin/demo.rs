//! The job, shown: traffic through a real Envoy, two versions of a service behind it, and the real
//! canaryctl moving the weight 0 → 5 → 25 → 100 → 0, first by hand, then by a rollout file. `--bad`
//! gives the rollout a version that fails and shows the rollback alone. `--keep` leaves everything
//! running at the end. `scripts/demo` builds and runs it.

// As in the harness: what can't go on says so and ends.
#![allow(clippy::expect_used, clippy::panic)]

use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use canary_integration::{Load, Rig, Running, Tally, Traffic, Upstream, artefacts};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

const WEIGHTS: [&str; 5] = ["0", "5", "25", "100", "0"];
const PER_SECOND: f64 = 400.0;
/// How long the traffic is watched at each weight.
const WATCHED: Duration = Duration::from_secs(3);
/// The share of the bad version's answers that are errors.
const BAD: f64 = 0.1;
/// What was decided before the weight changed has been answered after this.
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
    let stable = Upstream::ok().latency_ms(10);
    let canary = Upstream::ok().latency_ms(14).errors(if bad { BAD } else { 0.01 });
    let rig = Rig::new().stable(stable).canary(canary).on_shipped_addresses().start().await;
    introduce(&rig, bad);
    let traffic = rig.load(Load::ENDLESS).concurrency(64).rate(PER_SECOND).spawn();
    for weight in WEIGHTS.into_iter().filter(|_| !bad) {
        if !step(&rig, &traffic, weight).await {
            return ExitCode::FAILURE;
        }
    }
    if !rollout(&rig, &traffic, bad).await {
        return ExitCode::FAILURE;
    }
    println!("\nThat took {} seconds.", start.elapsed().as_secs());
    if keep {
        let admin = rig.admin().address();
        println!("It all keeps running until Ctrl-C, with the traffic. Try:\n");
        println!("  dist/canaryctl --envoy {admin} set weight demo 50");
        println!("  dist/canaryctl --envoy {admin} get rollout demo -w");
        println!("  curl -i http://{}/", rig.address());
        std::future::pending::<()>().await;
    }
    ExitCode::SUCCESS
}

fn introduce(rig: &Running, bad: bool) {
    println!("\nA service in two versions, behind an Envoy with the canary filter:\n");
    println!("  Envoy        http://{}   admin {}", rig.address(), rig.admin().address());
    println!(
        "  stable {} http://{}   answers after 10 ms",
        rig.stable().version(),
        rig.stable().at()
    );
    println!(
        "  canary {} http://{}   answers after 14 ms, {} % of them 503",
        rig.canary().version(),
        rig.canary().at(),
        if bad { 100.0 * BAD } else { 1.0 }
    );
    println!("\nClients send {PER_SECOND} requests a second.");
}

/// Runs the rollout file to its end, and shows what clients saw meanwhile. A bad version must be
/// rolled back, and a good one get all traffic.
async fn rollout(rig: &Running, traffic: &Traffic, bad: bool) -> bool {
    let file = artefacts::root().join("integration/demo/rollout.yaml");
    let place = tempfile::tempdir().expect("a folder for the journal");
    let journal = place.path().join("demo.jsonl");
    let (file, journal) = (file.to_string_lossy(), journal.to_string_lossy());
    println!("\nNow the same by a rollout file, judged at every second:");
    let _before = traffic.take();
    let arguments = ["run", &file, "--journal", &journal, "--listen", "127.0.0.1:0"];
    let healthy = canaryctl(rig, &arguments).await;
    let tally = traffic.take();
    let failed = tally.count(|outcome| outcome.status >= 500);
    println!("\nClients saw {failed} failures in {} answers meanwhile.", tally.requests());
    canaryctl(rig, &["get", "rollout", "demo"]).await && healthy != bad
}

/// Sets a weight, watches the traffic, and shows both sides of it: what clients saw, and what
/// canaryctl says.
async fn step(rig: &Running, traffic: &Traffic, weight: &str) -> bool {
    if !canaryctl(rig, &["set", "weight", "demo", weight]).await {
        return false;
    }
    tokio::time::sleep(SETTLED).await;
    let _before = traffic.take();
    tokio::time::sleep(WATCHED).await;
    println!("\n{}", seen(&traffic.take(), rig.canary().version(), weight));
    canaryctl(rig, &["get", "rollout", "demo"]).await
}

#[allow(clippy::cast_precision_loss)]
fn seen(tally: &Tally, canary: &str, weight: &str) -> String {
    let (requests, by_canary) = (tally.requests(), tally.of_version(canary));
    let share = 100.0 * by_canary as f64 / requests.max(1) as f64;
    let failed = tally.count(|outcome| outcome.status >= 500) + tally.broken.len() as u64;
    let by_whom = format!("{by_canary} of {requests} answers by {canary}");
    format!("At {weight} %, clients saw: {by_whom}, that's {share:.2} %; {failed} failed.")
}

/// Runs the built canaryctl as a person would, with its output on the terminal.
async fn canaryctl(rig: &Running, arguments: &[&str]) -> bool {
    println!("\n$ canaryctl {}", arguments.join(" "));
    let mut command = Command::new(artefacts::canaryctl());
    command.args(arguments).env("CANARYCTL_ENVOYS", rig.admin().address().to_string());
    let status =
        command.stdin(Stdio::null()).kill_on_drop(true).status().await.expect("canaryctl runs");
    status.success()
}
