//! A rollout as its controller reports it: the tables of `run`, `get` and `list`.

use super::measures;
use super::output::Paint;
use super::table::{Table, UNKNOWN};
use crate::controller::status::{MetricProgress, MetricStatus, Side, Status, Weights};
use crate::sentences;
use canary_judge::{EffectEstimate, EffectSince};
use canary_rollout::state::Phase;

/// How wide a bar of evidence is, in characters.
const BAR: usize = 20;

/// The fewest metrics that a small terminal shows.
const FEWEST_METRICS: usize = 3;

/// The whole table, whatever its height.
pub(crate) fn status_text(status: &Status, paint: Paint) -> String {
    table_with(status, paint, status.metrics.len())
}

/// The table in so many lines, if possible: metrics with little evidence are left out and counted.
pub(crate) fn status_text_within(status: &Status, paint: Paint, lines: usize) -> String {
    let whole = status_text(status, paint);
    let excess = whole.lines().count().saturating_sub(lines);
    if excess == 0 {
        return whole;
    }
    // One line says how many are left out.
    let shown = status.metrics.len().saturating_sub(excess + 1).max(FEWEST_METRICS);
    table_with(status, paint, shown)
}

fn table_with(status: &Status, paint: Paint, shown: usize) -> String {
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
        line("guard", &paint.bad("tripped: all traffic goes to stable"));
    }
    if status.lease_expired == Some(true) {
        line("lease", &paint.bad("expired: all traffic goes to stable"));
    }
    if status.split_mismatch {
        line(
            "split",
            &paint.bad(
                "sample ratio mismatch: the canary's share of requests contradicts its weight",
            ),
        );
    }
    for note in &status.notes {
        line("note", &paint.bad(note));
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
        text.push_str(&metrics(status, paint, shown));
    }
    text.push_str(&effects(status));
    text
}

/// What the controller adds to what the Envoys show.
pub(crate) fn progress(status: &Status, paint: Paint) -> String {
    let mut text = format!("\n  {}{}\n", phase(status.phase, paint), step(status));
    for line in [&status.reason, &status.waits_for].into_iter().flatten() {
        text.push_str(&format!("  {line}\n"));
    }
    text.push_str(&metrics(status, paint, status.metrics.len()));
    text.push_str(&effects(status));
    text
}

/// `list`, as the controller knows it.
pub(crate) fn controlled_text(all: &[Status], paint: Paint) -> String {
    let line = |status: &Status| {
        let (name, phase) = (paint.bold(&status.rollout), phase(status.phase, paint));
        let missing = status.envoys.iter().filter(|envoy| !envoy.ok);
        let missing: Vec<&str> = missing.map(|envoy| envoy.url.as_str()).collect();
        let without = format!("  without {}", missing.join(", "));
        let without = if missing.is_empty() { String::new() } else { paint.bad(&without) };
        format!("{name}  {phase}{}  {}{without}\n", step(status), weights(&status.weight))
    };
    all.iter().map(line).collect()
}

/// One line: the command that was carried out, and the rollout's state after it.
pub(crate) fn steered_text(verb: &str, status: &Status, paint: Paint) -> String {
    let waits = status.waits_for.as_ref().map_or(String::new(), |waits| format!("; {waits}"));
    let phase = phase(status.phase, paint);
    format!("{}: {verb}: {phase}{}{waits}\n", paint.bold(&status.rollout), step(status))
}

fn phase(phase: Phase, paint: Paint) -> String {
    match phase {
        Phase::Healthy | Phase::Measured => paint.good(phase.as_str()),
        Phase::Degraded | Phase::Aborting => paint.bad(phase.as_str()),
        Phase::Paused => paint.warning(phase.as_str()),
        Phase::Pending
        | Phase::Deploying
        | Phase::Progressing
        | Phase::Promoting
        | Phase::Finalizing => paint.note(phase.as_str()),
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
    measures::rows(&stable.into(), &canary.into()).into_iter().for_each(|row| table.row(row));
    table.render(1)
}

/// The metrics, those with the strongest evidence first. A sentence that the rollout's reason says
/// already isn't said again.
fn metrics(status: &Status, paint: Paint, shown: usize) -> String {
    let metrics = &status.metrics;
    let mut sorted: Vec<&MetricProgress> = metrics.iter().collect();
    sorted.sort_by(|one, other| other.evidence.total_cmp(&one.evidence));
    let width = metrics.iter().map(|metric| metric.name.len()).max().unwrap_or(0);
    let line = |metric: &&MetricProgress| {
        let verdict = match metric.verdict {
            MetricStatus::Fail => paint.bad("fail"),
            MetricStatus::Pass => paint.good("pass"),
            MetricStatus::Insufficient => "wait".to_owned(),
            MetricStatus::Paused => paint.warning("hold"),
            MetricStatus::Warned => paint.warning("warn"),
        };
        let (name, bar) = (&metric.name, bar(metric.evidence));
        // The sentence begins with the metric's name, which the line has already.
        let reason = metric.reason.strip_prefix(&format!("{name}: ")).unwrap_or(&metric.reason);
        let said = status.reason.as_ref().is_some_and(|said| said.contains(reason));
        let reason = if said { "see the reason above" } else { reason };
        format!(
            "  {name:<width$}  {verdict}  [{bar}] {:>3.0} %  {reason}\n",
            metric.evidence * 100.0
        )
    };
    let mut text: String = sorted.iter().take(shown).map(line).collect();
    let hidden = sorted.len().saturating_sub(shown);
    if hidden > 0 {
        text += &format!("  … {hidden} more metrics with no more evidence than these\n");
    }
    text
}

/// How far the canary differs from stable, since the start and, behind the first step, in this step.
fn effects(status: &Status) -> String {
    let mut text = String::new();
    let later = status.step.is_some_and(|step| step > 1);
    let stretches =
        [(EffectSince::Start, "canary against stable"), (EffectSince::Step, "in this step")];
    for (since, title) in stretches {
        let known = |one: &&EffectEstimate| one.since == since && one.estimate.is_some();
        let lines: String = status
            .effects
            .iter()
            .filter(known)
            .map(|one| format!("    {}\n", sentences::effect(one)))
            .collect();
        if !lines.is_empty() && (since == EffectSince::Start || later) {
            text += &format!("\n  {title}\n{lines}");
        }
    }
    text
}

/// The evidence against the canary as a bar: full when it rolls the canary back.
fn bar(evidence: f64) -> String {
    let full = (evidence.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{}{}", "#".repeat(full), "-".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use canary_rollout::state::Phase;

    use super::*;

    fn metric(number: usize) -> MetricProgress {
        MetricProgress {
            name: format!("m{number:02}"),
            kind: "failureRate".to_owned(),
            on_failure: canary_judge::spec::OnFailure::Abort,
            verdict: MetricStatus::Pass,
            reason: format!("m{number:02}: fine"),
            evidence: number as f64 / 100.0,
            non_inferiority: None,
        }
    }

    /// 14 metrics on a terminal of 20 rows: the worst are shown, and the others are counted.
    #[test]
    fn metrics_that_do_not_fit_are_counted() {
        let status = Status {
            rollout: "r".to_owned(),
            phase: Phase::Progressing,
            step: Some(1),
            steps: 1,
            attempt: 1,
            weight: Weights::default(),
            stable: Side::default(),
            canary: Side::default(),
            guard_tripped: None,
            lease_expired: None,
            waits_for: None,
            reason: None,
            metrics: (1..=14).map(metric).collect(),
            effects: Vec::new(),
            split_mismatch: false,
            envoys: Vec::new(),
            owner: None,
            seconds: 0.0,
            decisions: 0,
            envoy_errors: 0,
            idle: false,
            notes: Vec::new(),
            journal_ok: true,
            measures: false,
        };
        let paint = Paint::plain();
        let text = status_text_within(&status, paint, 19);
        assert_eq!(text.lines().count(), 19, "{text}");
        assert!(text.contains("  m14  pass") && text.contains("  m08  pass"), "{text}");
        assert!(text.ends_with("more metrics with no more evidence than these\n"), "{text}");
        let hidden = text.lines().last().unwrap().split_whitespace().nth(1).unwrap();
        let shown = text.lines().filter(|line| line.contains("  pass  [")).count();
        assert_eq!(hidden.parse::<usize>().unwrap() + shown, 14, "{text}");
        assert_eq!(status_text_within(&status, paint, 99), status_text(&status, paint));
        assert!(status_text_within(&status, paint, 1).contains("… 11 more metrics"));
    }
}
