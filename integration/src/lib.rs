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

mod admin;
pub mod artifacts;
pub mod bench;
mod bootstrap;
mod checkout;
mod client;
mod config_map;
pub mod crds;
mod delivery;
mod envoy;
mod eventually;
mod istio;
mod load;
mod plugin;
mod prometheus;
mod rig;
mod running;
mod sources;
mod stats;
mod trace;
mod upstream;

pub use admin::{AdminAddress, EnvoyAdmin};
pub use bootstrap::Bootstrap;
pub use client::{ClientRequest, ClientResponse, TestClient};
pub use config_map::ConfigMap;
pub use eventually::{eventually, wait_limit, within};
pub use istio::{Carrier, instead_of_a_missing_module};
pub use load::{Load, LoadTally, RequestOutcome, RunningLoad};
pub use plugin::FilterPlugin;
pub use prometheus::{PrometheusProcess, PrometheusSample};
pub use rig::{AdminOn, Rig, free_port};
pub use running::Running;
pub use stats::{FilterStats, ScrapedBin};
pub use trace::Callback;
pub use upstream::{Behavior, FAIL, Fault, RecordedRequest, Script, Server, TestUpstream};
