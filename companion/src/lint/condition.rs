//! Whether any result of a query meets a condition.

use canary_judge::prometheus::condition::Condition;

/// The most results that are tried.
const MAX_TRIED: usize = 50_000;
/// The most values that a tried result has.
const MAX_VALUES: usize = 4;

/// Whether some result meets the condition. A condition compares values with the numbers in its text
/// and with each other, so it is decided by trying those numbers and enough values between them. A
/// condition that would need too many tries counts as one that can hold.
pub(crate) fn can_hold(condition: &Condition) -> bool {
    let text = condition.text();
    let needed = indexes(text).max().map_or(1, |index| index.saturating_add(1));
    if needed > MAX_VALUES {
        return true;
    }
    let lengths = if text.contains("len(") { 0..=lengths(text) } else { needed..=needed };
    if *lengths.end() > MAX_VALUES {
        return true;
    }
    lengths.into_iter().any(|length| any_of(condition, &values(text, length), length))
}

/// Whether a result of `length` values, all from `values`, meets the condition.
fn any_of(condition: &Condition, values: &[f64], length: usize) -> bool {
    let Some(tried) = values.len().checked_pow(u32::try_from(length).unwrap_or(u32::MAX)) else {
        return true;
    };
    if tried > MAX_TRIED {
        return true;
    }
    (0..tried).any(|mut number| {
        let mut digit = |_| {
            let value = values.get(number % values.len()).copied().unwrap_or_default();
            number /= values.len();
            value
        };
        let result: Vec<f64> = (0..length).map(&mut digit).collect();
        condition.holds(&result) == Ok(true)
    })
}

/// The numbers in the text, `between` values between each two and beyond them, and what isn't finite.
fn values(text: &str, between: usize) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers(text).collect();
    numbers.push(0.0);
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    let (least, most) =
        (numbers.first().copied().unwrap_or(0.0), numbers.last().copied().unwrap_or(0.0));
    let mut values = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    for step in 1..=between.max(1) {
        let part = step as f64 / (between.max(1) + 1) as f64;
        values.extend([least - part * least.abs().max(1.0), most + part * most.abs().max(1.0)]);
        let gaps = numbers.iter().zip(numbers.iter().skip(1));
        values.extend(gaps.map(|(low, high)| low + (high - low) * part));
    }
    values.extend(numbers);
    values
}

/// The longest result whose length the text can tell from others.
fn lengths(text: &str) -> usize {
    let longest = numbers(text).fold(0.0, f64::max).min(100.0) as usize;
    longest.max(indexes(text).max().unwrap_or(0)).saturating_add(1)
}

/// Every number in the text, those between brackets included.
fn numbers(text: &str) -> impl Iterator<Item = f64> {
    let part = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let words = text.split(move |c| !part(c));
    // `>-1` and `1-2` both become numbers; a wrong candidate costs a try.
    words
        .flat_map(|word| [word.parse().ok(), word.trim_start_matches('+').parse().ok()])
        .flatten()
        .filter(|number: &f64| number.is_finite())
}

/// Every index in the text.
fn indexes(text: &str) -> impl Iterator<Item = usize> {
    let inside = text.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    inside.filter_map(|index| index.trim().parse().ok())
}
