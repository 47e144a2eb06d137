//! The times and values of one version since the rollout's start. Pure.

use std::collections::BTreeMap;

use canary_judge::counts::Pair;
use canary_judge::observation::Observation;
use canary_judge::timing::Timing;
use canary_model::histogram::Histogram;
use canary_model::role::Role;

/// What was recorded of one version's requests. Times are in microseconds; what isn't measured is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distributions {
    /// Request headers to end of response.
    pub time_us: Histogram,
    /// Request headers to the first byte of the answer.
    pub ttfb_us: Histogram,
    /// Mean time between an answer's chunks.
    pub gap_us: Histogram,
    /// The values of each signal that is recorded as numbers.
    pub values: BTreeMap<String, Histogram>,
}

impl Distributions {
    /// What a line says of a role.
    pub fn from_line(line: &Observation, role: Role) -> Self {
        let counts = line.roles.get(role);
        let time = |timing| counts.durations(timing, false).cloned().unwrap_or_default();
        let value = |(signal, values): (&String, &Pair<Option<Histogram>>)| {
            Some((signal.clone(), values.get(role).clone()?))
        };
        Self {
            time_us: time(Timing::Total),
            ttfb_us: time(Timing::Ttfb),
            gap_us: time(Timing::Gap),
            values: line.values.iter().filter_map(value).collect(),
        }
    }

    /// Adds what was recorded of more requests.
    pub fn merge(&mut self, more: &Self) {
        self.time_us.merge(&more.time_us);
        self.ttfb_us.merge(&more.ttfb_us);
        self.gap_us.merge(&more.gap_us);
        for (signal, values) in &more.values {
            self.values.entry(signal.clone()).or_default().merge(values);
        }
    }
}
