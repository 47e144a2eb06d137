//! Sentences about what the judge and the state machine found, made from their data. Pure.
//!
//! The crates in `core/` have no user-facing text. These sentences aren't part of
//! [`render`](crate::render), which makes whole pages and tables, because the controller needs them,
//! too: its API, journal and notifications have reasons in words.

mod blockers;
mod effect;
mod reasons;
mod registry;
mod verdict;

pub(crate) use blockers::waits_for;
pub(crate) use effect::effect;
pub(crate) use reasons::{mismatch, pause, refusal, termination};
pub(crate) use registry::{RegistryView, joined, registry, report_link};
pub(crate) use verdict::{no_answer, verdict};
