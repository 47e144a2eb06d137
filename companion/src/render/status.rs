//! A rollout as its controller reports it: the tables of `run`, `get` and `list`.

use super::figures::{day, percent};
use super::output::Paint;
use super::screen::{Room, wrapped};
use super::table::{Table, UNKNOWN};
use super::{measures, messages};
use crate::controller::status::{
    MetricProgress, MetricStatus, PastEvent, Side, Status, StepPlace, StepStatus, Weights,
};
use crate::sentences;
use canary_judge::{EffectEstimate, EffectSince};
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;
use canary_rollout::state::Phase;

/// How wide a bar of evidence is, in characters.
const BAR: usize = 20;

/// The fewest metrics that a small terminal shows.
const FEWEST_METRICS: usize = 3;

/// The table, in the room that there is if possible: what happened last comes in full, effects in the step
/// are left out before those since the start, and metrics with little evidence are left out and counted.
pub(crate) fn status_text(status: &Status, paint: Paint, room: Room) -> String {
    let head = head(status, paint, room);
    let lines = room.lines.saturating_sub(head.lines().count());
    head + &verdicts(status, paint, lines)
}

/// Metrics, effects and what happened last, in so many lines if possible.
fn verdicts(status: &Status, paint: Paint, lines: usize) -> String {
    let (all, recent) = (status.metrics.len(), recent(status));
    let text = |shown, stretches: &[EffectSince]| {
        format!("{}{}{recent}", metrics(status, paint, shown), effects(status, stretches))
    };
    let stretches = [&[EffectSince::Start, EffectSince::Step][..], &[EffectSince::Start], &[]];
    let fits = |text: &String| text.lines().count() <= lines;
    let fitting = stretches.into_iter().map(|stretches| text(all, stretches)).find(fits);
    fitting.unwrap_or_else(|| {
        let excess = text(all, &[]).lines().count().saturating_sub(lines);
        // One line says how many are left out.
        text(all.saturating_sub(excess + 1).max(FEWEST_METRICS), &[])
    })
}

/// Everything but the verdicts.
fn head(status: &Status, paint: Paint, room: Room) -> String {
    let mut text = format!(
        "{}  {}{}\n",
        paint.bold(&status.rollout),
        phase(status.phase, paint),
        step(status)
    );
    let mut line = |name: &str, value: &str| text.push_str(&named(name, value, room));
    if !status.plan.is_empty() {
        line("steps", &steps(status));
    }
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
    }
    text
}

/// What the controller adds to what the Envoys show.
pub(crate) fn progress(status: &Status, paint: Paint, room: Room) -> String {
    let mut text = format!("\n  {}{}\n", phase(status.phase, paint), step(status));
    if !status.plan.is_empty() {
        text.push_str(&wrapped(&format!("  {}", steps(status)), 4, room));
    }
    for line in [&status.reason, &status.waits_for].into_iter().flatten() {
        text.push_str(&wrapped(&format!("  {line}"), 4, room));
    }
    let lines = room.lines.saturating_sub(text.lines().count());
    text + &verdicts(status, paint, lines)
}

/// An event in words, as it is shown beside a status, which has the reasons.
pub(crate) fn past_event(at: &str, event: &RolloutEvent, spec: &Spec) -> PastEvent {
    let text = messages::brief(event).unwrap_or_else(|| messages::event(event, spec));
    PastEvent { at: at.to_owned(), text }
}

/// A named line; what doesn't fit goes on below its beginning.
fn named(name: &str, value: &str, room: Room) -> String {
    wrapped(&format!("  {name:<8} {value}"), 11, room)
}

/// `✓ 5 %  ✓ 20 %  ▶ 50 %  · 100 %`: behind, now and ahead.
fn steps(status: &Status) -> String {
    let step = |step: &StepStatus| {
        let mark = match step.place {
            StepPlace::Done => "✓",
            StepPlace::Now => "▶",
            StepPlace::RolledBack => "✕",
            StepPlace::Ahead | StepPlace::NotReached => "·",
        };
        // A mark stays beside its weight where a line is wrapped.
        format!("{mark}\u{a0}{}", percent(step.weight).replace(' ', "\u{a0}"))
    };
    status.plan.iter().map(step).collect::<Vec<_>>().join("  ")
}

/// The lines of what happened last, below an empty one.
fn recent(status: &Status) -> String {
    let line = |event: &PastEvent| format!("  {}  {}\n", day(&event.at), event.text);
    let lines: String = status.recent.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
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
/// Of quantiles, those that people ask for first.
fn effects(status: &Status, stretches: &[EffectSince]) -> String {
    let mut text = String::new();
    let later = status.step.is_some_and(|step| step > 1);
    for &since in stretches {
        let title = match since {
            EffectSince::Start => "canary against stable",
            EffectSince::Step => "in this step",
        };
        let usual = |one: &EffectEstimate| {
            matches!(one.quantile.as_deref(), None | Some("p50" | "p95" | "p99"))
        };
        let known =
            |one: &&EffectEstimate| one.since == since && one.estimate.is_some() && usual(one);
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

    fn status() -> Status {
        Status {
            rollout: "r".to_owned(),
            phase: Phase::Progressing,
            step: Some(1),
            steps: 1,
            plan: Vec::new(),
            recent: Vec::new(),
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
        }
    }

    /// 14 metrics on a terminal of 20 rows: the worst are shown, and the others are counted.
    #[test]
    fn metrics_that_do_not_fit_are_counted() {
        let status = status();
        let paint = Paint::plain();
        let room = |lines| Room { lines, ..Room::UNLIMITED };
        let text = status_text(&status, paint, room(19));
        assert_eq!(text.lines().count(), 19, "{text}");
        assert!(text.contains("  m14  pass") && text.contains("  m08  pass"), "{text}");
        assert!(text.ends_with("more metrics with no more evidence than these\n"), "{text}");
        let hidden = text.lines().last().unwrap().split_whitespace().nth(1).unwrap();
        let shown = text.lines().filter(|line| line.contains("  pass  [")).count();
        assert_eq!(hidden.parse::<usize>().unwrap() + shown, 14, "{text}");
        let whole = status_text(&status, paint, Room::UNLIMITED);
        assert_eq!(status_text(&status, paint, room(99)), whole);
        assert!(status_text(&status, paint, room(1)).contains("… 11 more metrics"));
    }

    #[test]
    fn steps_what_it_waits_for_and_what_happened_are_there_in_80_columns() {
        let mut status = status();
        status.plan = [(5.0, StepPlace::Done), (20.0, StepPlace::Now), (100.0, StepPlace::Ahead)]
            .map(|(weight, place)| StepStatus { weight, place })
            .to_vec();
        let waits =
            "step 2 of 3 (20 %) waits for 312 of 500 canary requests (4 min more at this traffic)";
        status.waits_for = Some(waits.to_owned());
        let at = "2026-03-01T12:00:00.500Z".to_owned();
        status.recent = vec![PastEvent { at, text: "step 2 of 3: weight 20 %".to_owned() }];
        let room = Room { columns: 80, lines: 40 };
        let text = status_text(&status, Paint::plain(), room);
        assert!(text.contains("\n  steps    ✓ 5 %  ▶ 20 %  · 100 %\n"), "{text}");
        let below = "canary requests (4 min more\n           at this traffic)\n";
        assert!(text.contains(below), "{text}");
        assert!(text.ends_with("\n\n  2026-03-01 12:00:00  step 2 of 3: weight 20 %\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
