//! What was counted of one version over a stretch of time. Pure.

use canary_judge::counts::Trials;
use canary_judge::observation::Observation;
use canary_model::role::Role;
use serde::Serialize;

use crate::controller::distributions::Distributions;

/// What was counted of one version.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VersionSample {
    /// Requests, and those that failed.
    pub requests: Trials,
    /// Those without an answer at the age `outcome_age`.
    #[serde(skip)]
    pub unanswered: Option<u64>,
    /// The histograms of times and of signals with values.
    #[serde(skip)]
    pub recorded: Distributions,
}

impl VersionSample {
    /// Adds what was counted of more requests.
    pub(super) fn merge(&mut self, other: &Self) {
        self.requests.trials = self.requests.trials.saturating_add(other.requests.trials);
        self.requests.events = self.requests.events.saturating_add(other.requests.events);
        let both = self.unanswered.zip(other.unanswered);
        self.unanswered = both
            .map(|(one, more)| one.saturating_add(more))
            .or(self.unanswered)
            .or(other.unanswered);
        self.recorded.merge(&other.recorded);
    }

    /// What a line says of a role.
    pub(super) fn from_line(line: &Observation, role: Role) -> Self {
        let counts = line.roles.get(role);
        let requests =
            Trials { trials: counts.total.unwrap_or(0), events: counts.failure.unwrap_or(0) };
        let recorded = Distributions::from_line(line, role);
        Self { requests, unanswered: counts.unanswered, recorded }
    }

    /// The share of requests that failed, in percent.
    pub fn failing(&self) -> Option<f64> {
        let Trials { trials, events } = self.requests;
        (trials > 0).then(|| 100.0 * events as f64 / trials as f64)
    }
}
