//! Results as JSON, in the order in which a person reads them. What is not known is null.

mod list;

use std::collections::BTreeMap;

use canary_judge::{EffectEstimate, EffectSince, EffectUnit};
use canary_model::runtime::Lease;
use canary_model::weight::Weight;
use serde::{Serialize, Serializer};

use super::messages;
use super::output::EnvoyState;
use crate::controller::status::{self as controller, Status};
use crate::observe::{FleetView, VersionView};
use crate::report::{DecisionRow, RolloutReport};

pub(crate) use list::list_line;

/// `get rollout`, and each element of `list`.
#[derive(Serialize)]
pub(crate) struct RolloutJson<'v> {
    rollout: &'v str,
    // Phases and what they wait for are the controller's: null without one.
    phase: Option<&'v str>,
    step: Option<StepJson>,
    weight: WeightJson,
    stable: SideJson<'v>,
    canary: SideJson<'v>,
    metrics: Option<Vec<MetricJson<'v>>>,
    effects: Option<Vec<EffectJson<'v>>>,
    guard_tripped: Option<bool>,
    lease_expired: Option<bool>,
    waits_for: Option<&'v str>,
    envoys: Vec<EnvoyJson<'v>>,
    /// What else there is to know, such as a file that is broken; the controller says it.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'v [String],
}

/// A rollout over the controller's interface: what `get rollout` prints, and everything that it is made
/// of, for other commands of canaryctl.
#[derive(Serialize)]
pub(crate) struct ServedJson<'v> {
    #[serde(flatten)]
    rollout: RolloutJson<'v>,
    reason: Option<&'v str>,
    detail: &'v Status,
}

#[derive(Serialize)]
struct WeightJson {
    set: Option<Decimal>,
    in_force: Option<Decimal>,
    measured: Option<Decimal>,
}

#[derive(Serialize)]
struct StepJson {
    /// The step, counted from 1.
    index: usize,
    #[serde(rename = "of")]
    steps: usize,
}

#[derive(Serialize)]
struct MetricJson<'v> {
    metric: &'v str,
    action: &'static str,
    status: &'static str,
    /// The evidence against the canary, as a fraction of `limit`.
    evidence: Decimal,
    limit: Decimal,
    reason: &'v str,
}

/// How far the canary differs from stable; a null bound isn't known yet.
#[derive(Serialize)]
pub(crate) struct EffectJson<'v> {
    metric: &'v str,
    quantile: Option<&'v str>,
    since: EffectSince,
    unit: EffectUnit,
    estimate: Option<Decimal>,
    lower: Option<Decimal>,
    upper: Option<Decimal>,
    level: f64,
    tolerated: Option<Decimal>,
}

pub(crate) fn effects(effects: &[EffectEstimate]) -> Vec<EffectJson<'_>> {
    let rounded = |value: Option<f64>| value.map(|value| Decimal::rounded(value, 6));
    let json = effects.iter().map(|effect| EffectJson {
        metric: &effect.metric,
        quantile: effect.quantile.as_deref(),
        since: effect.since,
        unit: effect.unit,
        estimate: rounded(effect.estimate),
        lower: rounded(effect.lower),
        upper: rounded(effect.upper),
        level: effect.level,
        tolerated: rounded(effect.tolerated),
    });
    json.collect()
}

#[derive(Serialize)]
struct SideJson<'v> {
    version: Option<&'v str>,
    requests: Option<u64>,
    failures: Option<u64>,
    unanswered: Option<u64>,
    p50_ms: Option<Decimal>,
    p95_ms: Option<Decimal>,
    p99_ms: Option<Decimal>,
    ttfb: Option<MillisJson>,
    gap: Option<MillisJson>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, ValueJson>,
}

/// Quantiles of a time in milliseconds.
#[derive(Default, Serialize)]
struct MillisJson {
    p50_ms: Option<Decimal>,
    p95_ms: Option<Decimal>,
    p99_ms: Option<Decimal>,
}

/// Quantiles of a signal's values, in the unit that the filter records.
#[derive(Serialize)]
struct ValueJson {
    p50: Option<Decimal>,
    p95: Option<Decimal>,
    p99: Option<Decimal>,
}

impl From<controller::Milliseconds> for MillisJson {
    fn from(times: controller::Milliseconds) -> Self {
        let controller::Milliseconds { p50_ms, p95_ms, p99_ms } = times;
        let [p50_ms, p95_ms, p99_ms] = [p50_ms, p95_ms, p99_ms].map(|ms| ms.map(Decimal));
        Self { p50_ms, p95_ms, p99_ms }
    }
}

fn values(values: &BTreeMap<String, controller::ValueQuantiles>) -> BTreeMap<String, ValueJson> {
    let json = |(signal, one): (&String, &controller::ValueQuantiles)| {
        let [p50, p95, p99] = [one.p50, one.p95, one.p99].map(|value| value.map(Decimal));
        (signal.clone(), ValueJson { p50, p95, p99 })
    };
    values.iter().map(json).collect()
}

#[derive(Serialize)]
struct EnvoyJson<'v> {
    url: &'v str,
    ok: bool,
    error: Option<&'v str>,
}

/// The JSON of `set weight`.
#[derive(Serialize)]
pub(crate) struct SetJson<'v> {
    rollout: &'v str,
    weight: Decimal,
    lease: Option<String>,
    envoys: Vec<EnvoyJson<'v>>,
}

/// The JSON of `abort`.
#[derive(Serialize)]
pub(crate) struct AbortedJson<'v> {
    rollout: &'v str,
    weight: Decimal,
    enabled: bool,
    /// The version that serves all traffic now; null if it is unknown.
    version: Option<&'v str>,
    envoys: Vec<EnvoyJson<'v>>,
}

/// The JSON of `report`.
#[derive(Serialize)]
pub(crate) struct ReportJson<'r> {
    #[serde(flatten)]
    report: &'r RolloutReport,
    decisions: Vec<DecisionJson<'r>>,
    effects: Vec<EffectJson<'r>>,
}

#[derive(Serialize)]
struct DecisionJson<'r> {
    at: &'r str,
    t: f64,
    what: String,
    event: serde_json::Value,
    verdicts: &'r [String],
}

pub(crate) fn report_json<'r>(
    report: &'r RolloutReport,
    found: &'r [EffectEstimate],
) -> ReportJson<'r> {
    let decision = |decision: &'_ DecisionRow| {
        let event = serde_json::to_value(&decision.event).unwrap_or_default();
        event.get("event").cloned().unwrap_or_default()
    };
    let decisions = report.decisions.iter().map(|one| DecisionJson {
        at: &one.at,
        t: one.t,
        what: messages::event(&one.event, report.spec()),
        event: decision(one),
        verdicts: &one.verdicts,
    });
    ReportJson { report, decisions: decisions.collect(), effects: effects(found) }
}

/// A rollout as the Envoys show it, with what its controller says of it, if one does.
pub(crate) fn rollout<'v>(
    view: &'v FleetView,
    envoys: &'v [EnvoyState],
    controlled: Option<&'v Status>,
) -> RolloutJson<'v> {
    let measured = |share: f64| Decimal::rounded(share * 100.0, 4);
    RolloutJson {
        rollout: &view.rollout,
        phase: controlled.map(|status| status.phase.as_str()),
        step: controlled.and_then(step),
        weight: WeightJson {
            set: view.set.map(percent),
            in_force: view.in_force.map(percent),
            measured: view.measured.map(measured),
        },
        stable: side(&view.stable),
        canary: side(&view.canary),
        metrics: controlled.map(metrics),
        effects: controlled.map(|status| effects(&status.effects)),
        guard_tripped: view.guard_tripped,
        lease_expired: view.lease_expired,
        waits_for: controlled.and_then(|status| status.waits_for.as_deref()),
        envoys: each(envoys),
        notes: controlled.map(|status| status.notes.as_slice()).unwrap_or_default(),
    }
}

/// A rollout as its controller shows it.
pub(crate) fn controlled(status: &Status) -> RolloutJson<'_> {
    RolloutJson {
        rollout: &status.rollout,
        phase: Some(status.phase.as_str()),
        step: step(status),
        weight: WeightJson {
            set: status.weight.set.map(Decimal),
            in_force: status.weight.in_force.map(Decimal),
            measured: status.weight.measured.map(Decimal),
        },
        stable: controlled_side(&status.stable),
        canary: controlled_side(&status.canary),
        metrics: Some(metrics(status)),
        effects: Some(effects(&status.effects)),
        guard_tripped: status.guard_tripped,
        lease_expired: status.lease_expired,
        waits_for: status.waits_for.as_deref(),
        envoys: controlled_envoys(status),
        notes: &status.notes,
    }
}

/// A rollout as the controller's interface gives it.
pub(crate) fn served(status: &Status) -> ServedJson<'_> {
    ServedJson { rollout: controlled(status), reason: status.reason.as_deref(), detail: status }
}

fn step(status: &Status) -> Option<StepJson> {
    status.step.map(|index| StepJson { index, steps: status.steps })
}

fn metrics(status: &Status) -> Vec<MetricJson<'_>> {
    let json = |metric: &'_ controller::MetricProgress| {
        (metric.verdict.as_str(), Decimal(metric.evidence))
    };
    let all = status.metrics.iter().map(|metric| {
        let (status, evidence) = json(metric);
        MetricJson {
            metric: &metric.name,
            action: metric.on_failure.as_str(),
            status,
            evidence,
            limit: Decimal(1.0),
            reason: &metric.reason,
        }
    });
    all.collect()
}

fn controlled_side(side: &controller::Side) -> SideJson<'_> {
    SideJson {
        version: side.version.as_deref(),
        requests: Some(side.requests),
        failures: Some(side.failures),
        p50_ms: side.p50_ms.map(Decimal),
        p95_ms: side.p95_ms.map(Decimal),
        p99_ms: side.p99_ms.map(Decimal),
        unanswered: side.unanswered,
        ttfb: side.ttfb.map(MillisJson::from),
        gap: side.gap.map(MillisJson::from),
        values: values(&side.values),
    }
}

fn controlled_envoys(status: &Status) -> Vec<EnvoyJson<'_>> {
    status.envoys.iter().map(envoy_json).collect()
}

fn envoy_json(envoy: &controller::EnvoyStatus) -> EnvoyJson<'_> {
    EnvoyJson { url: &envoy.url, ok: envoy.ok, error: envoy.error.as_deref() }
}

pub(crate) fn set<'v>(
    rollout: &'v str,
    weight: Weight,
    lease: Option<&Lease>,
    envoys: &'v [EnvoyState],
) -> SetJson<'v> {
    let lease = lease.map(ToString::to_string);
    SetJson { rollout, weight: percent(weight), lease, envoys: each(envoys) }
}

pub(crate) fn aborted<'v>(
    rollout: &'v str,
    (weight, enabled): (Weight, bool),
    version: Option<&'v str>,
    envoys: &'v [EnvoyState],
) -> AbortedJson<'v> {
    let (weight, envoys) = (percent(weight), each(envoys));
    AbortedJson { rollout, weight, enabled, version, envoys }
}

fn side(side: &VersionView) -> SideJson<'_> {
    let known = side.version.as_deref();
    let counts = &side.counts;
    let times = controller::Milliseconds::from_times;
    let all = times(&counts.time_us).map(MillisJson::from);
    let MillisJson { p50_ms, p95_ms, p99_ms } = all.unwrap_or_default();
    SideJson {
        version: known,
        requests: known.map(|_| counts.requests),
        failures: known.map(|_| counts.failures),
        unanswered: counts.unanswered.filter(|_| known.is_some()),
        p50_ms,
        p95_ms,
        p99_ms,
        ttfb: times(&counts.ttfb_us).map(MillisJson::from),
        gap: times(&counts.gap_us).map(MillisJson::from),
        values: values(&controller::ValueQuantiles::of_each(&counts.values)),
    }
}

fn each(envoys: &[EnvoyState]) -> Vec<EnvoyJson<'_>> {
    envoys
        .iter()
        .map(|envoy| EnvoyJson {
            url: &envoy.url,
            ok: envoy.error.is_none(),
            error: envoy.error.as_deref(),
        })
        .collect()
}

fn percent(weight: Weight) -> Decimal {
    Decimal(weight.percent())
}

/// A number that is written without a fraction where it has none: `5`, not `5.0`.
struct Decimal(f64);

impl Decimal {
    fn rounded(value: f64, decimals: i32) -> Self {
        let scale = 10f64.powi(decimals);
        Self((value * scale).round() / scale)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Shares, percentages and times are far below 2^53.
        if self.0.fract() == 0.0 && (0.0..9e15).contains(&self.0) {
            return serializer.serialize_u64(self.0 as u64);
        }
        serializer.serialize_f64(self.0)
    }
}
