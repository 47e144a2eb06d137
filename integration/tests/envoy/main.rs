//! The product against a real Envoy. One binary, so that it's linked once.

// It's all test code.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod abort;
mod affinity;
mod bootstrap;
mod canaryctl;
mod chain;
mod clients;
mod confirmed;
mod counters;
mod dead;
mod failure;
mod guard;
mod harness;
mod headers;
mod lease;
mod r#override;
mod poll;
mod rescue;
mod restart;
mod rollouts;
mod signals;
mod split;
mod stamp;
mod weight;
mod workers;
