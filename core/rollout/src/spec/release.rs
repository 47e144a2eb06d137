//! What a rollout file says about the release around the steps: versions, deploy hooks, the registry.

use std::time::Duration;

/// How many requests of each role the handover to the new stable judges, if the file doesn't say.
pub const HANDOVER_REQUESTS: u64 = 500;

/// How a version gets into its place, and how much the handover judges (`deploy:`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploy {
    /// What puts a version into a place; `None` if operators do that themselves.
    pub hook: Option<DeployHook>,
    /// How long the hook may take, 10 minutes by default.
    pub timeout: Duration,
    /// How many requests of each role the handover judges; [`HANDOVER_REQUESTS`] by default.
    pub min_requests: u64,
}

/// What is called to put a version into a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeployHook {
    /// A program and its arguments, run without a shell in the file's folder; never empty.
    Command(Vec<String>),
    /// A URL that gets a POST and answers 2xx when the version serves; it may hold secrets.
    Url(String),
}

/// An MLflow registry whose aliases start rollouts and receive their results (`registry: {mlflow: …}`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlflowRegistry {
    /// The tracking server's base URL.
    pub uri: String,
    /// The name of the registered model.
    pub model: String,
    /// The alias that starts a version's rollout when it is set, `challenger` by default.
    pub candidate: String,
    /// The alias of the version that serves, `champion` by default.
    pub champion: String,
    /// The time between two questions, 5 s by default.
    pub poll: Duration,
}
