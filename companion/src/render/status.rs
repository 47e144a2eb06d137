//! A rollout as its controller shows it, for people: the table of `run` and `get`.

use super::output::Paint;
use super::table::{Table, UNKNOWN};
use crate::controller::status::{Metric, MetricStatus, Side, Status, Weights};
use canary_rollout::state::Phase;

/// How wide a bar of evidence is, in characters.
const BAR: usize = 20;

/// The whole table.
pub(crate) fn status_text(status: &Status, paint: Paint) -> String {
    let mut text = format!(
        "{}  {}{}\n",
        paint.bold(&status.rollout),
        phase(status.phase, paint),
        step(status)
    );
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<8} {value}\n"));
    line("weight", &weights(&status.weight));
    if let Some(reason) = &status.reason {
        line("reason", reason);
    }
    if let Some(waits) = &status.waits_for {
        line("next", waits);
    }
    if status.guard_tripped == Some(true) {
        line("guard", &paint.bad("tripped: everything goes to stable"));
    }
    if status.lease_expired == Some(true) {
        line("lease", &paint.bad("expired: everything goes to stable"));
    }
    if status.split_mismatch {
        line("split", &paint.bad("the canary does not get the share that its weight says"));
    }
    for envoy in &status.envoys {
        if let Some(error) = &envoy.error {
            line("envoy", &paint.bad(&format!("{}: {error}", envoy.url)));
        }
    }
    text.push('\n');
    text.push_str(&side_by_side(&status.stable, &status.canary));
    if !status.metrics.is_empty() {
        text.push('\n');
        text.push_str(&metrics(&status.metrics, paint));
    }
    text
}

/// What the controller adds to what the Envoys show.
pub(crate) fn progress(status: &Status, paint: Paint) -> String {
    let mut text = format!("\n  {}{}\n", phase(status.phase, paint), step(status));
    for line in [&status.reason, &status.waits_for].into_iter().flatten() {
        text.push_str(&format!("  {line}\n"));
    }
    text.push_str(&metrics(&status.metrics, paint));
    text
}

/// `list`, as the controller knows it.
pub(crate) fn controlled_text(all: &[Status], paint: Paint) -> String {
    let line = |status: &Status| {
        let (name, phase) = (paint.bold(&status.rollout), phase(status.phase, paint));
        format!("{name}  {phase}{}  {}\n", step(status), weights(&status.weight))
    };
    all.iter().map(line).collect()
}

/// One line: what was asked for is done, and how the rollout is now.
pub(crate) fn steered_text(verb: &str, status: &Status, paint: Paint) -> String {
    let waits = status.waits_for.as_ref().map_or(String::new(), |waits| format!("; {waits}"));
    let phase = phase(status.phase, paint);
    format!("{}: {verb}: {phase}{}{waits}\n", paint.bold(&status.rollout), step(status))
}

fn phase(phase: Phase, paint: Paint) -> String {
    match phase {
        Phase::Healthy => paint.good(phase.as_str()),
        Phase::Degraded | Phase::Aborting => paint.bad(phase.as_str()),
        Phase::Paused => paint.warning(phase.as_str()),
        Phase::Pending | Phase::Progressing | Phase::Promoting => paint.note(phase.as_str()),
    }
}

fn step(status: &Status) -> String {
    status.step.map_or(String::new(), |step| format!("  step {step} of {}", status.steps))
}

fn weights(weight: &Weights) -> String {
    let percent = |weight: Option<f64>| weight.map_or(UNKNOWN.to_owned(), |w| format!("{w} %"));
    let measured = weight.measured.map_or(UNKNOWN.to_owned(), |share| format!("{share:.2} %"));
    format!(
        "set {} · in force {} · measured {measured}",
        percent(weight.set),
        percent(weight.in_force)
    )
}

fn side_by_side(stable: &Side, canary: &Side) -> String {
    let version = |role: &str, side: &Side| {
        side.version.as_ref().map_or(role.to_owned(), |version| format!("{role} {version}"))
    };
    let mut table = Table::new(["", &version("stable", stable), &version("canary", canary)]);
    let mut row = |name: &str, of: &dyn Fn(&Side) -> String| {
        table.row([name.to_owned(), of(stable), of(canary)]);
    };
    let millis = |ms: Option<f64>| ms.map_or(UNKNOWN.to_owned(), |ms| format!("{ms:.2} ms"));
    row("requests", &|side| side.requests.to_string());
    row("failures", &|side| side.failures.to_string());
    row("failed", &|side| {
        let share = side.failures as f64 / side.requests as f64 * 100.0;
        if side.requests == 0 { UNKNOWN.to_owned() } else { format!("{share:.2} %") }
    });
    row("p50", &|side| millis(side.p50_ms));
    row("p95", &|side| millis(side.p95_ms));
    row("p99", &|side| millis(side.p99_ms));
    table.render(1)
}

fn metrics(metrics: &[Metric], paint: Paint) -> String {
    let width = metrics.iter().map(|metric| metric.name.len()).max().unwrap_or(0);
    let line = |metric: &Metric| {
        let verdict = match metric.verdict {
            MetricStatus::Fail => paint.bad("fail"),
            MetricStatus::Pass => paint.good("pass"),
            MetricStatus::Insufficient => "wait".to_owned(),
        };
        let (name, bar) = (&metric.name, bar(metric.evidence));
        // The sentence begins with the metric's name, which stands beside it already.
        let reason = metric.reason.strip_prefix(&format!("{name}: ")).unwrap_or(&metric.reason);
        format!(
            "  {name:<width$}  {verdict}  [{bar}] {:>3.0} %  {reason}\n",
            metric.evidence * 100.0
        )
    };
    metrics.iter().map(line).collect()
}

/// The evidence against the canary, as far as it has come to what rolls it back.
fn bar(evidence: f64) -> String {
    let full = (evidence.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{}{}", "#".repeat(full), "-".repeat(BAR - full))
}
