//! Figures as a person reads them.

/// What stands for a value that isn't known.
pub(crate) const UNKNOWN: &str = "–";

/// A part of a whole as a bar of 100 units, and in words.
pub(crate) struct Bar {
    pub(crate) percent: String,
    pub(crate) width: String,
}

impl Bar {
    /// A bar for a fraction; what is outside of 0 to 1 is drawn at the end.
    pub(crate) fn new(part: f64, decimals: usize) -> Self {
        let percent = 100.0 * part;
        let width = format!("{:.1}", percent.clamp(0.0, 100.0));
        Self { percent: format!("{percent:.decimals$} %"), width }
    }
}

/// A time as a person reads it: `45 s`, `12 min`, `3.5 h`.
pub(crate) fn time(seconds: f64) -> String {
    let tenths = |value: f64| short((value * 10.0).round() / 10.0);
    if seconds < 120.0 {
        format!("{} s", tenths(seconds))
    } else if seconds < 7_200.0 {
        format!("{} min", tenths(seconds / 60.0))
    } else {
        format!("{} h", tenths(seconds / 3_600.0))
    }
}

/// A value with few digits: none behind the point from 100 on, two from 1 on, four below.
pub(crate) fn short(value: f64) -> String {
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

/// A weight or share in percent.
pub(crate) fn percent(value: f64) -> String {
    format!("{} %", short(value))
}

/// A time in milliseconds, if it is known.
pub(crate) fn millis(ms: Option<f64>) -> String {
    ms.map_or_else(|| UNKNOWN.to_owned(), |ms| format!("{ms:.1} ms"))
}

/// The share of requests that failed.
pub(crate) fn failing(requests: u64, failures: u64) -> String {
    if requests == 0 {
        return UNKNOWN.to_owned();
    }
    format!("{:.2} %", 100.0 * failures as f64 / requests as f64)
}

/// A timestamp (RFC 3339, UTC) to the second, with a space between date and time.
pub(crate) fn day(at: &str) -> String {
    let seconds = at.split_once('.').map_or(at, |(seconds, _)| seconds).trim_end_matches('Z');
    seconds.replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_few_digits() {
        let shorts = [0.0, 0.25, 12.5, 250.0, 0.0125].map(short);
        assert_eq!(shorts, ["0", "0.25", "12.5", "250", "0.0125"]);
        assert_eq!([45.04, 600.0, 12_600.0].map(time), ["45 s", "10 min", "3.5 h"]);
        assert_eq!((failing(0, 0), failing(300, 1)), ("–".to_owned(), "0.33 %".to_owned()));
        assert_eq!(day("2026-03-01T12:00:00.500Z"), "2026-03-01 12:00:00");
        assert_eq!(Bar::new(1.5, 0).width, "100.0");
    }
}
