//! `canaryctl serve`: many rollouts in one process, each on its own.
//!
//! [`folders`] reads the rollout files and [`catalog`] says which rollout each file is for; [`supervisor`]
//! keeps one task per rollout, [`managed`]: idle, in a release, or after one. [`begin`] is what must be right
//! before a release begins, and [`journals`] keeps their records. [`crate::controller::releases`] is where
//! something outside starts releases and learns how they ended; [`source`] puts a rollout's registry there.

pub mod begin;
pub mod catalog;
pub mod folders;
pub mod journals;
pub mod managed;
pub mod source;
pub mod supervisor;
