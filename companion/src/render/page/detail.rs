//! The view of one rollout: live, or as a report.

use askama::Template;
use canary_judge::counts::Pair;
use canary_rollout::state::Phase;

use super::assets::Inline;
use super::charts::history_part;
use super::commands::{CommandButton, commands, first_commands};
use super::effects::{self, EffectRow};
use super::metrics::{MetricRow, SignalShares, signals};
use super::steps::{self, StepRow};
use super::tone::Tone;
use super::{Shell, Steering};
use crate::controller::status::{EnvoyStatus, MetricProgress, Side, Status, Weights};
use crate::render::figures::{UNKNOWN, day, failing, millis, percent, time};
use crate::render::measures::{self, Measures};
use crate::render::messages;
use crate::report::{DecisionRow, RolloutReport};

/// How many events the live page shows; a report shows all.
const SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "detail.html")]
pub(super) struct DetailPage {
    shell: Shell,
    phase: String,
    severity: Tone,
    versions: Pair<String>,
    weight: String,
    times: String,
    reason: Option<String>,
    waits_for: Option<String>,
    problems: Vec<String>,
    /// Whether commands can be given at all.
    steerable: bool,
    commands: Vec<CommandButton>,
    steps: Vec<StepRow>,
    sides: Vec<[String; 3]>,
    effects: Vec<EffectRow>,
    /// Whether some effects are of quantiles that are shown only on demand.
    more_quantiles: bool,
    metrics: Vec<MetricRow>,
    signals: Vec<SignalShares>,
    decisions: Vec<ShownDecision>,
    earlier: usize,
    envoys: Vec<EnvoyStatus>,
    file: String,
    footer: String,
    /// The charts' data of a report, as JSON that can stand inside a page.
    history: Option<String>,
}

/// A rollout of which no release has begun: what is known of it, and how to start one.
#[derive(Template)]
#[template(path = "unstarted.html")]
pub(super) struct UnstartedPage {
    shell: Shell,
    phase: String,
    versions: Pair<String>,
    waits_for: Option<String>,
    problems: Vec<String>,
    steerable: bool,
    commands: Vec<CommandButton>,
}

impl UnstartedPage {
    pub(super) fn new(status: &Status, steering: Steering) -> Self {
        let title = format!("{}: no release yet", status.rollout);
        Self {
            shell: Shell::live(title, Some(&status.rollout)),
            phase: status.phase.to_string(),
            versions: Pair { stable: version(&status.stable), canary: version(&status.canary) },
            waits_for: status.waits_for.clone(),
            problems: problems(status),
            steerable: steering != Steering::ReadOnly,
            commands: first_commands(steering),
        }
    }
}

struct ShownDecision {
    at: String,
    /// On the rollout's clock.
    after: String,
    text: String,
    /// The words of the operator who asked for it.
    reason: Option<String>,
    verdicts: Vec<String>,
}

impl DetailPage {
    /// The rollout as it is now: figures from the status, the way there from the report.
    pub(super) fn live(status: &Status, report: &RolloutReport, steering: Steering) -> Self {
        let title = format!("{}: {}", status.rollout, status.phase);
        let shell = Shell::live(title, Some(&status.rollout));
        let Status { stable, canary, .. } = status;
        let earlier = report.decisions.len().saturating_sub(SHOWN);
        // The newest event is what an operator looks for.
        let decisions = report.decisions.iter().rev().take(SHOWN);
        let effects = effects::rows(&status.effects);
        Self {
            weight: weights(&status.weight),
            reason: status.reason.clone(),
            waits_for: status.waits_for.clone(),
            problems: problems(status),
            steerable: steering != Steering::ReadOnly,
            commands: commands(status, steering),
            more_quantiles: effects.iter().any(|effect| !effect.usual),
            effects,
            decisions: decisions.map(|row| decision(row, report)).collect(),
            earlier: report.earlier + earlier,
            envoys: status.envoys.clone(),
            ..Self::new(shell, status.phase, [stable, canary], &status.metrics, report)
        }
    }

    /// The rollout as its journal tells it, in a file of its own.
    pub(super) fn written(report: &RolloutReport) -> Self {
        let shell = Shell {
            live: false,
            inline: Some(Inline::new()),
            ..Shell::live(format!("{}: {}", report.rollout, report.phase), Some(&report.rollout))
        };
        let json = serde_json::to_string(&history_part(report, "", 0)).unwrap_or_default();
        let Pair { stable, canary } = &report.versions;
        let effects = effects::rows(&report.effects());
        Self {
            more_quantiles: effects.iter().any(|effect| !effect.usual),
            effects,
            history: Some(json.replace('<', "\\u003c")),
            decisions: report.decisions.iter().map(|row| decision(row, report)).collect(),
            ..Self::new(shell, report.phase, [stable, canary], &report.metrics, report)
        }
    }

    fn new(
        shell: Shell,
        phase: Phase,
        sides: [&Side; 2],
        metrics: &[MetricProgress],
        report: &RolloutReport,
    ) -> Self {
        let [stable, canary] = sides;
        let last = report.history.points().last();
        let weight = last.map_or(UNKNOWN.to_owned(), |point| percent(point.weight));
        Self {
            shell,
            phase: phase.to_string(),
            severity: Tone::of_phase(phase),
            versions: Pair { stable: version(stable), canary: version(canary) },
            weight,
            times: times(report),
            reason: report.reason.clone(),
            waits_for: None,
            problems: Vec::new(),
            steerable: false,
            commands: Vec::new(),
            steps: steps::rows(report),
            sides: comparison(stable, canary),
            effects: Vec::new(),
            more_quantiles: false,
            metrics: metrics.iter().map(MetricRow::from).collect(),
            signals: signals(report),
            decisions: Vec::new(),
            earlier: report.earlier,
            envoys: Vec::new(),
            file: report.file.clone(),
            footer: format!("canaryctl {} · {}", report.canaryctl, report.owner),
            history: None,
        }
    }
}

/// A version's label, or a question mark where it isn't known.
pub(super) fn version(side: &Side) -> String {
    side.version.clone().unwrap_or_else(|| "?".to_owned())
}

fn times(report: &RolloutReport) -> String {
    let ended = report.ended.as_deref().map_or(String::new(), |at| format!(" · ended {}", day(at)));
    let started = day(&report.started);
    format!("Started {started}{ended} UTC · observed for {}", time(report.seconds))
}

/// `5 % set, 5 % in force, 4.9 % measured`: what is known of it.
fn weights(weight: &Weights) -> String {
    let all = [(weight.set, "set"), (weight.in_force, "in force"), (weight.measured, "measured")];
    let known =
        all.iter().filter_map(|(value, what)| Some(format!("{} {what}", percent((*value)?))));
    let known: Vec<String> = known.collect();
    if known.is_empty() { UNKNOWN.to_owned() } else { known.join(", ") }
}

/// What is wrong with the rollout as a whole, apart from its metrics.
pub(super) fn problems(status: &Status) -> Vec<String> {
    let lost: Vec<&str> =
        status.envoys.iter().filter(|envoy| !envoy.ok).map(|envoy| envoy.url.as_str()).collect();
    let problems = [
        (status.guard_tripped == Some(true)).then(|| {
            "The guard has tripped on an Envoy: it sends all its requests to stable.".to_owned()
        }),
        (status.lease_expired == Some(true)).then(|| {
            "The lease has expired on an Envoy: it sends all its requests to stable.".to_owned()
        }),
        status.split_mismatch.then(|| {
            "Sample ratio mismatch: the canary's share of requests isn't what the weight says."
                .to_owned()
        }),
        (!lost.is_empty()).then(|| format!("Not as it should be: {}.", lost.join(", "))),
    ];
    problems.into_iter().flatten().chain(status.notes.iter().cloned()).collect()
}

/// Both versions side by side: what is measured, stable, canary.
fn comparison(stable: &Side, canary: &Side) -> Vec<[String; 3]> {
    let both = |name: &str, of: &dyn Fn(&Side) -> String| [name.to_owned(), of(stable), of(canary)];
    let mut rows = vec![
        both("requests", &|side| side.requests.to_string()),
        both("failed", &|side| side.failures.to_string()),
        both("failed, share", &|side| failing(side.requests, side.failures)),
        both("p50", &|side| millis(side.p50_ms)),
        both("p95", &|side| millis(side.p95_ms)),
        both("p99", &|side| millis(side.p99_ms)),
    ];
    rows.extend(measures::rows(&Measures::from(stable), &Measures::from(canary)));
    rows
}

fn decision(row: &DecisionRow, report: &RolloutReport) -> ShownDecision {
    ShownDecision {
        at: day(&row.at),
        after: time(row.t),
        text: messages::event(&row.event, report.spec()),
        reason: row.reason.clone(),
        verdicts: row.verdicts.clone(),
    }
}
