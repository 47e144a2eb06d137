//! Asking Prometheus: `GET /api/v1/query`. Whatever it answers is named, cut and harmless.

mod access;

use std::path::Path;
use std::time::Duration;

use canary_judge::observation::Measurement;
use canary_judge::spec::PrometheusSpec;
use canary_model::redact::redacted;
use reqwest::{Client, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde_json::Value;

use access::QueryAccess;

use crate::http::{self, cause, proxy};
use crate::text::shortened;

/// The longest that an answer may take, its body included.
const WITHIN: Duration = Duration::from_secs(10);
/// The most bytes that are read of one.
const LIMIT: usize = 4 << 20;
/// The most series that are read of one.
const MAX_SERIES: usize = 1_000;
/// The longest text of an outage, in characters: it is written into the journal each time.
const LONGEST: usize = 300;

#[derive(Deserialize)]
struct QueryResponse {
    status: String,
    data: Option<QueryData>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct QueryData {
    #[serde(rename = "resultType")]
    kind: String,
    result: Value,
}

/// Asks once. Anything but an answer with values is an outage, which holds the rollout.
/// `folder` is the rollout file's, in which it names files of credentials.
pub async fn measure(http: &Client, spec: &PrometheusSpec, folder: &Path) -> Measurement {
    let asked = match QueryAccess::from_files(&spec.access, folder).await {
        Ok(access) => {
            let asked = ask(http, spec, &access).await;
            asked.map_err(|why| proxy::redact(&access.redact(&why)))
        }
        Err(why) => Err(why),
    };
    match asked {
        Ok(values) => Measurement::Values(values),
        Err(why) => {
            let through = proxy::through(&spec.address);
            let text = format!("Prometheus at {}{through}: {why}", redacted(&spec.address));
            Measurement::Outage(shortened(&text, LONGEST))
        }
    }
}

async fn ask(
    http: &Client,
    spec: &PrometheusSpec,
    access: &QueryAccess,
) -> Result<Vec<f64>, String> {
    let base = format!("{}/api/v1/query", spec.address.trim_end_matches('/'));
    let mut url = Url::parse(&base).map_err(|error| error.to_string())?;
    url.query_pairs_mut().append_pair("query", &spec.query);
    let sent = access.add_to(http.get(url)).timeout(WITHIN).send().await;
    let mut answer = sent.map_err(|error| cause(&error))?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(redirected(&answer));
    }
    if let Some(encoding) = answer.headers().get(header::CONTENT_ENCODING) {
        let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
        return Err(format!(
            "{status}, and the answer is compressed ({encoding}), which was not asked for"
        ));
    }
    let body = http::body(&mut answer, LIMIT).await.map_err(|error| cause(&error))?;
    let too_long = || format!("{status}, and an answer of more than {LIMIT} bytes");
    let body = body.ok_or_else(too_long)?;
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
    let values = read(status, kind.as_deref(), &body);
    // What a foreign text repeats of our secrets is taken out before the text is cut.
    values.or_else(|_| {
        let body = access.redact(&String::from_utf8_lossy(&body));
        read(status, kind.as_deref(), body.as_bytes())
    })
}

fn redirected(answer: &Response) -> String {
    let to = answer.headers().get(header::LOCATION);
    let to = to.map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
    let to = to.map_or(String::new(), |to| format!(" to {}", redacted(&to)));
    format!(
        "{}: a redirect{to}, and redirects are not followed; give its final address",
        answer.status()
    )
}

/// The values of an answer: of each series of a vector, or a scalar.
fn read(status: StatusCode, kind: Option<&str>, body: &[u8]) -> Result<Vec<f64>, String> {
    let Ok(answer) = serde_json::from_slice::<QueryResponse>(body) else {
        return Err(not_an_answer(status, kind, body));
    };
    let data = match (answer.status.as_str(), answer.data) {
        ("success", Some(data)) if status.is_success() => data,
        _ => {
            let why = answer.error.unwrap_or_else(|| "the query failed".to_owned());
            return Err(format!("{status}: {why}"));
        }
    };
    match (data.kind.as_str(), &data.result) {
        ("scalar", sample) => Ok(vec![value(sample, "the scalar")?]),
        ("vector", Value::Array(series)) if series.len() <= MAX_SERIES => series
            .iter()
            .enumerate()
            .map(|(index, one)| {
                value(one.get("value").unwrap_or(&Value::Null), &format!("result[{index}]"))
            })
            .collect(),
        ("vector", Value::Array(series)) => {
            Err(format!("{} series; at most {MAX_SERIES} are read", series.len()))
        }
        (kind, _) => Err(format!("the query gives a {kind}; expected a vector or a scalar")),
    }
}

/// Says what came instead of an answer of the query API.
fn not_an_answer(status: StatusCode, kind: Option<&str>, body: &[u8]) -> String {
    let kind = kind.map_or("no content type".to_owned(), |kind| format!("content type {kind}"));
    let beginning = String::from_utf8_lossy(body.get(..200).unwrap_or(body)).into_owned();
    let beginning = shortened(&beginning, 100);
    format!("{status} ({kind}) instead of an answer of the query API: \"{beginning}\"")
}

/// The value of `[time, "value"]`.
fn value(sample: &Value, at: &str) -> Result<f64, String> {
    let found = sample.get(1).unwrap_or(sample);
    let number = match found.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("+Inf" | "Inf") => Some(f64::INFINITY),
        Some("-Inf") => Some(f64::NEG_INFINITY),
        Some(text) => text.parse().ok(),
        None => None,
    };
    number.ok_or_else(|| {
        format!("the value of {at} is {}, which isn't a number", shortened(&found.to_string(), 60))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(body: &str) -> Result<Vec<f64>, String> {
        read(StatusCode::OK, Some("application/json"), body.as_bytes())
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
    fn an_outage_says_what_came_instead() {
        let error = r#"{"status":"error","errorType":"bad_data","error":"parse error at char 3"}"#;
        let refused = read(StatusCode::BAD_REQUEST, None, error.as_bytes()).unwrap_err();
        assert_eq!(refused, "400 Bad Request: parse error at char 3");
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        let matrix = values(matrix).unwrap_err();
        assert_eq!(matrix, "the query gives a matrix; expected a vector or a scalar");
        let odd = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"value":[1,"1"]},{"value":[1,"x"]}]}}"#;
        let odd = values(odd).unwrap_err();
        assert_eq!(odd, "the value of result[1] is \"x\", which isn't a number");
        for (status, body) in [(401, ""), (404, "<html>no</html>"), (500, "{}"), (200, "[]")] {
            let status = StatusCode::from_u16(status).unwrap();
            let why = read(status, Some("text/html"), body.as_bytes()).unwrap_err();
            assert!(why.contains(status.as_str()) && why.contains("text/html"), "{why}");
        }
    }
}
