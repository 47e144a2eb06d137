//! The short version of `scripts/chaos`: one round of every fault under load, from a fixed seed.

use std::time::Duration;

use canary_integration::chaos::{ChaosPlan, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_of_every_fault_leaves_nothing_that_the_faults_do_not_explain() {
    let report = run(&ChaosPlan::draw(1, Duration::from_secs(20))).await;
    assert!(report.all_hold(), "{report}");
}
