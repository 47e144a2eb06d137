//! Results as JSON. What is not known is null.

use canary_core::runtime::Lease;
use canary_core::weight::Weight;
use serde_json::{Number, Value, json};

use super::EnvoyState;
use crate::view::{Side, View};

/// `get rollout`, and each element of `list`.
pub(crate) fn rollout(view: &View, envoys: &[EnvoyState]) -> Value {
    json!({
        "rollout": view.rollout,
        // Phases and what they wait for are the controller's.
        "phase": null,
        "weight": {
            "set": view.set.map(percent),
            "in_force": view.in_force.map(percent),
            "measured": view.measured.map(|share| number(rounded(share * 100.0, 4))),
        },
        "stable": side(&view.stable),
        "canary": side(&view.canary),
        "guard_tripped": view.guard_tripped,
        "lease_expired": view.lease_expired,
        "waits_for": null,
        "envoys": envoys_json(envoys),
    })
}

/// `set weight`.
pub(crate) fn set(
    name: &str,
    weight: Weight,
    lease: Option<&Lease>,
    envoys: &[EnvoyState],
) -> Value {
    json!({
        "rollout": name,
        "weight": percent(weight),
        "lease": lease.map(ToString::to_string),
        "envoys": envoys_json(envoys),
    })
}

/// `abort`.
pub(crate) fn aborted(name: &str, envoys: &[EnvoyState]) -> Value {
    json!({"rollout": name, "weight": 0, "enabled": false, "envoys": envoys_json(envoys)})
}

fn side(side: &Side) -> Value {
    let known = side.version.as_ref();
    let quantile =
        |share| side.counts.time_us.quantile(share).map(|us| number(rounded(us / 1_000.0, 3)));
    json!({
        "version": known,
        "requests": known.map(|_| side.counts.requests),
        "failures": known.map(|_| side.counts.failures),
        "p50_ms": quantile(0.5),
        "p95_ms": quantile(0.95),
        "p99_ms": quantile(0.99),
    })
}

fn envoys_json(envoys: &[EnvoyState]) -> Value {
    let one = |envoy: &EnvoyState| json!({"url": envoy.url, "ok": envoy.error.is_none(), "error": envoy.error});
    envoys.iter().map(one).collect()
}

fn percent(weight: Weight) -> Value {
    number(weight.percent())
}

/// A number without a fraction where it has none: `5`, not `5.0`.
fn number(value: f64) -> Value {
    // Counts and percentages are far below 2^53.
    if value.fract() == 0.0 && (0.0..9e15).contains(&value) {
        return Value::from(value as u64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}
