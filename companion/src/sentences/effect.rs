//! An effect as a sentence that needs no statistics.

use canary_judge::{EffectEstimate, EffectUnit};

use super::verdict::figure;

/// `failures: +0.3 points (−0.1 to +0.8); tolerated +0.1`.
pub(crate) fn effect(effect: &EffectEstimate) -> String {
    let EffectEstimate { metric, quantile, unit, estimate, lower, upper, tolerated, .. } = effect;
    let quantile = quantile.as_ref().map_or_else(String::new, |name| format!(" {name}"));
    let number = |value: f64| number(*unit, value);
    let value = estimate.map_or_else(
        || "no comparison yet".to_owned(),
        |value| match unit {
            EffectUnit::Points => format!("{} points", number(value)),
            EffectUnit::Ratio => format!("{} × stable's", number(value)),
        },
    );
    let interval = match (lower, upper) {
        (Some(lower), Some(upper)) => format!(" ({} to {})", number(*lower), number(*upper)),
        (Some(lower), None) => format!(" (at least {})", number(*lower)),
        (None, Some(upper)) => format!(" (at most {})", number(*upper)),
        (None, None) if estimate.is_some() => " (too few requests for bounds)".to_owned(),
        (None, None) => String::new(),
    };
    let tolerated = tolerated.map(|value| format!("; tolerated {}", number(value)));
    format!("{metric}{quantile}: {value}{interval}{}", tolerated.unwrap_or_default())
}

/// Points with their sign, ratios without one; with as many decimals as say something.
fn number(unit: EffectUnit, value: f64) -> String {
    match unit {
        EffectUnit::Ratio => figure((value * 100.0).round() / 100.0),
        EffectUnit::Points => {
            let decimals = if value.abs() < 0.095 { 1_000.0 } else { 10.0 };
            let rounded = (value * decimals).round() / decimals;
            let sign = match rounded {
                value if value > 0.0 => "+",
                value if value < 0.0 => "−",
                _ => "±",
            };
            format!("{sign}{}", figure(rounded.abs()))
        }
    }
}

#[cfg(test)]
mod tests {
    use canary_judge::EffectSince;

    use super::*;

    fn points(estimate: f64, lower: Option<f64>, upper: Option<f64>) -> EffectEstimate {
        EffectEstimate {
            metric: "failures".to_owned(),
            quantile: None,
            since: EffectSince::Start,
            unit: EffectUnit::Points,
            estimate: Some(estimate),
            lower,
            upper,
            level: 0.95,
            tolerated: Some(0.1),
        }
    }

    #[test]
    fn a_difference_needs_no_statistics_to_read() {
        let said = effect(&points(0.3, Some(-0.1), Some(0.8)));
        assert_eq!(said, "failures: +0.3 points (−0.1 to +0.8); tolerated +0.1");
        let said = effect(&points(0.0, Some(-0.023), None));
        assert_eq!(said, "failures: ±0 points (at least −0.023); tolerated +0.1");
        let said = effect(&points(12.3, None, None));
        assert_eq!(said, "failures: +12.3 points (too few requests for bounds); tolerated +0.1");
    }

    #[test]
    fn a_ratio_names_its_quantile() {
        let ratio = EffectEstimate {
            metric: "latency".to_owned(),
            quantile: Some("p95".into()),
            unit: EffectUnit::Ratio,
            tolerated: Some(1.2),
            ..points(1.076, Some(0.96), Some(1.224))
        };
        let said = effect(&ratio);
        assert_eq!(said, "latency p95: 1.08 × stable's (0.96 to 1.22); tolerated 1.2");
        let nothing = EffectEstimate { estimate: None, lower: None, upper: None, ..ratio };
        assert_eq!(effect(&nothing), "latency p95: no comparison yet; tolerated 1.2");
    }
}
