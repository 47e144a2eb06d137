//! The controller's page as people use it: the real `canaryctl` against fake Envoys, in Chromium.
//!
//! `./scripts/test --browser` runs these tests. They need `chromium` and `chromedriver`, and canaryctl under
//! `dist/`, or wherever `CANARYCTL` says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

mod access;
mod chromium;
mod connection;
mod content;
#[allow(dead_code, reason = "shared with canaryctl's own tests, which use all of it")]
#[path = "../../../../companion/tests/cli/fake.rs"]
mod fake;
mod rollouts;
mod screenshots;
mod stage;
mod steering;
