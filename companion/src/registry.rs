//! A model registry as the source of releases: MLflow's.
//!
//! [`watcher`] is a task beside a served rollout: it asks the registry, lets `canary_rollout::registry` decide, starts
//! releases and writes their results back. [`client`] speaks MLflow's REST API with the [`credentials`]
//! that MLflow's own client would use; [`memory`] keeps what must survive a restart.

mod client;
mod credentials;
mod memory;
pub(crate) mod watcher;
