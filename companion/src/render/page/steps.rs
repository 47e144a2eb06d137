//! The steps of the file: behind, now and ahead.

use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::{Afterwards, Conditions, Goal, PauseSpec, StepSpec};

use crate::controller::status::{StepPlace, StepsReached, end_weight};
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

fn reached(report: &RolloutReport) -> StepsReached {
    if report.is_finalizing() {
        return StepsReached::Finalizing;
    }
    StepsReached::new(report.phase, report.step(), begun(report))
}

fn begun(report: &RolloutReport) -> bool {
    let step = |event: &RolloutEvent| matches!(event, RolloutEvent::Step { .. });
    report.earlier > 0 || report.decisions.iter().any(|decision| step(&decision.event))
}

/// Every step of the file, and the promotion or the end of the measurement.
pub(super) fn rows(report: &RolloutReport) -> Vec<StepRow> {
    let reached = reached(report);
    let steps = &report.spec().steps;
    let rows = steps.iter().enumerate().map(|(index, step)| {
        let (class, state) = step_state(reached.place(index));
        let condition = conditions(step);
        StepRow { class, state, weight: percent(step.weight.percent()), condition }
    });
    let (class, state) = step_state(reached.promotion(steps.len()));
    let condition = match report.spec().goal {
        Goal::Promote if reached == StepsReached::Finalizing => {
            "all traffic, then the handover to stable's place"
        }
        Goal::Promote => "all traffic",
        Goal::Measure(Afterwards::Stable) => "measured; nothing is promoted",
        Goal::Measure(Afterwards::Keep) => "measured; the weight stays",
    };
    let weight = percent(end_weight(report.spec()));
    rows.chain([StepRow { class, state, weight, condition: condition.to_owned() }]).collect()
}

const fn step_state(place: StepPlace) -> (&'static str, &'static str) {
    match place {
        StepPlace::Done => ("done", "✓ done"),
        StepPlace::Now => ("now", "▶ now"),
        StepPlace::Ahead => ("next", "ahead"),
        StepPlace::RolledBack => ("now", "✕ rolled back here"),
        StepPlace::NotReached => ("next", "not reached"),
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
    let StepsReached::Within(step) = reached(report) else { return Vec::new() };
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
