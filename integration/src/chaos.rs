//! A run under load in which everything fails that can: Envoy and the controller are killed, the way
//! between them is blocked, upstreams flap, the journal's disk is full, while configuration is pushed every
//! second and weights and labels change. Afterward nothing may be left that these faults don't explain.
//! `scripts/chaos` and a test of `integration/tests/envoy` run it.

mod clients;
mod command;
mod controller;
mod excuses;
mod gateway;
mod journals;
mod leftovers;
mod plan;
mod reconcile;
mod report;
mod stage;
mod timeline;
mod upstreams;
mod verdict;
mod watchers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use command::main;
pub use plan::ChaosPlan;
pub use report::{ChaosCheck, ChaosReport};

use self::clients::ChaosClients;
use self::controller::release_forever;
use self::stage::ChaosStage;
use self::verdict::ChaosEvidence;

/// Requests a second, half of them to each rollout, a quarter of them streams.
const RATE: f64 = 160.0;

/// Carries out a plan and checks what it left.
///
/// # Panics
/// When something doesn't come up, with what it was.
pub async fn run(plan: &ChaosPlan) -> ChaosReport {
    let start = Instant::now();
    let mut stage = ChaosStage::start(start).await;
    let started = Arc::new(AtomicU64::new(0));
    // The plan's time begins when everything runs.
    let begin = Instant::now();
    let clients = ChaosClients::start(stage.address(), start, RATE);
    let weights = watchers::set_weights(stage.admin(), plan.weights.clone(), begin);
    let weights = tokio::spawn(weights);
    let watching = tokio::spawn(stage.watcher.clone().watch());
    let (client, count) = (stage.controller.client(), Arc::clone(&started));
    let releasing = tokio::spawn(async move { release_forever(client, &count).await });
    for planned in &plan.faults {
        tokio::time::sleep_until((begin + planned.at).into()).await;
        stage.controller.revive();
        stage.do_fault(planned.fault).await;
    }
    tokio::time::sleep_until((begin + plan.length).into()).await;
    let weights = weights.await.expect("the weights are set");
    releasing.abort();
    // A second without faults, so that the last requests find everything well.
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.controller.revive();
    let requests = clients.finish().await;
    watching.abort();
    let mut evidence = ChaosEvidence::new(plan, requests, &stage, weights);
    evidence.at_rest(&stage).await;
    evidence.end(stage).await;
    evidence.report(started.load(Ordering::Relaxed))
}
