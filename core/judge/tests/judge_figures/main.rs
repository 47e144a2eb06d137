//! The judge held to its figures, by seeded simulation through its public interface.
//!
//! Each test runs a few hundred rollouts and compares medians, tails and error counts with what the
//! method is known to reach; bounds leave room for chance, but not for a mistake in a formula. The
//! long tables are the benchmark's business.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::disallowed_macros, reason = "what was measured is shown with --nocapture")]

mod clients;
mod drift;
mod failures;
mod latency;
mod non_inferiority;
mod rig;
mod split;
mod values;
mod windows;
