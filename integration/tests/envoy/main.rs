//! The product against a real Envoy. One binary, so that it's linked once.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // it's all test code

mod bootstrap;
mod dead;
mod harness;
