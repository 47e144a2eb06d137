//! `/metrics`: the controller's own figures in Prometheus' text format. Pure.

use std::fmt::Write;
use std::sync::Arc;

use canary_rollout::state::Phase;

use crate::controller::status::{MetricProgress, Status};

const PHASES: [Phase; 10] = [
    Phase::Pending,
    Phase::Deploying,
    Phase::Progressing,
    Phase::Paused,
    Phase::Promoting,
    Phase::Finalizing,
    Phase::Healthy,
    Phase::Measured,
    Phase::Aborting,
    Phase::Degraded,
];

const EFFECT_HELP: &str = "Canary minus stable in percentage points, or canary divided by stable at a \
                           quantile; the bounds hold with 95 % at all times together.";

/// One metric family: its name, type and help, and its samples with their labels.
struct Family<'a>(&'a str, &'a str, &'a str, Vec<(String, f64)>);

/// The figures of all rollouts, each family once.
pub(super) fn text(all: &[Arc<Status>]) -> String {
    let mut merged: Vec<Family<'_>> = Vec::new();
    for status in all {
        for (index, family) in families(status).into_iter().enumerate() {
            match merged.get_mut(index) {
                Some(one) => one.3.extend(family.3),
                None => merged.push(family),
            }
        }
    }
    let mut text = String::new();
    for Family(name, kind, help, samples) in merged {
        if samples.is_empty() {
            continue;
        }
        // Writing to a text cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    }
    text
}

/// The samples of one rollout's families, each with its labels.
struct MetricFamilySamples<'a> {
    status: &'a Status,
    rollout: String,
}

impl MetricFamilySamples<'_> {
    fn label(&self, name: &str, value: &str) -> String {
        format!("{},{name}=\"{}\"", self.rollout, escaped(value))
    }

    fn one(&self, value: f64) -> Vec<(String, f64)> {
        vec![(self.rollout.clone(), value)]
    }

    fn phases(&self) -> Vec<(String, f64)> {
        let sample = |phase: Phase| {
            let now = f64::from(u8::from(phase == self.status.phase));
            (self.label("phase", phase.as_str()), now)
        };
        PHASES.map(sample).into()
    }

    fn weights(&self) -> Vec<(String, f64)> {
        let weight = self.status.weight;
        let kinds =
            [("set", weight.set), ("in_force", weight.in_force), ("measured", weight.measured)];
        kinds
            .iter()
            .filter_map(|(kind, value)| Some((self.label("kind", kind), (*value)?)))
            .collect()
    }

    fn metrics(&self, share: fn(&MetricProgress) -> Option<f64>) -> Vec<(String, f64)> {
        let metrics = self.status.metrics.iter();
        let sample = |one| Some((self.label("metric", metric_name(one)), share(one)?));
        metrics.filter_map(sample).collect()
    }

    fn effects(&self) -> Vec<(String, f64)> {
        let mut samples = Vec::new();
        for effect in &self.status.effects {
            let quantile = effect.quantile.as_deref().unwrap_or_default();
            let bounds =
                [("estimate", effect.estimate), ("lower", effect.lower), ("upper", effect.upper)];
            for (bound, value) in bounds {
                let Some(value) = value else { continue };
                let labels = format!(
                    "{},quantile=\"{}\",since=\"{}\",bound=\"{bound}\"",
                    self.label("metric", &effect.metric),
                    escaped(quantile),
                    effect.since.as_str(),
                );
                samples.push((labels, value));
            }
        }
        samples
    }

    fn envoys(&self) -> Vec<(String, f64)> {
        let envoys = self.status.envoys.iter();
        envoys
            .map(|envoy| (self.label("envoy", &envoy.url), f64::from(u8::from(envoy.ok))))
            .collect()
    }
}

fn families(status: &Status) -> Vec<Family<'_>> {
    let rollout = format!("rollout=\"{}\"", escaped(&status.rollout));
    let samples = MetricFamilySamples { status, rollout };
    vec![
        Family(
            "canaryctl_phase",
            "gauge",
            "1 for the phase that the rollout is in.",
            samples.phases(),
        ),
        Family(
            "canaryctl_step",
            "gauge",
            "The step that the rollout is in, from 1; 0 outside of the steps.",
            samples.one(status.step.unwrap_or(0) as f64),
        ),
        Family(
            "canaryctl_steps",
            "gauge",
            "How many steps there are.",
            samples.one(status.steps as f64),
        ),
        Family(
            "canaryctl_weight_percent",
            "gauge",
            "The canary's share of traffic.",
            samples.weights(),
        ),
        Family(
            "canaryctl_evidence_ratio",
            "gauge",
            "The evidence against the canary, as a part of what rolls it back.",
            samples.metrics(|metric| Some(metric.evidence)),
        ),
        Family(
            "canaryctl_certificate_ratio",
            "gauge",
            "The certificate that the canary is good enough, as a part of what it must reach.",
            samples.metrics(|metric| metric.non_inferiority),
        ),
        Family("canaryctl_effect", "gauge", EFFECT_HELP, samples.effects()),
        Family(
            "canaryctl_split_mismatch",
            "gauge",
            "1 where the canary's measured share contradicts its weight.",
            samples.one(f64::from(u8::from(status.split_mismatch))),
        ),
        Family(
            "canaryctl_decisions_total",
            "counter",
            "Decisions since the rollout's start.",
            samples.one(status.decisions as f64),
        ),
        Family(
            "canaryctl_envoy_errors_total",
            "counter",
            "Requests to Envoys that failed since this process began.",
            samples.one(status.envoy_errors as f64),
        ),
        journal(&samples),
        notes(&samples),
        Family(
            "canaryctl_envoy_up",
            "gauge",
            "1 where the Envoy answered last and took what was written last.",
            samples.envoys(),
        ),
    ]
}

fn journal<'a>(samples: &MetricFamilySamples<'_>) -> Family<'a> {
    let help = "1 where the journal can be written; a rollout holds without it.";
    let ok = f64::from(u8::from(samples.status.journal_ok));
    Family("canaryctl_journal_ok", "gauge", help, samples.one(ok))
}

fn notes<'a>(samples: &MetricFamilySamples<'_>) -> Family<'a> {
    let help = "How many problems beside the rollout operators are shown, such as a broken file.";
    let count = samples.status.notes.len() as f64;
    Family("canaryctl_notes", "gauge", help, samples.one(count))
}

fn metric_name(metric: &MetricProgress) -> &str {
    &metric.name
}

/// A label's value, escaped as the format asks.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
