//! The pure core of the canary release system for Envoy.
//!
//! Everything that decides lives here: who goes to the canary, what a weight is, what a lease does,
//! what the judge says. The filter (inside Envoy) and `canaryctl` (beside it) are shells around it.
//! Nothing here reads a clock, draws a random number, opens a file or talks to a network; what
//! it needs of those is an argument. `clippy.toml` beside the manifest holds it to that.

pub mod assign;
pub mod clients;
pub mod cohort;
pub mod config;
pub mod control;
pub mod cookie;
pub mod document;
pub mod duration;
pub mod exchange;
pub mod guard;
pub mod histogram;
pub mod judge;
pub mod matching;
pub mod names;
pub mod pointer;
pub mod poll;
pub mod role;
pub mod rollout;
pub mod runtime;
pub mod signal;
pub mod stat_name;
pub mod weight;
