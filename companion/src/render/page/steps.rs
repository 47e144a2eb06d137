//! The steps of the file: behind, now and ahead.

use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::{Afterwards, Conditions, Goal, PauseSpec, StepSpec};
use canary_rollout::state::Phase;

use crate::render::figures::{percent, time};
use crate::report::RolloutReport;

/// One step, or what comes behind the last one.
pub(super) struct StepRow {
    /// `done`, `now` or `next`.
    pub(super) class: &'static str,
    /// The same in words.
    pub(super) state: &'static str,
    pub(super) weight: String,
    pub(super) condition: String,
}

/// How far a rollout has come.
#[derive(Clone, Copy)]
enum Reached {
    Before,
    Within(usize),
    Promoting,
    Promoted,
    RolledBack(usize),
}

fn place(report: &RolloutReport) -> Reached {
    match report.phase {
        Phase::Promoting => Reached::Promoting,
        Phase::Healthy | Phase::Measured | Phase::Finalizing => Reached::Promoted,
        Phase::Aborting | Phase::Degraded => Reached::RolledBack(report.step()),
        _ if !begun(report) => Reached::Before,
        _ => Reached::Within(report.step()),
    }
}

fn begun(report: &RolloutReport) -> bool {
    let step = |event: &RolloutEvent| matches!(event, RolloutEvent::Step { .. });
    report.earlier > 0 || report.decisions.iter().any(|decision| step(&decision.event))
}

/// Every step of the file, and the promotion or the end of the measurement.
pub(super) fn rows(report: &RolloutReport) -> Vec<StepRow> {
    let place = place(report);
    let steps = &report.spec().steps;
    let rows = steps.iter().enumerate().map(|(index, step)| {
        let (class, state) = state(place, index);
        let condition = conditions(step);
        StepRow { class, state, weight: percent(step.weight.percent()), condition }
    });
    let (class, state) = match place {
        Reached::Promoting => ("now", "▶ now"),
        _ => state(place, steps.len()),
    };
    let (weight, condition) = match report.spec().goal {
        Goal::Promote => ("100 %".to_owned(), "all traffic"),
        Goal::Measure(Afterwards::Stable) => ("0 %".to_owned(), "measured; nothing is promoted"),
        Goal::Measure(Afterwards::Keep) => {
            let last = steps.last().map_or(0.0, |step| step.weight.percent());
            (percent(last), "measured; the weight stays")
        }
    };
    rows.chain([StepRow { class, state, weight, condition: condition.to_owned() }]).collect()
}

fn state(place: Reached, index: usize) -> (&'static str, &'static str) {
    let (done, now, next) = (("done", "✓ done"), ("now", "▶ now"), ("next", "ahead"));
    match place {
        Reached::Promoted | Reached::Promoting => done,
        Reached::Within(step) if index == step => now,
        Reached::Within(step) if index < step => done,
        Reached::RolledBack(step) if index < step => done,
        Reached::RolledBack(step) if index == step => ("now", "✕ rolled back here"),
        Reached::RolledBack(_) => ("next", "not reached"),
        Reached::Before | Reached::Within(_) => next,
    }
}

/// What a step waits for, in a few words.
fn conditions(step: &StepSpec) -> String {
    let pauses: Vec<String> = step.pauses.iter().map(pause).collect();
    if pauses.is_empty() { "no pause".to_owned() } else { pauses.join(", then ") }
}

fn pause(pause: &PauseSpec) -> String {
    let PauseSpec::Until(until) = pause else { return "until promoted".to_owned() };
    let Conditions { duration, min_requests, until_confident, timeout } = until;
    let words = [
        duration.map(|duration| time(duration.as_secs_f64())),
        min_requests.map(|requests| format!("{requests} requests")),
        until_confident.then(|| "until confident".to_owned()),
        timeout.map(|timeout| format!("at most {}", time(timeout.as_secs_f64()))),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Times and weights of the steps ahead, by the file's durations and timeouts. A step that has neither is
/// drawn a tenth as long as the rollout so far.
pub(super) fn ahead(report: &RolloutReport) -> Vec<(f64, f64)> {
    let step = match place(report) {
        Reached::Within(step) => step,
        Reached::Before | Reached::Promoting | Reached::Promoted | Reached::RolledBack(_) => {
            return Vec::new();
        }
    };
    let nominal = (report.seconds / 10.0).max(10.0);
    let steps = &report.spec().steps;
    let planned = |index: usize| steps.get(index).and_then(planned).unwrap_or(nominal);
    let begin = |event: &RolloutEvent| matches!(event, RolloutEvent::Step { .. });
    let begun = report.decisions.iter().rev().find(|decision| begin(&decision.event));
    let end = begun.map_or(0.0, |decision| decision.t) + planned(step);
    let mut t = end.max(report.seconds + nominal / 4.0);
    let mut points = Vec::new();
    for (index, next) in steps.iter().enumerate().skip(step + 1) {
        points.push((t, next.weight.percent()));
        t += planned(index);
    }
    points.extend([(t, 100.0), (t + nominal, 100.0)]);
    points
}

/// How long a step should take, in seconds; `None` if the file doesn't say.
fn planned(step: &StepSpec) -> Option<f64> {
    let time = |until: &Conditions| until.duration.or(until.timeout);
    let times: Vec<f64> = step
        .pauses
        .iter()
        .filter_map(PauseSpec::until)
        .filter_map(time)
        .map(|time| time.as_secs_f64())
        .collect();
    (!times.is_empty()).then(|| times.iter().sum())
}
