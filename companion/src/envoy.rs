//! Envoy's admin interface: where it is ([`EnvoyUrl`]), what it says ([`Admin`]), many of them
//! ([`Fleet`]).

mod client;
mod clusters;
mod config;
mod fleet;
mod stats;
mod url;

pub use client::Admin;
pub use config::{ConfigDump, ConfiguredRollout, Push, PushedRollouts};
pub use fleet::{EnvoyReply, Fleet, Located, locate};
pub use stats::Stats;
pub use url::{Address, EnvoyUrl};
