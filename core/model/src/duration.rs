//! Durations as configurations write them: `250ms`, `30s`, `10m`, `24h`, `7d`, `1h30m`.

use std::time::Duration;

/// What a duration looks like, for error messages.
pub const EXPECTED: &str = "a duration such as 250ms, 30s, 10m, 24h, 7d or 1h30m";

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads one or more parts, each a whole number with a unit (`ms`, `s`, `m`, `h`, `d`), the largest
/// unit first and each at most once. `None` for anything else, and for more than a hundred years.
pub fn parse(text: &str) -> Option<Duration> {
    const HUNDRED_YEARS_MS: u64 = 100 * 366 * 24 * 3_600_000;
    let (mut rest, mut units, mut total) = (text, UNITS.iter(), 0_u64);
    loop {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) =
            after.split_at(after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len()));
        let (_, size) = units.find(|(known, _)| *known == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*size)?)?;
        rest = after;
        if rest.is_empty() {
            return (total <= HUNDRED_YEARS_MS).then(|| Duration::from_millis(total));
        }
    }
}

/// The exact form with one unit, the largest that fits, which [`parse`] reads back. Anything below a
/// millisecond is dropped.
pub fn format(duration: Duration) -> String {
    let millis = duration.as_millis();
    let exact = |(_, size): &&(&str, u64)| millis > 0 && millis.is_multiple_of(u128::from(*size));
    let found = UNITS.iter().find(exact);
    found.map_or_else(
        || format!("{millis}ms"),
        |(unit, size)| format!("{}{unit}", millis / u128::from(*size)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("10m", 600_000),
            ("24h", 86_400_000),
            ("0s", 0),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("1m5ms", 60_005),
            ("0h90m", 5_400_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(format(Duration::from_secs(90)), "90s");
        assert_eq!(format(Duration::from_secs(5_400)), "90m");
        assert_eq!(format(Duration::from_secs(86_400)), "1d");
        assert_eq!(format(Duration::ZERO), "0ms");
        assert_eq!(
            parse(&format(Duration::from_millis(1_234))),
            Some(Duration::from_millis(1_234))
        );
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1S",
            "99999999999999999999s",
            "999999999d",
            "30m1h",
            "1h1h",
            "1h30",
            "1hs",
            "1h 30m",
            "h1",
            "36600d1ms",
            "1min",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse("36600d").is_some());
    }
}
