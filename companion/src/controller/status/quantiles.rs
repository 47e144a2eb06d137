//! Quantiles of what was recorded, as results show them.

use std::collections::BTreeMap;

use canary_model::histogram::Histogram;
use serde::{Deserialize, Serialize};

use super::rounded;

/// Quantiles of a time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Milliseconds {
    /// The median time, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 95th percentile, in milliseconds.
    pub p95_ms: Option<f64>,
    /// The 99th percentile, in milliseconds.
    pub p99_ms: Option<f64>,
}

/// Quantiles of a signal's values, in the unit that the filter records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueQuantiles {
    /// The median of the values.
    pub p50: Option<f64>,
    /// The 95th percentile of the values.
    pub p95: Option<f64>,
    /// The 99th percentile of the values.
    pub p99: Option<f64>,
}

impl Milliseconds {
    /// The quantiles of times in microseconds; `None` if there are none.
    pub fn from_times(times_us: &Histogram) -> Option<Self> {
        let quantile = |share| times_us.quantile(share).map(|us| rounded(us / 1_000.0, 3));
        (!times_us.is_empty()).then(|| Self {
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
        })
    }
}

impl ValueQuantiles {
    /// The quantiles of each signal's values, of signals that have any.
    pub fn of_each(values: &BTreeMap<String, Histogram>) -> BTreeMap<String, Self> {
        let some = values.iter().filter(|(_, values)| !values.is_empty());
        some.map(|(signal, values)| {
            let quantile = |share| values.quantile(share).map(|value| rounded(value, 3));
            let (p50, p95, p99) = (quantile(0.5), quantile(0.95), quantile(0.99));
            (signal.clone(), Self { p50, p95, p99 })
        })
        .collect()
    }
}
