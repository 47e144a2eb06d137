//! The reader of `GET /stats?format=json&histogram_buckets=detailed`.

use std::collections::BTreeMap;

use canary_model::histogram::{Bin, Histogram, MAX_BINS};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What an Envoy counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Counters and gauges by their full names.
    pub numbers: BTreeMap<String, u64>,
    /// Statistics that are text, by their full names.
    pub texts: BTreeMap<String, String>,
    /// Histograms by their full names, since the start of the process.
    pub histograms: BTreeMap<String, Histogram>,
}

/// An answer that is not what Envoy's `/stats` gives.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// Not JSON of that shape.
    #[error("not an answer of Envoy's /stats: {0}")]
    Shape(#[from] serde_json::Error),
    /// A histogram beyond what Envoy's can be.
    #[error("not an answer of Envoy's /stats: {0}: no histogram of Envoy's")]
    Histogram(String),
}

#[derive(Deserialize)]
struct StatsResponse {
    stats: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    name: Option<String>,
    value: Option<StatValue>,
    histograms: Option<Histograms>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StatValue {
    Number(u64),
    Text(String),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Histograms {
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    name: String,
    totals: Vec<Total>,
}

#[derive(Deserialize)]
struct Total {
    lower_bound: f64,
    width: f64,
    count: u64,
}

impl Stats {
    /// Reads an answer. Fields that are not known are skipped.
    ///
    /// # Errors
    /// [`StatsError`] where it is not JSON of Envoy's shape.
    pub fn read(answer: &[u8]) -> Result<Self, StatsError> {
        let answer: StatsResponse = serde_json::from_slice(answer)?;
        let mut stats = Self::default();
        for item in answer.stats {
            match (item.name, item.value) {
                (Some(name), Some(StatValue::Number(number))) => {
                    stats.numbers.insert(name, number);
                }
                (Some(name), Some(StatValue::Text(text))) => {
                    stats.texts.insert(name, text);
                }
                (_, Some(StatValue::Other(_)) | None) | (None, _) => {}
            }
            for detail in item.histograms.into_iter().flat_map(|histograms| histograms.details) {
                let Some(histogram) = bins(&detail.totals) else {
                    return Err(StatsError::Histogram(detail.name));
                };
                stats.histograms.insert(detail.name, histogram);
            }
        }
        Ok(stats)
    }
}

fn bins(totals: &[Total]) -> Option<Histogram> {
    if totals.len() > MAX_BINS {
        return None;
    }
    totals
        .iter()
        .map(|total| Some((Bin::new(total.lower_bound, total.width)?, total.count)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Envoy 1.40 printed it.
    const ANSWER: &str = r#"{"stats":[{"name":"http.a.downstream_rq_2xx","value":3},
        {"name":"b.version_text","value":"1"},{"name":"odd","value":-1},
        {"histograms":{"supported_percentiles":[0,25],"details":[
        {"name":"empty","totals":[],"intervals":[],"percentiles":[{"cumulative":null,"interval":null}]},
        {"name":"time","totals":[{"lower_bound":0,"width":0,"count":6},{"lower_bound":1,"width":0.1,"count":3}],
        "intervals":[{"lower_bound":0,"width":0,"count":1}],"percentiles":[]}]}}]}"#;

    #[test]
    fn reads_what_envoy_prints() {
        let stats = Stats::read(ANSWER.as_bytes()).unwrap();
        assert_eq!(stats.numbers, BTreeMap::from([("http.a.downstream_rq_2xx".to_owned(), 3)]));
        assert_eq!(stats.texts["b.version_text"], "1");
        assert_eq!(stats.histograms["time"].count(), 9);
        assert!(stats.histograms["empty"].is_empty());
        assert_eq!(Stats::read(br#"{"stats":[]}"#).unwrap(), Stats::default());
    }

    #[test]
    fn anything_else_is_an_error() {
        for answer in ["", "{}", "[]", r#"{"stats":{}}"#, "<html>", r#"{"stats":[{"name":1}]}"#] {
            assert!(Stats::read(answer.as_bytes()).is_err(), "{answer}");
        }
        let negative = r#"{"stats":[{"histograms":{"details":[{"name":"x","totals":
            [{"lower_bound":-1,"width":1,"count":1}]}]}}]}"#;
        assert!(matches!(Stats::read(negative.as_bytes()), Err(StatsError::Histogram(_))));
    }
}
