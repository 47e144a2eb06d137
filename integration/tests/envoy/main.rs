//! The product against a real Envoy. One binary, so that it's linked once.

// It's all test code.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod abort;
mod bootstrap;
mod canaryctl;
mod controller;
mod counters;
mod dead;
mod harness;
mod headers;
mod lease;
mod poll;
mod restart;
mod split;
mod stamp;
mod weight;
mod workers;
