//! Runs the scenarios against the system that `integration/docker-compose.yml` describes, which must be
//! up: `scripts/integration` starts it, runs this and takes it down again. One line for each scenario;
//! the first that fails ends it.

// As in the harness: what can't go on says so and ends.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod scenarios;
mod system;

use std::time::Instant;

use system::System;

#[tokio::main]
async fn main() {
    let (system, start) = (System::from_environment(), Instant::now());
    system.is_up().await;
    run("split", scenarios::split(&system)).await;
    run("narrow door to the admin", scenarios::narrow_door(&system)).await;
    run("push of weights", scenarios::pushes(&system)).await;
    run("good rollout", scenarios::good(&system)).await;
    run("bad rollout", scenarios::bad(&system)).await;
    run("guard without controller", scenarios::guard(&system)).await;
    run("Envoy restart, weight by hand", scenarios::restart_by_hand(&system)).await;
    run("Envoy restart, controller", scenarios::restart_under_a_controller(&system)).await;
    run("network cut", scenarios::cut(&system)).await;
    println!("\nAll scenarios passed in {} seconds.", start.elapsed().as_secs());
}

/// Runs one and prints what it found.
async fn run(name: &str, scenario: impl Future<Output = String>) {
    let start = Instant::now();
    print!("{name:30}");
    std::io::Write::flush(&mut std::io::stdout()).expect("the terminal");
    let found = scenario.await;
    println!("ok  {:5.1} s  {found}", start.elapsed().as_secs_f64());
}
