//! Whole rollouts in a made-up world: Envoys, traffic and time are simulated, the controller is the
//! real one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod ages;
mod checks;
mod commands;
mod fingerprints;
mod intervals;
mod kills;
mod laws;
mod measure;
mod releases;
mod script;
mod scripts;
mod shell;
mod world;
