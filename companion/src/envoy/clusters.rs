//! The readers of Envoy's clusters: `GET /clusters?format=json`, and their kinds in `/config_dump`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

#[derive(Deserialize)]
struct ClustersResponse {
    #[serde(default)]
    cluster_statuses: Vec<ClusterStatus>,
}

#[derive(Deserialize)]
struct ClusterStatus {
    name: String,
    #[serde(default)]
    host_statuses: Vec<IgnoredAny>,
}

/// How many endpoints each cluster has.
///
/// # Errors
/// The answer isn't JSON of Envoy's shape.
pub(super) fn endpoints(answer: &[u8]) -> Result<BTreeMap<String, u64>, serde_json::Error> {
    let answer: ClustersResponse = serde_json::from_slice(answer)?;
    let count = |cluster: ClusterStatus| (cluster.name, cluster.host_statuses.len() as u64);
    Ok(answer.cluster_statuses.into_iter().map(count).collect())
}

/// Whether a cluster of this name is of a kind that has endpoints which `/clusters` doesn't list: an
/// extension (an aggregate, a dynamic forward proxy), or one that goes by the request's destination.
pub(super) fn has_hidden_endpoints(dump: &[u8], name: &str) -> bool {
    serde_json::from_slice(dump).is_ok_and(|dump: Value| is_hidden(&dump, name))
}

fn is_hidden(value: &Value, name: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| is_hidden(item, name)),
        Value::Object(fields) => {
            let this = fields.get("name").and_then(Value::as_str) == Some(name);
            let kind = fields.get("type").and_then(Value::as_str);
            (this && (fields.contains_key("cluster_type") || kind == Some("ORIGINAL_DST")))
                || fields.values().any(|field| is_hidden(field, name))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_counted() {
        let answer = br#"{"cluster_statuses": [{"name": "a", "host_statuses": [{"weight": 1}, {}]},
            {"name": "none"}], "other": 1}"#;
        let counted = endpoints(answer).unwrap();
        assert_eq!(counted, [("a".to_owned(), 2), ("none".to_owned(), 0)].into());
        assert!(endpoints(b"no").is_err());
    }

    #[test]
    fn an_aggregate_has_endpoints_elsewhere() {
        let dump = br#"{"configs": [{"cluster": {"name": "all", "cluster_type": {"name": "x"}}},
            {"cluster": {"name": "plain", "type": "STATIC"}}]}"#;
        assert!(has_hidden_endpoints(dump, "all"));
        assert!(!has_hidden_endpoints(dump, "plain") && !has_hidden_endpoints(b"no", "all"));
    }
}
