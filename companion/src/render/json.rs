//! Results as JSON, in the order in which a person reads them. What is not known is null.

use canary_model::runtime::Lease;
use canary_model::weight::Weight;
use serde::{Serialize, Serializer};

use super::messages;
use super::output::EnvoyState;
use crate::controller::status::{self as controller, Status};
use crate::observe::{FleetView, VersionView};
use crate::report::{Decision, Report};

/// `get rollout`, and each element of `list`.
#[derive(Serialize)]
pub(crate) struct RolloutJson<'v> {
    rollout: &'v str,
    // Phases and what they wait for are the controller's: null without one.
    phase: Option<&'v str>,
    weight: WeightJson,
    stable: SideJson<'v>,
    canary: SideJson<'v>,
    guard_tripped: Option<bool>,
    lease_expired: Option<bool>,
    waits_for: Option<&'v str>,
    envoys: Vec<EnvoyJson<'v>>,
}

#[derive(Serialize)]
struct WeightJson {
    set: Option<Decimal>,
    in_force: Option<Decimal>,
    measured: Option<Decimal>,
}

#[derive(Serialize)]
struct SideJson<'v> {
    version: Option<&'v str>,
    requests: Option<u64>,
    failures: Option<u64>,
    p50_ms: Option<Decimal>,
    p95_ms: Option<Decimal>,
    p99_ms: Option<Decimal>,
}

#[derive(Serialize)]
struct EnvoyJson<'v> {
    url: &'v str,
    ok: bool,
    error: Option<&'v str>,
}

/// `set weight`.
#[derive(Serialize)]
pub(crate) struct SetJson<'v> {
    rollout: &'v str,
    weight: Decimal,
    lease: Option<String>,
    envoys: Vec<EnvoyJson<'v>>,
}

/// `abort`.
#[derive(Serialize)]
pub(crate) struct AbortedJson<'v> {
    rollout: &'v str,
    weight: Decimal,
    enabled: bool,
    envoys: Vec<EnvoyJson<'v>>,
}

/// `report`.
#[derive(Serialize)]
pub(crate) struct ReportJson<'r> {
    #[serde(flatten)]
    report: &'r Report,
    decisions: Vec<DecisionJson<'r>>,
}

#[derive(Serialize)]
struct DecisionJson<'r> {
    at: &'r str,
    t: f64,
    what: String,
    event: serde_json::Value,
    verdicts: &'r [String],
}

pub(crate) fn report_json(report: &Report) -> ReportJson<'_> {
    let decision = |decision: &'_ Decision| {
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
    ReportJson { report, decisions: decisions.collect() }
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
        weight: WeightJson {
            set: view.set.map(percent),
            in_force: view.in_force.map(percent),
            measured: view.measured.map(measured),
        },
        stable: side(&view.stable),
        canary: side(&view.canary),
        guard_tripped: view.guard_tripped,
        lease_expired: view.lease_expired,
        waits_for: controlled.and_then(|status| status.waits_for.as_deref()),
        envoys: each(envoys),
    }
}

/// A rollout as its controller shows it.
pub(crate) fn controlled(status: &Status) -> RolloutJson<'_> {
    RolloutJson {
        rollout: &status.rollout,
        phase: Some(status.phase.as_str()),
        weight: WeightJson {
            set: status.weight.set.map(Decimal),
            in_force: status.weight.in_force.map(Decimal),
            measured: status.weight.measured.map(Decimal),
        },
        stable: controlled_side(&status.stable),
        canary: controlled_side(&status.canary),
        guard_tripped: status.guard_tripped,
        lease_expired: status.lease_expired,
        waits_for: status.waits_for.as_deref(),
        envoys: controlled_envoys(status),
    }
}

fn controlled_side(side: &controller::Side) -> SideJson<'_> {
    SideJson {
        version: side.version.as_deref(),
        requests: Some(side.requests),
        failures: Some(side.failures),
        p50_ms: side.p50_ms.map(Decimal),
        p95_ms: side.p95_ms.map(Decimal),
        p99_ms: side.p99_ms.map(Decimal),
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

pub(crate) fn aborted<'v>(rollout: &'v str, envoys: &'v [EnvoyState]) -> AbortedJson<'v> {
    AbortedJson { rollout, weight: percent(Weight::ZERO), enabled: false, envoys: each(envoys) }
}

fn side(side: &VersionView) -> SideJson<'_> {
    let known = side.version.as_deref();
    let millis = |us: f64| Decimal::rounded(us / 1_000.0, 3);
    let quantile = |share| side.counts.time_us.quantile(share).map(millis);
    SideJson {
        version: known,
        requests: known.map(|_| side.counts.requests),
        failures: known.map(|_| side.counts.failures),
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
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
