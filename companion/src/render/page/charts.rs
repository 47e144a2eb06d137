//! The charts' data: columns of values over the rollout's time, whole or from a point on.

use canary_judge::spec::{MetricRule, QUANTILES};
use canary_judge::timing::Timing;
use canary_model::role::Role;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;
use serde::Serialize;

use super::steps;
use crate::report::{Point, RolloutReport, VersionSample};

/// A part of a rollout's history, as the page's script takes it.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryPart {
    /// Changes if earlier points changed, so that all have to be sent again.
    generation: String,
    /// The index of the first point that is here.
    from: usize,
    /// Seconds on the rollout's clock.
    t: Vec<f64>,
    charts: Vec<ChartData>,
}

#[derive(Debug, Serialize)]
struct ChartData {
    id: String,
    title: String,
    unit: &'static str,
    /// The least that the axis reaches up to.
    top: f64,
    series: Vec<ChartLine>,
    /// When something was decided, in seconds.
    marks: Vec<f64>,
    limit: Option<Limit>,
    /// Times and weights of the steps ahead, by the file's durations.
    ahead: Vec<(f64, f64)>,
    /// The weight that the steps ahead begin at.
    now: Option<f64>,
}

#[derive(Debug, Serialize)]
struct ChartLine {
    label: String,
    /// What it stands for, which sets color and dashes.
    style: &'static str,
    stairs: bool,
    values: Vec<Option<f64>>,
}

#[derive(Debug, Serialize)]
struct Limit {
    at: f64,
    label: &'static str,
}

/// The history from a point on, if `generation` is still the one that the client has; else all of it.
pub(crate) fn history_part(report: &RolloutReport, generation: &str, after: usize) -> HistoryPart {
    let all = report.history.points();
    let current = format!("{}/{}", report.started, report.history.thinned());
    let from = if generation == current { after.min(all.len()) } else { 0 };
    let points = all.get(from..).unwrap_or_default();
    let mut charts = vec![weight(report, points), failures(report, points)];
    for timing in Timing::ALL {
        charts.extend(times(report, points, timing));
    }
    charts.extend(evidence(report, points));
    charts.extend(certified(report, points));
    let marks = marks(report);
    for chart in &mut charts {
        chart.marks.clone_from(&marks);
    }
    let t = points.iter().map(|point| (point.t * 10.0).round() / 10.0).collect();
    HistoryPart { generation: current, from, t, charts }
}

/// When steps began and the rollout took a turn.
fn marks(report: &RolloutReport) -> Vec<f64> {
    let decided = |event: &RolloutEvent| {
        matches!(
            event,
            RolloutEvent::Step { .. } | RolloutEvent::Promoting | RolloutEvent::Aborting { .. }
        )
    };
    let events = report.decisions.iter().filter(|decision| decided(&decision.event));
    events.map(|decision| decision.t).collect()
}

fn chart(id: &str, title: &str, unit: &'static str, top: f64, series: Vec<ChartLine>) -> ChartData {
    ChartData {
        id: id.to_owned(),
        title: title.to_owned(),
        unit,
        top,
        series,
        marks: Vec::new(),
        limit: None,
        ahead: Vec::new(),
        now: None,
    }
}

fn series(
    label: &str,
    style: &'static str,
    points: &[Point],
    value: impl Fn(&Point) -> Option<f64>,
) -> ChartLine {
    let values = points.iter().map(|point| value(point).map(rounded)).collect();
    ChartLine { label: label.to_owned(), style, stairs: false, values }
}

/// Four digits that count are more than a chart shows.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powf(3.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

fn weight(report: &RolloutReport, points: &[Point]) -> ChartData {
    let stairs = |series: ChartLine| ChartLine { stairs: true, ..series };
    let set = |point: &Point| point.set.or(Some(point.weight));
    let lines = vec![
        stairs(series("set", "set", points, set)),
        stairs(series("in force", "in force", points, |point| point.in_force)),
        series("measured", "measured", points, Point::measured),
        stairs(series("steps ahead, as planned", "ahead", points, |_| None)),
    ];
    let now = report.history.points().last().and_then(set);
    let ahead = steps::ahead(report);
    ChartData { ahead, now, ..chart("weight", "Weight", " %", 1.0, lines) }
}

fn failures(report: &RolloutReport, points: &[Point]) -> ChartData {
    let of = |role: Role| move |point: &Point| point.counts.get(role).failing();
    let mut lines = vec![
        series("stable", "stable", points, of(Role::Stable)),
        series("canary", "canary", points, of(Role::Canary)),
    ];
    if let Some((ratio, margin)) = tolerated_failures(report.spec()) {
        let tolerated = |sample: &VersionSample| Some(ratio * sample.failing()? + 100.0 * margin);
        let line = |point: &Point| tolerated(&point.counts.stable);
        lines.push(series("tolerated", "tolerated", points, line));
    }
    chart("failures", "Failed requests", " %", 0.1, lines)
}

/// The ratio and margin of the file's first metric on failures.
fn tolerated_failures(spec: &Spec) -> Option<(f64, f64)> {
    spec.analysis.metrics.iter().find_map(|metric| match metric.rule {
        MetricRule::FailureRate { ratio, margin } => Some((ratio, margin)),
        _ => None,
    })
}

/// A chart for each quantile of one timing; none where nothing was measured.
fn times(report: &RolloutReport, points: &[Point], timing: Timing) -> Vec<ChartData> {
    let measured = |point: &Point| point.quantile_ms(Role::Stable, timing, 0.5).is_some();
    if !report.history.points().iter().any(measured) {
        return Vec::new();
    }
    let what = match timing {
        Timing::Total => "Response time",
        Timing::Ttfb => "Time to first byte",
        Timing::Gap => "Time between chunks",
    };
    let chart = |quantile: &str, share: f64| {
        let of = |role: Role| move |point: &Point| point.quantile_ms(role, timing, share);
        let mut lines = vec![
            series("stable", "stable", points, of(Role::Stable)),
            series("canary", "canary", points, of(Role::Canary)),
        ];
        if let Some(tolerance) = tolerated_times(report.spec(), timing, quantile) {
            let line = |point: &Point| Some(tolerance * of(Role::Stable)(point)?);
            lines.push(series("tolerated", "tolerated", points, line));
        }
        let id = format!("{}-{quantile}", timing.as_str());
        chart(&id, &format!("{what}, {quantile}"), " ms", 0.0, lines)
    };
    [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)].map(|(name, share)| chart(name, share)).into()
}

/// The tolerated factor at a quantile, of the file's first metric on this timing.
fn tolerated_times(spec: &Spec, timing: Timing, quantile: &str) -> Option<f64> {
    let index = QUANTILES.iter().position(|(name, _)| *name == quantile)?;
    spec.analysis.metrics.iter().find_map(|metric| match &metric.rule {
        MetricRule::Latency { timing: of, tolerances } if *of == timing => {
            tolerances.get(index).copied()
        }
        _ => None,
    })
}

fn evidence(report: &RolloutReport, points: &[Point]) -> Option<ChartData> {
    let shown = report.metrics.iter().enumerate().filter(|(_, one)| one.kind != "prometheus");
    let lines = shown.map(|(index, metric)| {
        let value = |point: &Point| point.evidence.get(index).map(|part| 100.0 * part);
        series(&metric.name, "metric", points, value)
    });
    let lines: Vec<ChartLine> = lines.collect();
    let limit = Some(Limit { at: 100.0, label: "the metric acts" });
    let chart = chart("evidence", "Evidence against the canary", " %", 115.0, lines);
    (!chart.series.is_empty()).then_some(ChartData { limit, ..chart })
}

fn certified(report: &RolloutReport, points: &[Point]) -> Option<ChartData> {
    let shown = report.metrics.iter().enumerate().filter(|(_, one)| one.non_inferiority.is_some());
    let lines = shown.map(|(index, metric)| {
        let value = |point: &Point| point.certified.get(index)?.map(|part| 100.0 * part);
        series(&metric.name, "metric", points, value)
    });
    let lines: Vec<ChartLine> = lines.collect();
    let limit = Some(Limit { at: 100.0, label: "certified: no worse than tolerated" });
    let chart = chart("certified", "Certification in this step", " %", 115.0, lines);
    (!chart.series.is_empty()).then_some(ChartData { limit, ..chart })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_four_digits() {
        let values = [0.0, 12.345_678, 0.001_234_56, 98_765.4].map(rounded);
        assert_eq!(values, [0.0, 12.35, 0.001_235, 98_770.0]);
    }
}
