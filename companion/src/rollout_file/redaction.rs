//! A rollout file without its secrets, as journals and pages show it.

use canary_model::redact::{HIDDEN, redacted};
use serde_json::Value;

use crate::yaml::Document;

/// The text without the secrets of URLs and without the values of Prometheus metrics' headers. What is left can
/// still be read as the same rollout. Taking secrets out again changes nothing.
pub(crate) fn without_secrets(source: &str) -> String {
    let text = redacted(source);
    let Ok(document) = Document::read(&text) else { return text };
    let shown = headers(&document.value);
    if shown.iter().all(|header| header.value == HIDDEN) {
        return text;
    }
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for header in &shown {
        let at = usize::try_from(document.line(&header.path)).unwrap_or(usize::MAX);
        if let Some(line) = lines.get_mut(at.saturating_sub(1)) {
            *line = hidden(line, header);
        }
    }
    let hidden = lines.join("\n");
    let mut expected = document.value.clone();
    hide(&mut expected);
    match Document::read(&hidden) {
        Ok(read) if read.value == expected => hidden,
        // Written in a way that a line alone doesn't tell, such as over several lines.
        _ => serde_json::to_string_pretty(&expected).unwrap_or_default(),
    }
}

/// A header of a metric, with its path in the file.
struct Header<'v> {
    path: String,
    name: &'v str,
    value: &'v str,
}

fn headers(file: &Value) -> Vec<Header<'_>> {
    let metrics = file.pointer("/analysis/metrics").and_then(Value::as_array);
    let mut all = Vec::new();
    for (index, metric) in metrics.into_iter().flatten().enumerate() {
        let headers = metric.get("headers").and_then(Value::as_object);
        for (name, value) in headers.into_iter().flatten() {
            let path = format!("analysis.metrics[{index}].headers.{name}");
            all.extend(value.as_str().map(|value| Header { path, name, value }));
        }
    }
    all
}

fn hide(file: &mut Value) {
    let metrics = file.pointer_mut("/analysis/metrics").and_then(Value::as_array_mut);
    for metric in metrics.into_iter().flatten() {
        let headers = metric.get_mut("headers").and_then(Value::as_object_mut);
        for value in headers.into_iter().flat_map(|headers| headers.values_mut()) {
            *value = Value::from(HIDDEN);
        }
    }
}

/// A line with a header's value hidden: the first place behind its name that has it.
fn hidden(line: &str, header: &Header<'_>) -> String {
    let behind = line.find(header.name).map(|at| at + header.name.len());
    let Some((name, rest)) = behind.and_then(|at| line.split_at_checked(at)) else {
        return line.to_owned();
    };
    format!("{name}{}", rest.replacen(header.value, HIDDEN, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout_file;

    fn file(headers: &str) -> String {
        format!(
            "# ours\nrollout: r\nsteps: [{{setWeight: 5}}, {{pause: {{}}}}]\nanalysis:\n  metrics:\n    \
             - {{name: f, kind: failureRate}}\n    - name: gpu\n      kind: prometheus\n      address: \
             http://ann:hunter2@p:9090\n      query: up{{a=\"ml\"}} > bool 1\n      failureCondition: result > 1\n{headers}"
        )
    }

    #[test]
    fn values_of_headers_are_hidden_and_the_file_stays_readable() {
        for (headers, line_by_line) in [
            ("      headers: {X-Scope-OrgID: ml, X-Key: hunter2}\n", true),
            (
                "      headers:\n        X-Scope-OrgID: 'ml'\n        X-Key: \"hunter2\"  # ours\n",
                true,
            ),
            ("      headers: {X-Key: \"hun\\x74er2\", X-Scope-OrgID: ml}\n", false),
            (
                "      headers:\n        X-Key: >-\n          hunter2\n        X-Scope-OrgID: ml\n",
                false,
            ),
        ] {
            let source = file(headers);
            let shown = without_secrets(&source);
            assert!(!shown.contains("hunter2") && !shown.contains("\\x74er2"), "{shown}");
            assert!(
                shown.contains("up{a=\"ml\"}") || shown.contains("up{a=\\\"ml\\\"}"),
                "{shown}"
            );
            assert_eq!(shown.starts_with("# ours"), line_by_line, "{shown}");
            assert_eq!(without_secrets(&shown), shown, "taken out once");
            let of = |text: &str| {
                let spec = rollout_file::recorded(text).unwrap_or_else(|| panic!("{text}"));
                canary_rollout::fingerprint::fingerprint(&spec)
            };
            assert_eq!(of(&shown), of(&source), "the same rollout");
        }
        let plain = file("");
        assert_eq!(without_secrets(&plain), redacted(&plain));
    }
}
