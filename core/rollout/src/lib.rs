//! A rollout from its file to its end: what `canaryctl run` does, as pure functions.
//!
//! [`spec`] is the rollout file as checked types. [`state::State`] is everything that a rollout knows
//! while it runs; it is written as JSON and resumed. [`step()`] takes the state, what was
//! [`inputs`] since the last time, and the time, and gives the new state, the [`action`]s to take and
//! what happened; [`blockers`] says at any time what the rollout waits for. The shell around it looks,
//! asks, journals, acts, and does nothing else.
//!
//! The rollout is driven by what should be rather than by what was done last: the state holds a
//! [`state::WeightTarget`], and every Envoy that does not show it is written again. So a restart of
//! anything needs no special case, and nothing that is done twice does harm.

pub mod action;
mod advance;
pub mod after_end;
pub mod blockers;
pub mod event;
pub mod fingerprint;
pub mod inputs;
pub mod mismatch;
pub mod pause;
pub mod phase;
pub mod plan;
pub mod refusal;
pub mod registry;
pub mod replay;
mod role_text;
pub mod schema;
pub mod spec;
pub mod state;
pub mod step;
pub mod target;
pub mod termination;
pub mod versions;

pub use after_end::after_end;
pub use step::{HostClocks, StepResult, step};
