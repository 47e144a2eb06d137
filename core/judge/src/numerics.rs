//! Sums of numbers that are only held as logarithms, and their exact way through JSON.
//!
//! E-values grow and shrink by hundreds of orders of magnitude, so the judge keeps natural
//! logarithms and never the values themselves.

/// ln(eᵃ + eᵇ) without leaving the range of floats.
pub(crate) fn log_add_exp(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY {
        return high;
    }
    high + (low - high).exp().ln_1p()
}

/// `count · ln(x)` for a positive x. Logarithms are most of what a judge computes, and many counts
/// are 0.
pub(crate) fn times_ln(count: f64, x: f64) -> f64 {
    if count == 0.0 { 0.0 } else { count * x.ln() }
}

/// ln Σ eˣ, with the largest x taken out first; −∞ for no values.
pub(crate) fn log_sum_exp(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + logs.map(|log| (log - most).exp()).sum::<f64>().ln()
}

/// ln of the mean of eˣ; −∞ for no values.
pub(crate) fn log_mean_exp(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = logs.clone().count() as f64;
    if count == 0.0 {
        return f64::NEG_INFINITY;
    }
    log_sum_exp(logs) - count.ln()
}

/// Floats as decimal text, which reads back to the very same float with any JSON reader; a resumed
/// judge must not differ in the last bit from one that was never stopped.
pub(crate) mod exact {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(log: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(log)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        parse(&String::deserialize(from)?)
    }

    pub(super) fn parse<E: Error>(text: &str) -> Result<f64, E> {
        let finite = text.parse::<f64>().ok().filter(|log| log.is_finite());
        finite.ok_or_else(|| E::custom(format_args!("{text:?} is not a finite number")))
    }
}

/// The same for arrays.
pub(crate) mod exact_array {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer, const N: usize>(
        logs: &[f64; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(logs.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[f64; N], D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let logs: Vec<f64> =
            texts.iter().map(|text| super::exact::parse(text)).collect::<Result<_, _>>()?;
        let found = logs.len();
        logs.try_into().map_err(|_| D::Error::invalid_length(found, &"as many as there are bets"))
    }
}

/// Where a condition begins to hold between `fails` and `holds`, on the side on which it does, after halving
/// this often. Either end may be the larger one.
pub(crate) fn bisect(
    mut fails: f64,
    mut holds: f64,
    halvings: u32,
    condition: impl Fn(f64) -> bool,
) -> f64 {
    for _ in 0..halvings {
        let middle = 0.5 * (fails + holds);
        if condition(middle) {
            holds = middle;
        } else {
            fails = middle;
        }
    }
    holds
}

/// Many floats as one text: their bits in base64, which is exact and a third of the decimal text's size.
pub(crate) mod packed {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(logs: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = logs.iter().flat_map(|log| log.to_le_bytes()).collect();
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)?;
        let (floats, rest) = bytes.as_chunks::<8>();
        let logs: Vec<f64> = floats.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        if !rest.is_empty() || logs.iter().any(|log| !log.is_finite()) {
            return Err(D::Error::custom("expected finite numbers of eight bytes each"));
        }
        Ok(logs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_exponentials() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(times_ln(3.0, 2.0), 8f64.ln());
        assert_eq!(times_ln(0.0, 2.0), 0.0);
        close(log_add_exp(2f64.ln(), 3f64.ln()), 5f64.ln());
        close(log_add_exp(3f64.ln(), 2f64.ln()), 5f64.ln());
        close(log_add_exp(1_000.0, 1_000.0), 1_000.0 + 2f64.ln());
        close(log_add_exp(-1e6, 0.0), 0.0);
        assert_eq!(log_add_exp(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        close(log_add_exp(f64::NEG_INFINITY, 1.0), 1.0);
        close(log_sum_exp([1f64.ln(), 2f64.ln(), 3f64.ln()].into_iter()), 6f64.ln());
        close(log_mean_exp([900.0, 900.0].into_iter()), 900.0);
        assert_eq!(log_sum_exp(std::iter::empty()), f64::NEG_INFINITY);
        assert_eq!(log_mean_exp(std::iter::empty()), f64::NEG_INFINITY);
    }
}
