//! The identity of a rollout file: what decides, as canonical JSON, and its fingerprint.
//!
//! A journal says with which file its rollout was started, and a rollout goes on only with the same
//! file. Where the Envoys are, which hooks are notified and how long a lease is may change under a
//! running rollout, so they aren't part of it; neither are the guard's quorum (an operator may have to lower
//! it in an incident) and secrets in URLs.
//!
//! The canonical form is versioned. Its names and values are spelled out here, independent of the names
//! in Rust, and a golden file pins each version (`tests/golden/fingerprint-2.json`). If the form has to change, add a
//! version; a journal with another version is compared by reading its file again.

use std::time::Duration;

use serde_json::{Value, json};
use xxhash_rust::xxh64::xxh64;

use super::spec::{Afterwards, Conditions, Gate, GatePosition, Goal, PauseSpec, Spec, StepSpec};
use canary_judge::counts::Pair;
use canary_judge::spec::{
    Analysis, FALSE_PAUSE, FALSE_SPLIT, MetricRule, MetricSpec, PrometheusSpec, QUANTILES,
    SplitMismatch,
};
use canary_model::redact::redacted;

/// The version of the canonical form. Version 1 was a hash of Rust's debug output.
pub const FINGERPRINT_VERSION: u32 = 2;

/// `<version>:<16 hex digits>`: the XXH64 (seed 0) of the canonical JSON, its keys sorted, without
/// spaces.
pub fn fingerprint(spec: &Spec) -> String {
    let mut text = String::new();
    write_sorted(&canonical(spec), &mut text);
    format!("{FINGERPRINT_VERSION}:{:016x}", xxh64(text.as_bytes(), 0))
}

/// What decides in a rollout file. Weights are in parts per million, times in milliseconds, shares are
/// fractions.
pub fn canonical(spec: &Spec) -> Value {
    let Spec { rollout, steps, analysis, gates, harm_budget, manual, .. } = spec;
    let mut canonical = json!({
        "rollout": rollout,
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
        "falseAbort": analysis.false_abort,
        "metrics": analysis.metrics.iter().map(metric).collect::<Vec<_>>(),
        "gates": gates.iter().map(gate).collect::<Vec<_>>(),
        "harmBudget": harm_budget,
        "manual": manual,
    });
    if let Value::Object(fields) = &mut canonical {
        fields.extend(budgets(analysis));
        fields.extend(release(spec));
        fields.extend(goal(spec));
    }
    canonical
}

/// The fields of the analysis that are younger than version 2's first files. As with `of`: a file that doesn't
/// say one keeps its fingerprint.
fn budgets(analysis: &Analysis) -> Vec<(String, Value)> {
    let mut fields = Vec::new();
    if analysis.false_split != FALSE_SPLIT {
        fields.push(("falseSplit".to_owned(), json!(analysis.false_split)));
    }
    if analysis.false_pause != FALSE_PAUSE {
        fields.push(("falsePause".to_owned(), json!(analysis.false_pause)));
    }
    if analysis.split_mismatch != SplitMismatch::default() {
        fields.push(("splitMismatch".to_owned(), json!(analysis.split_mismatch)));
    }
    fields
}

/// What of the release decides: which versions, and whether versions are deployed. How they are deployed and
/// how many requests the handover judges may have to change under a running rollout; the registry only
/// starts rollouts. A file without any of it keeps its fingerprint.
fn release(spec: &Spec) -> Vec<(String, Value)> {
    let mut fields = Vec::new();
    if spec.versions != Pair::default() {
        let Pair { stable, canary } = &spec.versions;
        fields.push(("versions".to_owned(), json!({"stable": stable, "canary": canary})));
    }
    if spec.deploy_hook().is_some() {
        fields.push(("deploy".to_owned(), json!(true)));
    }
    fields
}

/// What a measurement ends with; a file that promotes keeps its fingerprint.
fn goal(spec: &Spec) -> Option<(String, Value)> {
    let word = match spec.goal {
        Goal::Promote => return None,
        Goal::Measure(Afterwards::Stable) => "measure",
        Goal::Measure(Afterwards::Keep) => "measureAndKeep",
    };
    Some(("goal".to_owned(), json!(word)))
}

fn step(step: &StepSpec) -> Value {
    let pauses: Vec<Value> = step.pauses.iter().map(pause).collect();
    json!({"weight": step.weight.ppm(), "pauses": pauses})
}

fn pause(pause: &PauseSpec) -> Value {
    match pause {
        PauseSpec::Operator => json!("operator"),
        PauseSpec::Until(Conditions { duration, min_requests, until_confident, timeout }) => {
            json!({
                "duration": duration.map(millis),
                "minRequests": min_requests,
                "untilConfident": until_confident,
                "timeout": timeout.map(millis),
            })
        }
    }
}

fn gate(gate: &Gate) -> Value {
    let before = match gate.before {
        GatePosition::Step(index) => json!(index),
        GatePosition::Promotion => json!("promotion"),
    };
    json!({"before": before, "url": redacted(&gate.url), "timeout": millis(gate.timeout)})
}

fn metric(metric: &MetricSpec) -> Value {
    let rule = match &metric.rule {
        MetricRule::FailureRate { ratio, margin } => json!({"ratio": ratio, "margin": margin}),
        MetricRule::Latency { timing: of, tolerances } => {
            let named = QUANTILES.iter().zip(tolerances);
            let named = named.map(|((name, _), factor)| ((*name).to_owned(), json!(factor)));
            // The default was no field of version 2's first files.
            let of = (!of.is_total()).then(|| ("of".to_owned(), json!(of.as_str())));
            named.chain(of).collect()
        }
        MetricRule::Distribution { signal, tolerance } => {
            json!({"signal": signal, "tolerance": tolerance})
        }
        MetricRule::Values { signal, tolerance, worse } => {
            json!({"signal": signal, "tolerance": tolerance, "worse": worse.as_str()})
        }
        MetricRule::Conversion { signal, margin } => json!({"signal": signal, "margin": margin}),
        MetricRule::Prometheus(query) => prometheus(query),
    };
    let mut canonical =
        json!({"name": metric.name, "kind": metric.rule.kind().as_str(), "rule": rule});
    if let (Value::Object(fields), false) = (&mut canonical, metric.on_failure.is_abort()) {
        fields.insert("onFailure".to_owned(), json!(metric.on_failure.as_str()));
    }
    canonical
}

fn prometheus(query: &PrometheusSpec) -> Value {
    json!({
        "address": redacted(&query.address),
        "query": query.query,
        "interval": millis(query.interval),
        "initialDelay": millis(query.initial_delay),
        "count": query.count,
        "failureLimit": query.failure_limit,
        "inconclusiveLimit": query.inconclusive_limit,
        "successCondition": query.success_condition.as_ref().map(|condition| condition.text()),
        "failureCondition": query.failure_condition.as_ref().map(|condition| condition.text()),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// JSON with sorted keys, whatever order the map keeps.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<(&String, &Value)> = map.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, value)) in fields.into_iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_sorted(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, value) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write_sorted(value, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}
