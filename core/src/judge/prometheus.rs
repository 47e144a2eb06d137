//! Metrics that an external query measures (Prometheus), judged as Argo Rollouts' analysis does.

pub mod condition;
