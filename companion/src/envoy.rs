//! Envoy's admin interface: where it is ([`Target`]), what it says ([`Admin`]), many of them
//! ([`Fleet`]).

mod client;
mod config;
mod fleet;
mod stats;
mod target;

pub use client::Admin;
pub use config::{ConfiguredRollout, configured_rollouts};
pub use fleet::{EnvoyReply, Fleet};
pub use stats::Stats;
pub use target::{Address, Target};
