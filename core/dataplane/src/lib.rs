//! What a proxy does with a request: matching, assignment, outcome, guard, signals, and the control
//! record that all workers share. It knows nothing of Wasm or Envoy's ABI; the filter is a shell
//! around it.
//!
//! A request's path: [`arrival`], [`response`] (headers, body, end) → [`outcome`] → [`metrics`]. A
//! weight's path:
//! [`worker`] (tick, poll, answer) → [`control`]. The border to the proxy is [`host`], what is asked,
//! and [`effect`], what is to be done.

/// Whether this build can read bodies. Where it can't, no configuration that needs one is accepted, and
/// the compiler drops the code that would read it.
pub(crate) const READS_BODIES: bool = cfg!(feature = "bodies");

pub mod affinity_key;
pub mod arrival;
pub mod assign;
pub mod client_tracker;
pub mod clients;
pub mod cohort;
pub mod control;
pub mod cookie;
pub mod deadlines;
pub mod effect;
pub mod ending;
pub mod events;
pub mod guard;
pub mod guard_handle;
pub mod held;
pub mod host;
pub mod instruments;
pub mod json;
pub mod judged;
pub mod judged_counters;
pub mod matching;
pub mod messages;
pub mod metric_registry;
pub mod metrics;
pub mod open_request;
pub mod outcome;
pub mod overdue;
pub mod poll;
pub mod protocol;
pub mod request;
pub mod request_body;
pub mod responder;
pub mod response;
pub mod response_body;
pub mod rollout_state;
pub mod shared;
pub mod signal;
#[cfg(test)]
mod simulation;
pub mod sse;
pub mod timing;
pub mod versions;
pub mod vm;
pub mod worker;
