//! Asking Prometheus: `GET /api/v1/query`.

use std::time::Duration;

use canary_judge::observation::Measurement;
use canary_judge::spec::PrometheusSpec;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::Value;

use super::hooks::cause;

/// The longest that an answer may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The most bytes that are read of one.
const LIMIT: usize = 4 << 20;
/// The most series that are read of one.
const MAX_SERIES: usize = 1_000;

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Value,
}

/// Asks once. Whatever is not an answer with values is an outage, which holds the rollout.
pub async fn measure(http: &Client, spec: &PrometheusSpec) -> Measurement {
    match ask(http, spec).await.and_then(|body| read(&body)) {
        Ok(values) => Measurement::Values(values),
        Err(why) => Measurement::Outage(format!("Prometheus at {}: {why}", spec.address)),
    }
}

async fn ask(http: &Client, spec: &PrometheusSpec) -> Result<Vec<u8>, String> {
    let base = format!("{}/api/v1/query", spec.address.trim_end_matches('/'));
    let mut url = Url::parse(&base).map_err(|error| error.to_string())?;
    url.query_pairs_mut().append_pair("query", &spec.query);
    let sent = http.get(url).timeout(WITHIN).send().await;
    let mut answer = sent.map_err(|error| cause(&error))?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| cause(&error))? {
        if body.len() + chunk.len() > LIMIT {
            return Err(format!("an answer of more than {LIMIT} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The values of an answer: of each series of a vector, or a scalar.
fn read(body: &[u8]) -> Result<Vec<f64>, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "not an answer of its query API".to_owned())?;
    let data = match (answer.status.as_str(), answer.data) {
        ("success", Some(data)) => data,
        _ => {
            return Err(answer.error.unwrap_or_else(|| "it says that the query failed".to_owned()));
        }
    };
    let unexpected = || format!("a {} instead of a vector or a scalar", data.kind);
    match (data.kind.as_str(), &data.result) {
        ("scalar", sample) => Ok(vec![value(sample).ok_or_else(unexpected)?]),
        ("vector", Value::Array(series)) if series.len() <= MAX_SERIES => series
            .iter()
            .map(|one| one.get("value").and_then(value))
            .collect::<Option<_>>()
            .ok_or_else(unexpected),
        ("vector", Value::Array(_)) => Err(format!("more than {MAX_SERIES} series")),
        _ => Err(unexpected()),
    }
}

/// The value of `[time, "value"]`.
fn value(sample: &Value) -> Option<f64> {
    match sample.get(1)?.as_str()? {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(body: &str) -> Result<Vec<f64>, String> {
        read(body.as_bytes())
    }

    #[test]
    fn vectors_and_scalars() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"pod":"a"},"value":[1700000000.1,"0.25"]},{"metric":{},"value":[1,"+Inf"]}]}}"#;
        assert_eq!(values(vector), Ok(vec![0.25, f64::INFINITY]));
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#;
        assert_eq!(values(scalar), Ok(vec![3.0]));
        let nothing = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert_eq!(values(nothing), Ok(vec![]), "no data");
    }

    #[test]
    fn everything_else_is_an_outage() {
        let error = r#"{"status":"error","errorType":"bad_data","error":"parse error at char 3"}"#;
        assert_eq!(values(error), Err("parse error at char 3".to_owned()));
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(values(matrix).unwrap_err().contains("a matrix instead of"));
        for body in ["", "<html>", "{}", r#"{"status":"success"}"#] {
            assert!(values(body).is_err(), "{body}");
        }
        let odd = r#"{"status":"success","data":{"resultType":"scalar","result":["1","x"]}}"#;
        assert!(values(odd).is_err());
    }
}
