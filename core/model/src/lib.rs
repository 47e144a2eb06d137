//! What the filter and `canaryctl` both speak: roles, weights and versions, the plugin's configuration,
//! the keys and values of Envoy's runtime, the names of statistics, and Envoy's histogram bins.
//!
//! Like every crate below `core/`, it reads no clock, draws no random number, opens no file and talks to
//! no network; `clippy.toml` beside these crates enforces that.

pub mod config;
pub mod document;
pub mod duration;
pub mod histogram;
pub mod matching;
pub mod names;
pub mod pointer;
pub mod redact;
pub mod role;
pub mod runtime;
pub mod stat_name;
pub mod weight;
