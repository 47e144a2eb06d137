//! Envoy's admin interface: where it is ([`EnvoyUrl`]), what it says ([`Admin`]), many of them
//! ([`Fleet`]).

mod client;
mod clusters;
mod config;
mod fleet;
mod stats;
mod url;

pub use client::{Admin, DEADLINE_FOR_CONNECT};
pub use config::{ConfigDump, ConfiguredRollout, Push, PushedRollouts};
pub use fleet::{EnvoyReply, Fleet};
pub use stats::{Stats, StatsError};
pub use url::{Address, EnvoyUrl};
