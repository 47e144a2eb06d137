//! A rollout as the controller shows it: over its interface, on the screen, to Prometheus. Pure.

mod metric;
mod quantiles;
mod steps;

use std::collections::BTreeMap;

use canary_judge::EffectEstimate;
use canary_judge::counts::Pair;
use canary_model::role::Role;
use canary_model::weight::Weight;
use canary_rollout::inputs::{EnvoyInput, EnvoyReading};
use canary_rollout::spec::Spec;
use canary_rollout::state::{Phase, State};
use serde::{Deserialize, Serialize};

use super::distributions::Distributions;
use crate::observe::RequestTotals;
use crate::observe::totals::RequestCounts;
use crate::sentences;

pub use metric::{MetricProgress, MetricStatus};
pub(crate) use metric::{metric, shares};
pub use quantiles::{Milliseconds, ValueQuantiles};
pub use steps::{StepPlace, StepStatus, StepsReached, end_weight};

/// Everything that is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The rollout's name, as in its file.
    pub rollout: String,
    /// Whether the file says `goal: measure`: nothing is ever promoted.
    #[serde(default)]
    pub measures: bool,
    /// The phase that the state machine is in.
    pub phase: Phase,
    /// The step it is in, from 1; `None` before the first and behind the last.
    pub step: Option<usize>,
    /// How many steps the file has.
    pub steps: usize,
    /// Every step of the file, and the promotion behind them; empty if an older controller answers.
    #[serde(default)]
    pub plan: Vec<StepStatus>,
    /// What happened last, oldest first. Only the interface fills it in, from the journal.
    #[serde(default)]
    pub recent: Vec<PastEvent>,
    /// 1 at first, one more at each retry.
    pub attempt: u32,
    /// The weights, in percent.
    pub weight: Weights,
    /// The version that serves by default, since the rollout's start.
    pub stable: Side,
    /// The version under trial, since the rollout's start.
    pub canary: Side,
    /// Whether the guard has tripped on any Envoy.
    pub guard_tripped: Option<bool>,
    /// Whether the lease ran out on any Envoy.
    pub lease_expired: Option<bool>,
    /// What it waits for, in a sentence; `None` at its end.
    pub waits_for: Option<String>,
    /// Why it ended or is being rolled back.
    pub reason: Option<String>,
    /// Every metric as it stands.
    pub metrics: Vec<MetricProgress>,
    /// How far the canary differs from stable, with intervals.
    #[serde(default)]
    pub effects: Vec<EffectEstimate>,
    /// Whether the canary's share contradicts the weight.
    pub split_mismatch: bool,
    /// Every Envoy of the fleet, reachable or not.
    pub envoys: Vec<EnvoyStatus>,
    /// As whom the controller writes.
    pub owner: Option<String>,
    /// How long the rollout has run, in seconds, without what passed while nobody looked.
    pub seconds: f64,
    /// Decisions since the rollout's start: everything that happened in it.
    pub decisions: u64,
    /// Requests to Envoys that failed since this process began.
    pub envoy_errors: u64,
    /// What else operators should know: a journal that can't be written, a file that is broken or waits.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Whether no release has begun yet: nothing is under way and nothing is over.
    #[serde(default)]
    pub idle: bool,
    /// Whether the journal could be written last.
    #[serde(default = "yes")]
    pub journal_ok: bool,
}

const fn yes() -> bool {
    true
}

/// Something that happened in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastEvent {
    /// When it happened: RFC 3339, UTC.
    pub at: String,
    /// What happened, in a sentence.
    pub text: String,
}

/// The weights, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// The weight that was written to the Envoys last.
    pub set: Option<f64>,
    /// What the filters say; `None` where they differ.
    pub in_force: Option<f64>,
    /// The canary's share of requests since the weight last changed, at most over the last minute; `None`
    /// below 30 requests.
    pub measured: Option<f64>,
}

/// One version's side of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The version's label; `None` if it is unknown.
    pub version: Option<String>,
    /// Compared requests, `rq_total`, summed over the fleet.
    pub requests: u64,
    /// Compared requests that failed, `rq_failure`.
    pub failures: u64,
    /// The median time, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 95th percentile, in milliseconds.
    pub p95_ms: Option<f64>,
    /// The 99th percentile, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Requests without an answer at the age `outcome_age`, summed over the fleet.
    #[serde(default)]
    pub unanswered: Option<u64>,
    /// Times to the first byte of the answer, in milliseconds; `None` if there are none.
    #[serde(default)]
    pub ttfb: Option<Milliseconds>,
    /// Mean times between an answer's chunks, in milliseconds; `None` if there are none.
    #[serde(default)]
    pub gap: Option<Milliseconds>,
    /// The values of each signal that is recorded as numbers.
    #[serde(default)]
    pub values: BTreeMap<String, ValueQuantiles>,
}

/// One Envoy as the controller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvoyStatus {
    /// How results call it.
    pub url: String,
    /// Whether it answered last and took what was written last.
    pub ok: bool,
    /// What went wrong, without the Envoy's address.
    pub error: Option<String>,
}

/// What a status is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The rollout file that is being run.
    pub spec: &'a Spec,
    /// The state machine's state after the last step.
    pub state: &'a State,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// Both versions' labels, where they are known.
    pub versions: &'a Pair<Option<String>>,
    /// Times and values since the rollout's start.
    pub recorded: &'a Pair<Distributions>,
    /// Every Envoy as it is.
    pub envoys: &'a BTreeMap<String, EnvoyInput>,
    /// What went wrong in writing, by Envoy.
    pub failed: &'a BTreeMap<String, String>,
    /// How much was decided; see [`Status::decisions`].
    pub decisions: u64,
    /// Failed requests to Envoys; see [`Status::envoy_errors`].
    pub envoy_errors: u64,
    /// The canary's share since the weight changed, 0 to 1; see [`crate::observe::MeasuredShare`].
    pub measured: Option<f64>,
    /// Requests and failures as the Envoys count them.
    pub totals: &'a RequestTotals,
    /// What else operators should know; see [`Status::notes`].
    pub notes: Vec<String>,
    /// Why the journal can't be written; `None` if it can.
    pub unwritten: Option<&'a str>,
}

impl Status {
    /// Puts the parts together.
    pub fn new(parts: &Parts<'_>) -> Self {
        let Parts { spec, state, .. } = parts;
        let side = |role: Role| {
            let version = parts.versions.get(role);
            let counted = parts.totals.role(role, version.as_deref());
            // Until the first scrape, the journal's counts are the best there is.
            let judged = *state.totals().get(role);
            let counts = counted.unwrap_or(RequestCounts {
                requests: judged.trials,
                failures: judged.events,
                unanswered: None,
            });
            side(version.clone(), counts, parts.recorded.get(role))
        };
        let split = state.judge().split();
        let all = || parts.envoys.values().filter_map(shown);
        Self {
            rollout: spec.rollout.clone(),
            measures: parts.spec.goal.is_measure(),
            phase: state.phase(),
            step: state.step().map(|index| index + 1),
            steps: spec.steps.len(),
            plan: steps::planned(spec, state),
            recent: Vec::new(),
            attempt: state.attempt(),
            weight: Weights {
                set: set(parts),
                in_force: common(all().map(|shown| shown.in_force)).map(Weight::percent),
                measured: parts.measured.map(|share| rounded(share * 100.0, 4)),
            },
            stable: side(Role::Stable),
            canary: side(Role::Canary),
            guard_tripped: any(all().map(|shown| shown.guard_tripped)),
            lease_expired: any(all().map(|shown| shown.lease_expired)),
            waits_for: parts.waits_for.clone(),
            reason: state.ending().map(sentences::termination),
            metrics: state.judge().verdicts().iter().map(metric).collect(),
            effects: state.judge().effects(),
            split_mismatch: split.mismatch,
            envoys: envoys(parts),
            owner: state.target().and_then(|target| target.owner.clone()),
            seconds: rounded(state.clock().as_secs_f64(), 3),
            decisions: parts.decisions,
            envoy_errors: parts.envoy_errors,
            notes: notes(parts),
            idle: false,
            journal_ok: parts.unwritten.is_none(),
        }
    }

    /// Whether the rollout has ended.
    pub const fn has_ended(&self) -> bool {
        self.phase.is_end()
    }
}

fn notes(parts: &Parts<'_>) -> Vec<String> {
    let unwritten = parts
        .unwritten
        .map(|why| format!("the rollout holds, because its journal can't be written: {why}"));
    parts.notes.iter().cloned().chain(unwritten).collect()
}

/// What was written last; at the end, what stays.
fn set(parts: &Parts<'_>) -> Option<f64> {
    let target = parts.state.target().map(|target| target.weight);
    target.or_else(|| parts.state.final_weight()).map(Weight::percent)
}

pub(crate) fn side(
    version: Option<String>,
    counts: RequestCounts,
    recorded: &Distributions,
) -> Side {
    let times = Milliseconds::from_times(&recorded.time_us);
    Side {
        version,
        requests: counts.requests,
        failures: counts.failures,
        unanswered: counts.unanswered,
        p50_ms: times.and_then(|times| times.p50_ms),
        p95_ms: times.and_then(|times| times.p95_ms),
        p99_ms: times.and_then(|times| times.p99_ms),
        ttfb: Milliseconds::from_times(&recorded.ttfb_us),
        gap: Milliseconds::from_times(&recorded.gap_us),
        values: ValueQuantiles::of_each(&recorded.values),
    }
}

const fn shown(envoy: &EnvoyInput) -> Option<&EnvoyReading> {
    match envoy {
        EnvoyInput::Reached(shown) => Some(shown),
        EnvoyInput::Unreachable(_) => None,
    }
}

fn envoys(parts: &Parts<'_>) -> Vec<EnvoyStatus> {
    let status = |(url, envoy): (&String, &EnvoyInput)| {
        let unreachable = match envoy {
            EnvoyInput::Unreachable(why) => Some(why.clone()),
            EnvoyInput::Reached(_) => None,
        };
        let error = unreachable.or_else(|| parts.failed.get(url).cloned());
        // Messages begin with the address, which stands beside this one already.
        let bare = |text: String| {
            let rest = text.strip_prefix(url.as_str()).and_then(|rest| rest.strip_prefix(": "));
            rest.map(str::to_owned).unwrap_or(text)
        };
        EnvoyStatus { url: url.clone(), ok: error.is_none(), error: error.map(bare) }
    };
    parts.envoys.iter().map(status).collect()
}

/// What all say, if they say the same.
fn common<T: PartialEq>(mut said: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = said.next()??;
    said.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// True where any is, unknown where none is known.
fn any(flags: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    flags.flatten().reduce(|one, other| one || other)
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}
