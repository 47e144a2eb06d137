//! Checks of rollout files, plugin configurations and the Envoy configurations around them: what their readers
//! refuse, and what is legal but probably unintended. Pure.
//!
//! The readers are those that use the files: the filter's own for its configuration, which is JSON,
//! and `run`'s for a rollout file. No file passes here and is refused there.

mod envoy_file;
mod outcomes;
mod routes;
mod shadow;
#[cfg(test)]
mod tests;
mod versions;

use canary_judge::condition::ConstantCondition;
use canary_judge::spec::{ConditionWarning, MetricRule, PrometheusSpec};
use canary_model::config::Config;
use canary_model::document::ConfigError;
use canary_rollout::spec::Spec;
use serde::Serialize;

use envoy_file::{EnvoyFile, EnvoyRoute, PluginText};
use routes::{NamedRoute, RouteWarningPlace};

use crate::rollout_file;
use crate::yaml::Document;

/// Whether a finding keeps the file from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// The file is refused.
    Error,
    /// The file is accepted, and probably doesn't mean what it says.
    Warning,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The file, as it was named.
    pub(crate) file: String,
    pub(crate) level: Level,
    /// The line, counted from 1.
    pub(crate) line: u64,
    /// Empty for the document itself.
    pub(crate) path: String,
    pub(crate) message: String,
}

/// What a file is, as far as its readers accept it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Content {
    /// A file for `canaryctl run`.
    Rollout {
        /// The metrics that can abort the rollout.
        can_abort: Vec<String>,
        /// Whether the file allows that nothing does.
        manual: bool,
    },
    /// The configuration of the filter's plugin.
    Filter {
        /// The rollouts in it.
        rollouts: Vec<String>,
    },
    /// An Envoy configuration, of which only the filter's part and the routes are read.
    Envoy {
        /// The rollouts of the filters in it.
        rollouts: Vec<String>,
        /// How many routes it has that lead to named clusters.
        routes: usize,
    },
}

/// A file and what was found in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CheckedFile {
    pub(crate) file: String,
    /// `None` if it was refused.
    #[serde(flatten)]
    pub(crate) content: Option<Content>,
    #[serde(skip)]
    pub(crate) findings: Vec<Finding>,
}

impl CheckedFile {
    fn warn(&mut self, line: u64, ConfigError { path, message }: ConfigError) {
        let (file, level) = (self.file.clone(), Level::Warning);
        self.findings.push(Finding { file, level, line, path, message });
    }

    /// How many findings keep the file from being used.
    pub(crate) fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.level == Level::Error).count()
    }
}

/// Checks files, each by itself and against the others: name and text of each.
pub(crate) fn check_all(files: &[(String, String)]) -> Vec<CheckedFile> {
    let read: Vec<ReadFile> = files.iter().map(|(_, text)| ReadFile::new(text)).collect();
    let mut checked: Vec<CheckedFile> =
        files.iter().zip(&read).map(|((name, text), read)| check_read(name, text, read)).collect();
    let configurations: Vec<(usize, &PluginText, Config)> = read
        .iter()
        .enumerate()
        .flat_map(|(file, read)| read.envoy.plugins.iter().map(move |plugin| (file, plugin)))
        .filter_map(|(file, plugin)| {
            Some((file, plugin, Config::parse(plugin.text.as_bytes()).ok()?))
        })
        .collect();
    for (file, read) in checked.iter_mut().zip(&read) {
        let Ok(spec) = rollout_file::check(&read.document) else { continue };
        for (_, _, config) in &configurations {
            let Some(error) = versions::warning(&spec, config) else { continue };
            file.warn(read.document.line(&error.path), error);
        }
    }
    on_routes(&mut checked, &read, &configurations);
    checked
}

/// Adds what the configurations and the routes of all files say together.
fn on_routes(
    checked: &mut [CheckedFile],
    read: &[ReadFile],
    configurations: &[(usize, &PluginText, Config)],
) {
    let routes: Vec<(usize, &EnvoyRoute)> = read
        .iter()
        .enumerate()
        .flat_map(|(file, read)| read.envoy.routes.iter().map(move |route| (file, route)))
        .collect();
    let name = |file: usize| checked.get(file).map_or("", |checked| checked.file.as_str());
    let named: Vec<NamedRoute<'_>> = routes
        .iter()
        .map(|(file, route)| (*route, format!("{}:{}", name(*file), route.line)))
        .collect();
    for (file, plugin, config) in configurations {
        for (place, message) in routes::warnings(config, &named) {
            let (file, line, error) = match place {
                RouteWarningPlace::Route(index) => {
                    let Some((file, route)) = routes.get(index) else { continue };
                    let path = format!("{}.timeout", route.path);
                    let Some(read) = read.get(*file) else { continue };
                    (*file, read.document.line(&path), ConfigError { path, message })
                }
                RouteWarningPlace::Filter(path) => {
                    let line = Document::lenient(&plugin.text).map_or(1, |lines| lines.line(&path));
                    let Some(read) = read.get(*file) else { continue };
                    let error = ConfigError { path, message };
                    let (line, error) = plugin.placed(&read.document, line, error);
                    (*file, line, error)
                }
            };
            if let Some(checked) = checked.get_mut(file) {
                checked.warn(line, error);
            }
        }
    }
}

/// A file as YAML, and what of Envoy's or the filter's configuration is in it.
struct ReadFile {
    document: Document,
    kind: FileKind,
    envoy: EnvoyFile,
}

/// What a file is, by the fields at its top.
#[derive(Clone, Copy)]
enum FileKind {
    /// The filter's configuration as JSON.
    Filter,
    /// An Envoy configuration with filters or routes.
    Envoy,
    /// A rollout file, or nothing that is known.
    Rollout,
}

impl ReadFile {
    fn new(text: &str) -> Self {
        let document = Document::lenient(text);
        // The filter's configuration is JSON; one that isn't sound may be no YAML either.
        let broken = || text.trim_start().starts_with('{') && text.contains("\"rollouts\"");
        let is_filter =
            document.as_ref().map_or_else(broken, |read| read.value.get("rollouts").is_some());
        let document = document.unwrap_or_default();
        let (kind, envoy) = match EnvoyFile::read(&document) {
            _ if is_filter => {
                let plugins = vec![PluginText::whole(text)];
                (FileKind::Filter, EnvoyFile { plugins, routes: Vec::new() })
            }
            Some(envoy) => (FileKind::Envoy, envoy),
            None => (FileKind::Rollout, EnvoyFile::default()),
        };
        Self { document, kind, envoy }
    }
}

/// Checks a file's text by itself.
#[cfg(test)]
fn check(file: &str, text: &str) -> CheckedFile {
    check_read(file, text, &ReadFile::new(text))
}

fn check_read(file: &str, text: &str, read: &ReadFile) -> CheckedFile {
    let checked = match read.kind {
        FileKind::Filter => filter(text, &read.document),
        FileKind::Envoy => envoy(&read.document, &read.envoy),
        FileKind::Rollout => rollout(text),
    };
    let (content, findings) = checked;
    let finding = |(level, line, ConfigError { path, message })| Finding {
        file: file.to_owned(),
        level,
        line,
        path,
        message,
    };
    let findings = findings.into_iter().map(finding).collect();
    CheckedFile { file: file.to_owned(), content, findings }
}

type ContentAndFindings = (Option<Content>, Vec<(Level, u64, ConfigError)>);

/// An Envoy configuration: each of the filter's configurations in it.
fn envoy(document: &Document, parts: &EnvoyFile) -> ContentAndFindings {
    let (mut findings, mut names, mut refused) = (Vec::new(), Vec::new(), false);
    for plugin in &parts.plugins {
        let lines = Document::lenient(&plugin.text).unwrap_or_default();
        let (content, found) = filter(&plugin.text, &lines);
        match content {
            Some(Content::Filter { rollouts }) => names.extend(rollouts),
            _ => refused = true,
        }
        findings.extend(found.into_iter().map(|(level, line, error)| {
            let (line, error) = plugin.placed(document, line, error);
            (level, line, error)
        }));
    }
    let content = Content::Envoy { rollouts: names, routes: parts.routes.len() };
    ((!refused).then_some(content), findings)
}

/// The filter's configuration. `lines` only says where things are.
fn filter(text: &str, lines: &Document) -> ContentAndFindings {
    let at = |level| move |error: ConfigError| (level, lines.line(&error.path), error);
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        let message = format!(
            "not JSON: {said}. The filter's configuration is JSON, not YAML: quote keys and texts, \
             no trailing commas, no comments, numbers such as 0.5"
        );
        let line = (error.line() as u64).max(1);
        let error = ConfigError { path: String::new(), message };
        return (None, vec![(Level::Error, line, error)]);
    }
    match Config::parse(text.as_bytes()) {
        Err(errors) => (None, errors.into_iter().map(at(Level::Error)).collect()),
        Ok(config) => {
            let json = serde_json::from_str(text).unwrap_or_default();
            let warnings = shadow::warnings(&config).into_iter();
            let warnings = warnings.chain(outcomes::warnings(&config, &json));
            let warnings = warnings.map(at(Level::Warning)).collect();
            let rollouts = config.rollouts.into_iter().map(|rollout| rollout.name).collect();
            (Some(Content::Filter { rollouts }), warnings)
        }
    }
}

fn rollout(text: &str) -> ContentAndFindings {
    let document = match Document::read(text) {
        Ok(document) => document,
        Err(fault) => {
            let error = ConfigError { path: String::new(), message: fault.message };
            return (None, vec![(Level::Error, fault.line.unwrap_or(1), error)]);
        }
    };
    let at = |level| {
        let document = &document;
        move |error: ConfigError| (level, document.line(&error.path), error)
    };
    match rollout_file::check(&document) {
        Err(errors) => (None, errors.into_iter().map(at(Level::Error)).collect()),
        Ok(spec) => {
            let warnings = spec.warnings().into_iter().chain(conditions(&spec));
            let findings = warnings.map(at(Level::Warning)).collect();
            let can_abort = spec.analysis.metrics.into_iter().map(|metric| metric.name).collect();
            (Some(Content::Rollout { can_abort, manual: spec.manual }), findings)
        }
    }
}

/// Conditions that say the same of every result of their query.
fn conditions(spec: &Spec) -> Vec<ConfigError> {
    let metrics = spec.analysis.metrics.iter().enumerate();
    let of_metric = |(index, rule): (usize, &MetricRule)| match rule {
        MetricRule::Prometheus(query) => of_query(&format!("analysis.metrics[{index}]"), query),
        _ => Vec::new(),
    };
    metrics.flat_map(|(index, metric)| of_metric((index, &metric.rule))).collect()
}

fn of_query(path: &str, query: &PrometheusSpec) -> Vec<ConfigError> {
    let warning = |ConditionWarning { field, constant }| {
        let failure = field == "failureCondition";
        let alone = query.failure_condition.is_none();
        let (what, so) = match (constant, failure) {
            (ConstantCondition::NeverHolds, true) => ("no result can meet", "never fails"),
            (ConstantCondition::NeverHolds, false) if alone => {
                ("no result can meet", "always fails")
            }
            (ConstantCondition::NeverHolds, false) => ("no result can meet", "never succeeds"),
            (ConstantCondition::AlwaysHolds, true) => ("every result meets", "always fails"),
            (ConstantCondition::AlwaysHolds, false) => {
                ("every result meets", "does not depend on it")
            }
            (ConstantCondition::NeverAnswers, _) => {
                ("the query answers one value, which is not enough for", "has no result")
            }
        };
        ConfigError {
            path: format!("{path}.{field}"),
            message: format!("{what} this condition, so the metric {so}"),
        }
    };
    query.condition_warnings().into_iter().map(warning).collect()
}
