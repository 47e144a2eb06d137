//! The page of one rollout: HTML without scripts and without anything from other hosts. Pure.

use std::fmt::Write;

use canary_judge::counts::Pair;
use canary_judge::{EffectEstimate, EffectSince};
use canary_model::role::Role;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;
use canary_rollout::state::Phase;

use super::chart::{Chart, ChartLine, time};
use super::markup::escaped;
use super::messages;
use crate::controller::status::{MetricProgress, MetricStatus, Side};
use crate::report::{DecisionRow, Point, RolloutReport, VersionSample};
use crate::sentences;

const STYLE: &str = include_str!("style.css");
/// The lines' classes in the chart of evidence; more metrics share the last.
const METRICS: [&str; 8] = ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7"];

/// The page. With `refresh`, a browser reloads it after so many seconds.
pub(crate) fn html(report: &RolloutReport, refresh: Option<u32>) -> String {
    let name = escaped(&report.rollout);
    let again = refresh.map_or_else(String::new, |seconds| {
        format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">")
    });
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">{again}\
         <title>{name}: {}</title>\n<style>\n{STYLE}</style></head>\n<body>\n",
        report.phase
    );
    page += &head(report);
    page += &versions(&report.versions);
    page += &metrics(&report.metrics);
    page += &effects(&report.effects());
    page += &charts(report);
    page += &decisions(&report.decisions, report.spec());
    let _ = write!(
        page,
        "<details><summary>The rollout file</summary><pre>{}</pre></details>\n\
         <footer>canaryctl {} · {}</footer>\n</body></html>\n",
        escaped(&report.file),
        escaped(&report.canaryctl),
        escaped(&report.owner),
    );
    page
}

fn head(report: &RolloutReport) -> String {
    let severity = match report.phase {
        Phase::Healthy | Phase::Measured => "good",
        Phase::Aborting | Phase::Degraded => "bad",
        Phase::Pending
        | Phase::Deploying
        | Phase::Progressing
        | Phase::Paused
        | Phase::Promoting
        | Phase::Finalizing => "wait",
    };
    let version = |side: &Side| escaped(side.version.as_deref().unwrap_or("?"));
    let ended =
        report.ended.as_deref().map_or_else(String::new, |at| format!(" · ended {}", day(at)));
    let reason = report.reason.as_deref().map_or_else(String::new, |reason| {
        format!("<p class=\"reason {severity}\"><span>{}</span></p>\n", escaped(reason))
    });
    format!(
        "<h1>{} <span class=\"badge {severity}\">{}</span></h1>\n\
         <p>canary <b>{}</b> against stable <b>{}</b> <span class=\"faint\">· started {}{ended} · watched for {}</span></p>\n{reason}",
        escaped(&report.rollout),
        report.phase,
        version(&report.versions.canary),
        version(&report.versions.stable),
        day(&report.started),
        time(report.seconds),
    )
}

/// A timestamp to the second.
fn day(at: &str) -> String {
    let seconds = at.split_once('.').map_or(at, |(seconds, _)| seconds).trim_end_matches('Z');
    escaped(&format!("{} UTC", seconds.replace('T', " ")))
}

fn versions(versions: &Pair<Side>) -> String {
    let mut table = String::from(
        "<h2>Both versions</h2>\n<table><tr><th></th><th class=\"n\">requests</th><th class=\"n\">failed</th>\
         <th class=\"n\">share</th><th class=\"n\">p50</th><th class=\"n\">p95</th><th class=\"n\">p99</th></tr>\n",
    );
    for (role, side) in [("stable", &versions.stable), ("canary", &versions.canary)] {
        let share = if side.requests == 0 {
            "–".to_owned()
        } else {
            format!("{:.3} %", 100.0 * side.failures as f64 / side.requests as f64)
        };
        let millis =
            |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1} ms"));
        let label = side
            .version
            .as_deref()
            .map_or_else(String::new, |label| format!(" {}", escaped(label)));
        let _ = writeln!(
            table,
            "<tr><td>{role}{label}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{share}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            side.requests,
            side.failures,
            millis(side.p50_ms),
            millis(side.p95_ms),
            millis(side.p99_ms),
        );
    }
    table + "</table>\n"
}

/// How far the canary differs from stable, over the whole rollout and in its last step.
fn effects(effects: &[EffectEstimate]) -> String {
    let mut text = String::new();
    for (since, title) in
        [(EffectSince::Start, "Canary against stable"), (EffectSince::Step, "In the last step")]
    {
        let known = |one: &&EffectEstimate| one.since == since && one.estimate.is_some();
        let items: Vec<String> = effects
            .iter()
            .filter(known)
            .map(|one| format!("<li>{}</li>\n", escaped(&sentences::effect(one))))
            .collect();
        if !items.is_empty() {
            let _ = write!(text, "<h2>{title}</h2>\n<ul>\n{}</ul>\n", items.concat());
        }
    }
    if !text.is_empty() {
        text += "<p><small>In brackets: where the true difference lies, with 95 % certainty however often \
                 one looks.</small></p>\n";
    }
    text
}

fn metrics(metrics: &[MetricProgress]) -> String {
    if metrics.is_empty() {
        return String::new();
    }
    let mut table = String::from(
        "<h2>Metrics</h2>\n<table><tr><th>metric</th><th>verdict</th><th>evidence against the canary</th><th>why</th></tr>\n",
    );
    for metric in metrics {
        let (severity, fails) = match metric.verdict {
            MetricStatus::Pass => ("good", ""),
            MetricStatus::Fail => ("bad", " fail"),
            MetricStatus::Insufficient => ("wait", ""),
            MetricStatus::Paused | MetricStatus::Warned => ("wait", " fail"),
        };
        let width = 120.0 * metric.evidence.clamp(0.0, 1.0);
        let _ = writeln!(
            table,
            "<tr><td>{}<br><small>{}</small></td><td class=\"{severity}\">{}</td>\
             <td class=\"bar\"><svg class=\"bar{fails}\" viewBox=\"0 0 120 8\"><rect width=\"120\" height=\"8\" rx=\"4\"/>\
             <rect class=\"full\" width=\"{width:.1}\" height=\"8\" rx=\"4\"/></svg> <small>{:.0} %</small></td><td>{}</td></tr>",
            escaped(&metric.name),
            escaped(&metric.kind),
            metric.verdict.as_str(),
            100.0 * metric.evidence,
            escaped(&metric.reason),
        );
    }
    table + "</table>\n"
}

fn line(
    name: &str,
    class: &'static str,
    points: &[Point],
    value: impl Fn(&Point) -> Option<f64>,
) -> ChartLine {
    let points = points.iter().map(|point| (point.t, value(point))).collect();
    ChartLine { name: name.to_owned(), class, points, stairs: false }
}

fn charts(report: &RolloutReport) -> String {
    let points = &report.points;
    let decided = |event: &RolloutEvent| {
        matches!(
            event,
            RolloutEvent::Step { .. } | RolloutEvent::Promoting | RolloutEvent::Aborting { .. }
        )
    };
    let steps = report.decisions.iter().filter(|decision| decided(&decision.event));
    let marks: Vec<f64> = steps.map(|decision| decision.t).collect();
    let chart = |title, unit, lines| Chart {
        title,
        unit,
        lines,
        threshold: None,
        at_least: 0.0,
        marks: marks.clone(),
    };
    let set =
        ChartLine { stairs: true, ..line("set", "stable", points, |point| Some(point.weight)) };
    let weight = chart("Weight", " %", vec![set, line("measured", "canary", points, measured)]);
    let of = |role: Role, name: &str, class, value: fn(&VersionSample) -> Option<f64>| {
        line(name, class, points, move |point| value(point.counts.get(role)))
    };
    let (stable, canary) = (Role::Stable, Role::Canary);
    let failures = Chart {
        at_least: 0.1,
        ..chart(
            "Failed requests",
            " %",
            vec![
                of(stable, "stable", "stable", VersionSample::failing),
                of(canary, "canary", "canary", VersionSample::failing),
            ],
        )
    };
    let latency = chart(
        "Latency",
        " ms",
        vec![
            of(stable, "stable p50", "stable", |sample| sample.quantile_ms(0.5)),
            of(canary, "canary p50", "canary", |sample| sample.quantile_ms(0.5)),
            of(stable, "stable p99", "stable tail", |sample| sample.quantile_ms(0.99)),
            of(canary, "canary p99", "canary tail", |sample| sample.quantile_ms(0.99)),
        ],
    );
    let evidence = Chart {
        threshold: Some((100.0, "rolls back")),
        at_least: 120.0,
        ..chart("Evidence against the canary", " %", evidence(report))
    };
    let charts = [weight, failures, latency, evidence].map(|chart| chart.svg()).concat();
    if charts.is_empty() { charts } else { format!("<h2>How it went</h2>\n{charts}\n") }
}

/// The canary's share of the requests, in percent.
fn measured(point: &Point) -> Option<f64> {
    let requests = point.counts.clone().map(|sample| sample.requests.trials);
    (requests.sum() > 0).then(|| 100.0 * requests.canary as f64 / requests.sum() as f64)
}

fn evidence(report: &RolloutReport) -> Vec<ChartLine> {
    let lines = report.metrics.iter().enumerate().filter(|(_, metric)| metric.kind != "prometheus");
    let draw = |(index, metric): (usize, &MetricProgress)| {
        let class = METRICS.get(index).or(METRICS.last()).copied().unwrap_or_default();
        line(&metric.name, class, &report.points, |point| {
            point.evidence.get(index).map(|part| 100.0 * part)
        })
    };
    lines.map(draw).collect()
}

fn decisions(decisions: &[DecisionRow], spec: &Spec) -> String {
    let mut table = String::from(
        "<h2>What happened</h2>\n<table><tr><th>at</th><th>when</th><th>what</th></tr>\n",
    );
    for decision in decisions {
        let verdicts: String = decision
            .verdicts
            .iter()
            .map(|verdict| format!("<li>{}</li>", escaped(verdict)))
            .collect();
        let verdicts = if verdicts.is_empty() { verdicts } else { format!("<ul>{verdicts}</ul>") };
        let _ = writeln!(
            table,
            "<tr><td class=\"t\">{}</td><td class=\"t\">{}</td><td>{}{verdicts}</td></tr>",
            time(decision.t),
            day(&decision.at),
            escaped(&messages::event(&decision.event, spec)),
        );
    }
    table + "</table>\n"
}
