//! Durations as configurations write them: `250ms`, `30s`, `10m`, `24h`, `7d`.

use std::time::Duration;

/// What a duration looks like, for error messages.
pub const EXPECTED: &str = "a duration such as 250ms, 30s, 10m, 24h or 7d";

/// Reads a whole number with a unit: `ms`, `s`, `m`, `h`, `d`. `None` for anything else, a sum
/// beyond a hundred years included.
pub fn parse(text: &str) -> Option<Duration> {
    const HUNDRED_YEARS_MS: u64 = 100 * 366 * 24 * 3_600_000;
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let millis = number.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    (millis <= HUNDRED_YEARS_MS).then(|| Duration::from_millis(millis))
}

/// The shortest exact form that [`parse`] reads back; what lies below a millisecond is dropped.
pub fn format(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    units
        .into_iter()
        .find(|(size, _)| millis > 0 && millis.is_multiple_of(*size))
        .map_or_else(|| format!("{millis}ms"), |(size, unit)| format!("{}{unit}", millis / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, millis) in
            [("250ms", 250), ("30s", 30_000), ("10m", 600_000), ("24h", 86_400_000), ("0s", 0)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(format(Duration::from_secs(90)), "90s");
        assert_eq!(format(Duration::from_secs(86_400)), "1d");
        assert_eq!(
            parse(&format(Duration::from_millis(1_234))),
            Some(Duration::from_millis(1_234))
        );
        for text in
            ["", "5", "s", "-1s", "1.5s", "1 s", "1S", "99999999999999999999s", "999999999d"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
