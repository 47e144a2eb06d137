//! Drives the canary release system as its users run it: a real Envoy with the shipped
//! configuration, real upstreams, real clients.
//!
//! ```no_run
//! # use canary_integration::{Rig, TestUpstream};
//! # async fn example() {
//! let rig = Rig::new().canary(TestUpstream::ok().errors(0.5).latency_ms(20)).weight(5.0).start().await;
//! let tally = rig.load(10_000).concurrency(16).await;
//! assert_eq!(tally.with_status(503), rig.canary().seen() / 2);
//! # }
//! ```
//!
//! `Rig` says what to start, `Running` is what runs: it ends, with every process, when it's
//! dropped.

// This crate is test code through and through: what can't go on says so by a panic, which fails the
// test (or the demo) that called it, with Envoy's log below.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

pub mod bench;
pub mod chaos;
mod harness;

pub use harness::admin::{AdminAddress, EnvoyAdmin};
pub use harness::bootstrap::Bootstrap;
pub use harness::client::{ClientRequest, ClientResponse, TestClient};
pub use harness::config_map::ConfigMap;
pub use harness::eventually::{eventually, wait_limit, within};
pub use harness::held_port::free_port;
pub use harness::istio::{Carrier, instead_of_a_missing_module};
pub use harness::journal::{journal_records, read_journal, whole_lines};
pub use harness::load::{Load, LoadTally, RequestOutcome, RunningLoad};
pub use harness::plugin::FilterPlugin;
pub use harness::prometheus::{PrometheusProcess, PrometheusSample};
pub use harness::rig::{AdminOn, Rig};
pub use harness::running::Running;
pub use harness::stats::{FilterStats, ScrapedBin};
pub use harness::trace::Callback;
pub use harness::upstream::{
    Behavior, FAIL, Fault, Latch, RawAnswer, RawScript, RecordedRequest, Script, Server,
    TestUpstream,
};
pub use harness::{artifacts, crds};
