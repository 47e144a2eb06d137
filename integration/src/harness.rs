//! What starts, asks and ends the parts of a test: Envoy, upstreams, clients, Prometheus, loads.

pub(crate) mod admin;
pub mod artifacts;
pub(crate) mod bootstrap;
pub(crate) mod checkout;
pub(crate) mod client;
pub(crate) mod config_map;
pub mod crds;
pub(crate) mod delivery;
pub(crate) mod envoy;
pub(crate) mod eventually;
pub(crate) mod held_port;
pub(crate) mod istio;
pub(crate) mod journal;
pub(crate) mod load;
pub(crate) mod plugin;
pub(crate) mod prometheus;
pub(crate) mod rig;
pub(crate) mod running;
pub(crate) mod sources;
pub(crate) mod stats;
pub(crate) mod trace;
pub(crate) mod upstream;
