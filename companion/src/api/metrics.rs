//! `/metrics`: the controller's own figures in Prometheus' text format. Pure.

use std::fmt::Write;

use canary_rollout::state::Phase;

use crate::controller::status::Status;

const PHASES: [Phase; 7] = [
    Phase::Pending,
    Phase::Progressing,
    Phase::Paused,
    Phase::Promoting,
    Phase::Healthy,
    Phase::Aborting,
    Phase::Degraded,
];

/// One metric family: its name, type and help, and its samples with their labels.
struct Family<'a>(&'a str, &'a str, &'a str, Vec<(String, f64)>);

pub(super) fn text(status: &Status) -> String {
    let mut text = String::new();
    for Family(name, kind, help, samples) in families(status) {
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

fn families(status: &Status) -> Vec<Family<'_>> {
    let rollout = format!("rollout=\"{}\"", escaped(&status.rollout));
    let label = |name: &str, value: &str| format!("{rollout},{name}=\"{}\"", escaped(value));
    let one = |value: f64| vec![(rollout.clone(), value)];
    let phases = PHASES
        .map(|phase| (label("phase", phase.as_str()), f64::from(u8::from(phase == status.phase))));
    let weights = [
        ("set", status.weight.set),
        ("in_force", status.weight.in_force),
        ("measured", status.weight.measured),
    ];
    let weights =
        weights.iter().filter_map(|(kind, value)| Some((label("kind", kind), (*value)?))).collect();
    let of = |share: fn(&crate::controller::status::Metric) -> Option<f64>| {
        let sample = |metric| Some((label("metric", &metric_name(metric)), share(metric)?));
        status.metrics.iter().filter_map(sample).collect::<Vec<_>>()
    };
    let envoys = status.envoys.iter();
    let up = envoys.map(|envoy| (label("envoy", &envoy.url), f64::from(u8::from(envoy.ok))));
    vec![
        Family(
            "canaryctl_phase",
            "gauge",
            "1 for the phase that the rollout is in.",
            phases.into(),
        ),
        Family(
            "canaryctl_step",
            "gauge",
            "The step that the rollout is in, from 1; 0 outside of the steps.",
            one(status.step.unwrap_or(0) as f64),
        ),
        Family("canaryctl_steps", "gauge", "How many steps there are.", one(status.steps as f64)),
        Family("canaryctl_weight_percent", "gauge", "The canary's share of traffic.", weights),
        Family(
            "canaryctl_evidence_ratio",
            "gauge",
            "The evidence against the canary, as a part of what rolls it back.",
            of(|metric| Some(metric.evidence)),
        ),
        Family(
            "canaryctl_certificate_ratio",
            "gauge",
            "The certificate that the canary is good enough, as a part of what it must reach.",
            of(|metric| metric.certificate),
        ),
        Family(
            "canaryctl_split_mismatch",
            "gauge",
            "1 where the canary's measured share contradicts its weight.",
            one(f64::from(u8::from(status.split_mismatch))),
        ),
        Family(
            "canaryctl_decisions_total",
            "counter",
            "Decisions since the rollout's start.",
            one(status.decisions as f64),
        ),
        Family(
            "canaryctl_envoy_errors_total",
            "counter",
            "Requests to Envoys that failed since this process began.",
            one(status.envoy_errors as f64),
        ),
        Family(
            "canaryctl_envoy_up",
            "gauge",
            "1 where the Envoy answered last and took what was written last.",
            up.collect(),
        ),
    ]
}

fn metric_name(metric: &crate::controller::status::Metric) -> String {
    metric.name.clone()
}

/// A label's value, escaped as the format asks.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
