//! What a proxy does with a request: matching, assignment, outcome, guard, signals, and the control
//! record that all workers share. It knows nothing of Wasm or Envoy; the filter is a shell around it.

pub mod assign;
pub mod clients;
pub mod cohort;
pub mod control;
pub mod cookie;
pub mod exchange;
pub mod guard;
pub mod matching;
pub mod poll;
pub mod signal;
