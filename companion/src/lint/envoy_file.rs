//! What an Envoy configuration says about rollouts: the filter's configurations in it, and how long its routes
//! let a request take. Pure.
//!
//! It takes bootstraps and the resource files of LDS, RDS and ECDS, in YAML or JSON. What else they say is
//! Envoy's business.

use std::time::Duration;

use canary_model::document::ConfigError;
use serde_json::Value;

use crate::yaml::Document;

/// Fields by which a document shows that it is an Envoy configuration.
const SIGNS: [&str; 4] = ["static_resources", "dynamic_resources", "resources", "virtual_hosts"];
/// How long Envoy lets a request take on a route that doesn't say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// The parts of a file that a rollout depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct EnvoyFile {
    /// Configurations of the canary filter.
    pub(crate) plugins: Vec<PluginText>,
    /// Routes that lead to named clusters.
    pub(crate) routes: Vec<EnvoyRoute>,
}

/// The filter's configuration, and where in its file it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct PluginText {
    /// The configuration as JSON, as the filter gets it.
    pub(crate) text: String,
    /// Where that is in the file; empty if it is the whole file.
    path: String,
    /// The lines of the file before the text; `None` if its fields are the file's own.
    above: Option<u64>,
}

/// A route of Envoy to one cluster or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvoyRoute {
    /// The path of its action in the file.
    pub(crate) path: String,
    /// The line of that, from 1.
    pub(crate) line: u64,
    /// The clusters that it may choose.
    pub(crate) clusters: Vec<String>,
    /// How long a request may take from its end to its response's; `None`: as long as it likes.
    pub(crate) timeout: Option<Duration>,
    /// Whether that is Envoy's default.
    pub(crate) by_default: bool,
    /// How long a try may take until the response's headers, where that is limited.
    pub(crate) per_try: Option<Duration>,
}

impl PluginText {
    /// A file that is nothing else.
    pub(crate) fn whole(text: &str) -> Self {
        Self { text: text.to_owned(), path: String::new(), above: Some(0) }
    }

    /// A fault or a warning of the configuration, as one of the file: `line` counts from the text's first.
    pub(crate) fn placed(
        &self,
        file: &Document,
        line: u64,
        error: ConfigError,
    ) -> (u64, ConfigError) {
        let dot = if self.path.is_empty() || error.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{}", self.path, error.path);
        let line = self.above.map_or_else(|| file.line(&path), |above| above.saturating_add(line));
        (line, ConfigError { path, message: error.message })
    }
}

impl EnvoyFile {
    /// Reads a document; `None` if it isn't an Envoy configuration.
    pub(crate) fn read(document: &Document) -> Option<Self> {
        SIGNS.iter().any(|sign| document.value.get(sign).is_some()).then(|| {
            let mut file = Self::default();
            file.search(document, &document.value, "");
            file
        })
    }

    /// Walks the document, whose depth its reader has bounded.
    fn search(&mut self, document: &Document, value: &Value, path: &str) {
        match value {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.search(document, item, &format!("{path}[{at}]"));
                }
            }
            Value::Object(fields) => {
                self.plugins.extend(plugin(document, value, path));
                self.routes.extend(route(document, value, path));
                for (name, field) in fields {
                    self.search(document, field, &below(path, name));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn below(path: &str, field: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{field}")
}

/// The configuration of a Wasm plugin that speaks of rollouts: text as a StringValue, or a Struct.
fn plugin(document: &Document, value: &Value, path: &str) -> Option<PluginText> {
    value.get("vm_config")?;
    let configuration = value.get("configuration")?;
    let path = below(&below(path, "configuration"), "value");
    match configuration.get("value")? {
        Value::String(text) if text.contains("rollouts") => {
            // A text of several lines is a block, which begins below its key.
            let block = u64::from(text.contains('\n'));
            let above = document.line(&path).saturating_sub(1).saturating_add(block);
            Some(PluginText { text: text.clone(), path, above: Some(above) })
        }
        object @ Value::Object(fields) if fields.contains_key("rollouts") => {
            Some(PluginText { text: object.to_string(), path, above: None })
        }
        _ => None,
    }
}

/// A route with an action that leads to clusters whose names it says.
fn route(document: &Document, value: &Value, path: &str) -> Option<EnvoyRoute> {
    value.get("match")?;
    let action = value.get("route")?;
    let weighted = action.pointer("/weighted_clusters/clusters").and_then(Value::as_array);
    let names = weighted.into_iter().flatten().filter_map(|one| one.get("name"));
    let clusters: Vec<String> = action
        .get("cluster")
        .into_iter()
        .chain(names)
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let path = below(path, "route");
    let line = document.line(&path);
    let set = action.get("timeout").and_then(duration);
    let timeout = set.unwrap_or(DEFAULT_TIMEOUT);
    let per_try = action.pointer("/retry_policy/per_try_timeout").and_then(duration);
    (!clusters.is_empty()).then(|| EnvoyRoute {
        path,
        line,
        clusters,
        timeout: (timeout > Duration::ZERO).then_some(timeout),
        by_default: set.is_none(),
        per_try: per_try.filter(|limit| *limit > Duration::ZERO),
    })
}

/// A time as Envoy's files have it: `15s`, `0.25s`.
fn duration(value: &Value) -> Option<Duration> {
    let seconds = value.as_str()?.strip_suffix('s')?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
