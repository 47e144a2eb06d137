//! For tests: exact means over all outcomes of a small block, to show that a bet is fair.

/// The probability of `k` events in `n` trials of probability `p` each.
pub(crate) fn binomial(n: u64, k: u64, p: f64) -> f64 {
    let choose = (1..=k).fold(1.0, |product, i| product * (n - k + i) as f64 / i as f64);
    choose * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32)
}

/// The mean of `value(events of the first, events of the second)` over two independent binomials.
pub(crate) fn mean(
    [first, second]: [(u64, f64); 2],
    mut value: impl FnMut(u64, u64) -> f64,
) -> f64 {
    let mut sum = 0.0;
    for i in 0..=first.0 {
        for j in 0..=second.0 {
            let weight = binomial(first.0, i, first.1) * binomial(second.0, j, second.1);
            if weight > 0.0 {
                sum += weight * value(i, j);
            }
        }
    }
    sum
}

/// Just above one, for rounding.
pub(crate) const ONE: f64 = 1.0 + 1e-9;

#[test]
fn probabilities_sum_to_one() {
    let sum = mean([(7, 0.3), (11, 0.9)], |_, _| 1.0);
    assert!((sum - 1.0).abs() < 1e-12);
    let events = mean([(7, 0.3), (11, 0.9)], |i, j| (i + j) as f64);
    assert!((events - (7.0 * 0.3 + 11.0 * 0.9)).abs() < 1e-12);
}
