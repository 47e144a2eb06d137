//! The product against a real Envoy. One binary, so that it's linked once.

// It's all test code.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod abort;
mod affinity;
mod bootstrap;
mod broken;
mod canaryctl;
mod chain;
mod chaos;
mod clients;
mod code_details;
mod compose;
mod confirmed;
mod controller;
mod counters;
mod dead;
mod dying;
mod events;
mod failure;
mod grafana;
mod guard;
mod harness;
mod headers;
mod hostile;
mod istio;
mod judged;
mod kubernetes;
mod labels;
mod layers;
mod lease;
mod observed;
mod overdue;
mod r#override;
mod poll;
mod prometheus;
mod protocols;
mod push;
mod readme;
mod releases;
mod request_json;
mod rescue;
mod restart;
mod rollouts;
mod routes;
mod signals;
mod split;
mod stamp;
mod streams;
mod timeouts;
mod weight;
mod workers;
