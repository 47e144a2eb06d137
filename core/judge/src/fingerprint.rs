//! What tells one analysis and plan from another, across versions of this software.
//!
//! A fingerprint is `v1:` and the hash of the analysis' canonical JSON: keys sorted, no blanks,
//! numbers as `serde_json` writes them. Renaming a Rust field or type must not change it, so golden
//! files hold it. If it has to change (a new field, say), that is version 2: states with another
//! version's fingerprint are not resumed, their observations are replayed.

use serde_json::Value;
use xxhash_rust::xxh64::xxh64;

use super::spec::Analysis;

/// The version of the canonical JSON and of the hash.
const VERSION: &str = "v1";

/// The fingerprint of an analysis and of how many seconds its file plans to take.
pub fn fingerprint(analysis: &Analysis, planned_seconds: u64) -> String {
    let text = format!("{} {planned_seconds}", canonical_json(analysis));
    format!("{VERSION}:{:016x}", xxh64(text.as_bytes(), 0))
}

/// An analysis as JSON that is the same text for equal analyses, in all builds.
pub fn canonical_json(analysis: &Analysis) -> String {
    // Names, finite numbers and conditions: writing them cannot fail.
    serde_json::to_value(analysis).map(|value| sorted(&value)).unwrap_or_default()
}

/// `serde_json` sorts keys too, unless some crate of the build asks it to keep their order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            let field = |(name, value): (&String, &Value)| {
                format!("{}:{}", Value::from(name.as_str()), sorted(value))
            };
            format!("{{{}}}", fields.into_iter().map(field).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests;
