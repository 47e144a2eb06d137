//! Charts as inline SVG: lines over the rollout's time, with a grid and a legend. Pure.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// One line of a chart.
pub(super) struct Line {
    /// Its name in the legend.
    pub(super) name: String,
    /// Its class in the style sheet.
    pub(super) class: &'static str,
    /// Its points; where there is no value, it has a gap.
    pub(super) points: Vec<(f64, Option<f64>)>,
    /// Whether a value holds back to the point before.
    pub(super) stairs: bool,
}

/// A chart.
pub(super) struct Chart<'a> {
    /// What stands over it.
    pub(super) title: &'a str,
    /// The unit of its values.
    pub(super) unit: &'a str,
    /// The lines.
    pub(super) lines: Vec<Line>,
    /// A limit, with its name.
    pub(super) threshold: Option<(f64, &'a str)>,
    /// The least that the axis reaches up to.
    pub(super) at_least: f64,
    /// Moments that are marked, in seconds.
    pub(super) marks: Vec<f64>,
}

/// From seconds since the rollout's start and values to places.
struct Scale {
    seconds: f64,
    top: f64,
}

impl Scale {
    fn x(&self, t: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * t / self.seconds
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / self.top).clamp(0.0, 1.0)
    }
}

impl Chart<'_> {
    /// The chart, without a value anywhere nothing.
    pub(super) fn svg(&self) -> String {
        let Some(scale) = self.scale() else { return String::new() };
        let mut svg = format!(
            "<figure><figcaption>{}{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            super::html::escaped(self.title),
            self.legend(),
            super::html::escaped(self.title),
        );
        self.grid(&scale, &mut svg);
        for t in &self.marks {
            let x = scale.x(*t);
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>",
                HEIGHT - BOTTOM
            );
        }
        if let Some((limit, name)) = self.threshold {
            let y = scale.y(limit);
            let _ = write!(
                svg,
                "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"limit\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                WIDTH - RIGHT - 4.0,
                y - 5.0,
                super::html::escaped(name),
            );
        }
        for line in &self.lines {
            let _ = write!(svg, "<path class=\"{}\" d=\"{}\"/>", line.class, path(line, &scale));
        }
        svg + "</svg></figure>"
    }

    fn scale(&self) -> Option<Scale> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let end = points().map(|(t, _)| *t).reduce(f64::max)?;
        let most = points().filter_map(|(_, value)| *value).reduce(f64::max)?;
        let top = rounded_up(most.max(self.at_least));
        Some(Scale { seconds: end.max(1.0), top })
    }

    fn grid(&self, scale: &Scale, svg: &mut String) {
        for part in 0..=4 {
            let value = scale.top * f64::from(part) / 4.0;
            let y = scale.y(value);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                short(value),
                self.unit,
            );
        }
        let step = tick(scale.seconds);
        let mut t = 0.0;
        while t <= scale.seconds {
            let (x, y) = (scale.x(t), HEIGHT - 8.0);
            let _ = write!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
                time(t),
            );
            t += step;
        }
    }

    fn legend(&self) -> String {
        let entry = |line: &Line| {
            let name = super::html::escaped(&line.name);
            format!(
                "<span class=\"key\"><svg viewBox=\"0 0 18 6\"><path class=\"{}\" d=\"M0 3H18\"/></svg>{name}</span>",
                line.class
            )
        };
        self.lines.iter().map(entry).collect()
    }
}

fn path(line: &Line, scale: &Scale) -> String {
    let mut path = String::new();
    let mut last: Option<f64> = None;
    for (t, value) in &line.points {
        let Some(value) = value else {
            last = None;
            continue;
        };
        let (x, y) = (scale.x(*t), scale.y(*value));
        let _ = match last {
            None => write!(path, "M{x:.1} {y:.1}"),
            Some(_) if line.stairs => write!(path, "H{x:.1}V{y:.1}"),
            Some(_) => write!(path, "L{x:.1} {y:.1}"),
        };
        if last.is_none() && !line.stairs {
            // A point alone is seen, too.
            path.push_str("h0.1");
        }
        last = Some(y);
    }
    path
}

/// The time from one label of the axis to the next: a round one, so that there are at most six.
fn tick(seconds: f64) -> f64 {
    let round = [
        1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0,
        7_200.0, 14_400.0, 28_800.0, 86_400.0,
    ];
    let fits = |step: &f64| seconds / step <= 6.0;
    round.into_iter().find(fits).unwrap_or(seconds / 6.0)
}

/// The next 1, 1.2, 2, 2.5 or 5 times a power of ten.
fn rounded_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.5, 4.0, 5.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

/// A value with at most three digits that count.
fn short(value: f64) -> String {
    let decimals = if value >= 100.0 || value == 0.0 {
        0
    } else if value >= 1.0 {
        2
    } else {
        4
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A time as a person reads it: `45 s`, `12 min`, `3.5 h`.
pub(super) fn time(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{} s", short((seconds * 10.0).round() / 10.0))
    } else if seconds < 7_200.0 {
        format!("{} min", short((seconds / 6.0).round() / 10.0))
    } else {
        format!("{} h", short((seconds / 360.0).round() / 10.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, top) in [
            (0.0, 1.0),
            (0.9, 1.0),
            (1.0, 1.0),
            (1.1, 1.2),
            (23.0, 25.0),
            (0.034, 0.04),
            (51.0, 80.0),
        ] {
            assert!((rounded_up(value) - top).abs() < 1e-12, "{value}: {}", rounded_up(value));
        }
        assert_eq!(
            [0.0, 0.25, 12.5, 250.0, 0.0125].map(short),
            ["0", "0.25", "12.5", "250", "0.0125"]
        );
        assert_eq!([5.0, 110.0, 900.0, 86_400.0].map(tick), [1.0, 20.0, 300.0, 14_400.0]);
        assert_eq!([45.04, 600.0, 12_600.0].map(time), ["45 s", "10 min", "3.5 h"]);
    }

    #[test]
    fn gaps_stay_gaps() {
        let points = vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(2.0)), (3.0, Some(2.0))];
        let line = Line { name: "a".to_owned(), class: "stable", points, stairs: false };
        let scale = Scale { seconds: 3.0, top: 2.0 };
        assert_eq!(path(&line, &scale).matches('M').count(), 2);
    }
}
